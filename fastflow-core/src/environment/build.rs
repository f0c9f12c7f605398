//! Builds an environment beside its final place, seals it, and publishes it by one rename.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{
    Environment, EnvironmentFailure, EnvironmentFailureKind, EnvironmentId, LockHash,
    classify::Stage,
    folder::{Folder, Guard, blocking, remove_tree, sync_directory},
    interpreter::{Interpreter, explain},
    lock::{self, Form, Lock},
    tool::{self, Uv, Watch},
};
use crate::Timestamp;

/// The name of the record inside an environment.
pub(super) const RECORD: &str = "fastflow-environment.json";

const DIRECTORY_MODE: u32 = 0o555;
const FILE_MODE: u32 = 0o444;
const PROGRAM_MODE: u32 = 0o555;
const ANY_EXECUTE: u32 = 0o111;

/// What an environment says of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Record {
    format: u32,
    id: EnvironmentId,
    lock_hash: LockHash,
    python_version: String,
    /// The interpreter it was made with.
    interpreter: PathBuf,
    uv_version: String,
    pub(super) created_at: Timestamp,
    packages: usize,
}

impl Record {
    /// The record of the environment in `directory`, if one is there. Blocks.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, EnvironmentFailure> {
        let path = directory.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EnvironmentFailure::io("read", &path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let message = format!("{} is not what was written there: {error}", path.display());
            EnvironmentFailure::new(EnvironmentFailureKind::Internal, message)
                .with_help("remove this environment's directory; it will be built again")
        })
    }

    pub(super) fn into_environment(self, directory: PathBuf, built: bool) -> Environment {
        Environment {
            id: self.id,
            python: directory.join("bin").join("python"),
            directory,
            python_version: self.python_version,
            lock_hash: self.lock_hash,
            uv_version: self.uv_version,
            built,
        }
    }
}

/// What a build needs to know.
#[derive(Clone, Copy)]
pub(super) struct Build<'a> {
    pub(super) id: &'a EnvironmentId,
    pub(super) lock: &'a Lock,
    /// Options that belong to the lock, one per line.
    pub(super) options: &'a str,
    /// Where relative paths in the lock begin.
    pub(super) directory: &'a Path,
    pub(super) interpreter: &'a Interpreter,
    pub(super) wheels_only: bool,
}

impl Build<'_> {
    /// Builds and publishes. The caller holds `guard`, that of the id, and has seen that there is none yet.
    pub(super) async fn run(
        &self,
        uv: &Uv,
        folder: &Folder,
        guard: &Guard,
        watch: Watch<'_>,
    ) -> Result<Environment, EnvironmentFailure> {
        self.clear(folder).await?;
        let built = self.make(uv, folder, guard, watch).await;
        if built.is_err() {
            // What cannot be removed now is removed by the next build; the reason of this one matters more.
            let _ = self.clear(folder).await;
        }
        built
    }

    async fn clear(&self, folder: &Folder) -> Result<(), EnvironmentFailure> {
        let leftovers = [folder.building(self.id), folder.input(self.id)];
        blocking(move || leftovers.iter().try_for_each(|path| remove_tree(path))).await
    }

    async fn make(
        &self,
        uv: &Uv,
        folder: &Folder,
        guard: &Guard,
        watch: Watch<'_>,
    ) -> Result<Environment, EnvironmentFailure> {
        let place = folder.building(self.id);
        let venv = || {
            let mut command = uv.command(folder.root());
            command.args(["venv", "--no-project", "--no-config", "--relocatable", "--no-python-downloads"]);
            command.arg("--quiet").arg("--python").arg(&self.interpreter.path).arg(&place);
            command
        };
        perform(Stage::Create, &venv, uv, guard, watch).await?;
        if !self.lock.is_empty() {
            let input = self.write_input(folder).await?;
            let sync = || self.sync(uv, &place, &input);
            perform(Stage::Install, &sync, uv, guard, watch).await?;
        }
        let (id, lock_hash) = (self.id.clone(), self.lock.hash()?);
        let (interpreter, created_at) = (self.interpreter.clone(), watch.clock.now());
        let (input, target, root) =
            (folder.input(self.id), folder.environment(self.id), folder.root().to_owned());
        blocking(move || {
            remove_tree(&input)?;
            let record = Record {
                format: 1,
                id,
                lock_hash,
                python_version: interpreter.details.version,
                interpreter: interpreter.path,
                uv_version: uv_version(&place),
                created_at,
                packages: 0,
            };
            publish(record, &place, &target, &root)
                .map_err(|error| EnvironmentFailure::io("publish", &target, &error))
        })
        .await
    }

    async fn write_input(&self, folder: &Folder) -> Result<PathBuf, EnvironmentFailure> {
        let directory = folder.input(self.id);
        let text = match self.lock.form {
            Form::Requirements => format!("{}{}", self.options, self.lock.text),
            Form::Pylock => self.lock.text.clone(),
        };
        let path = directory.join(self.lock.form.file_name());
        blocking(move || {
            let write = || -> io::Result<()> {
                fs::create_dir(&directory)?;
                fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
                fs::write(&path, text)
            };
            write().map_err(|error| EnvironmentFailure::io("write", &path, &error))?;
            Ok(path)
        })
        .await
    }

    /// Copies instead of linking: a link would share its file with a cache that others write.
    fn sync(&self, uv: &Uv, place: &Path, input: &Path) -> Command {
        let mut command = uv.command(self.directory);
        command.args([
            "pip",
            "sync",
            "--link-mode",
            "copy",
            "--compile-bytecode",
            "--allow-empty-requirements",
        ]);
        command.arg("--no-python-downloads").arg("--python").arg(place.join("bin").join("python"));
        if self.wheels_only {
            command.arg("--no-build");
        }
        command.arg(input);
        command
    }
}

async fn perform(
    stage: Stage,
    again: &(dyn Fn() -> Command + Sync),
    uv: &Uv,
    guard: &Guard,
    watch: Watch<'_>,
) -> Result<(), EnvironmentFailure> {
    let ended = tool::run(again(), Some(guard), watch).await.map_err(|failed| explain(failed, uv))?;
    if ended.succeeded() {
        return Ok(());
    }
    Err(lock::failure(stage, &ended, again, watch).await)
}

/// The version that uv wrote into what it made.
fn uv_version(place: &Path) -> String {
    let config = fs::read_to_string(place.join("pyvenv.cfg")).unwrap_or_default();
    let version =
        config.lines().find_map(|line| line.strip_prefix("uv").map(str::trim_start)?.strip_prefix('='));
    version.map_or_else(|| "unknown".to_owned(), |version| version.trim().to_owned())
}

/// Makes it read-only, makes it durable, and only then gives it its name.
fn publish(mut record: Record, place: &Path, target: &Path, root: &Path) -> io::Result<Environment> {
    let path = place.join(RECORD);
    File::create(&path)?;
    record.packages = seal(place)?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    fs::write(&path, serde_json::to_vec_pretty(&record)?)?;
    fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))?;
    make_durable(place)?;
    fs::rename(place, target)?;
    sync_directory(root)?;
    Ok(record.into_environment(target.to_owned(), true))
}

/// Takes all permission to write away, whatever the umask was, and counts the installed packages.
fn seal(directory: &Path) -> io::Result<usize> {
    let mut packages = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            packages += seal(&path)?;
            packages += usize::from(path.extension().is_some_and(|ending| ending == "dist-info"));
        } else if kind.is_file() {
            let is_program = entry.metadata()?.permissions().mode() & ANY_EXECUTE != 0;
            let mode = if is_program { PROGRAM_MODE } else { FILE_MODE };
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))?;
    Ok(packages)
}

/// One flush of the whole file system. Thousands of small files, each flushed alone, take many times longer.
#[cfg(target_os = "linux")]
fn make_durable(place: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(place)?)?)
}

#[cfg(not(target_os = "linux"))]
fn make_durable(_place: &Path) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}
