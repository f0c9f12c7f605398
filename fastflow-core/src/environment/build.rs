//! Builds an environment beside its final place, and has it published.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use fastflow_shim::regular;

use super::{
    Environment, EnvironmentFailure, EnvironmentId,
    classify::Stage,
    folder::{Folder, Guard, blocking, create_anew, remove_tree},
    interpreter::Interpreter,
    lock::{self, Form, Lock},
    phase::{Builds, Obedience, Phase, Phased},
    publish::{FORMAT, Record, publish},
    tool::{Cache, Call, Site},
};

/// Compiles what it is given, as far as it compiles: packages bring files that are meant for other Pythons.
const COMPILE: &str = "import compileall, sys
compileall.compile_dir(sys.argv[1], quiet=2, workers=0)";
/// The longest `pyvenv.cfg` that is read.
const CONFIG_MAX_BYTES: u64 = 64 * 1024;

/// What a build needs to know.
#[derive(Clone, Copy)]
pub(super) struct Build<'a> {
    pub(super) id: &'a EnvironmentId,
    pub(super) lock: &'a Lock,
    /// Options that belong to the lock, one per line.
    pub(super) options: &'a str,
    /// The pipeline's folder, absolute.
    pub(super) pipeline: &'a Path,
    /// Where relative paths in the lock begin: there, or below.
    pub(super) directory: &'a Path,
    pub(super) interpreter: &'a Interpreter,
    pub(super) builds: Builds,
}

impl Build<'_> {
    /// Builds and publishes. The caller holds `guard`, that of the id, and has seen that there is none yet.
    pub(super) async fn run(&self, site: Site<'_>, guard: &Guard) -> Result<Environment, EnvironmentFailure> {
        self.clear(site.folder).await?;
        let built = self.make(site, guard).await;
        if built.is_err() {
            // What cannot be removed now is removed by the next build; the reason of this one matters more.
            let _ = self.clear(site.folder).await;
        }
        built
    }

    async fn clear(&self, folder: &Folder) -> Result<(), EnvironmentFailure> {
        let leftovers = [folder.building(self.id), folder.input(self.id)];
        blocking(move || leftovers.iter().try_for_each(|path| remove_tree(path))).await
    }

    async fn make(&self, site: Site<'_>, guard: &Guard) -> Result<Environment, EnvironmentFailure> {
        let building = site.folder.building(self.id);
        let made = building.clone();
        blocking(move || create_anew(&made)).await?;
        self.perform(Stage::Create, self.venv(site, &building), site, guard).await?;
        let config = building.join("pyvenv.cfg");
        // Read before anything of a package is there that could have put something else in its place.
        let uv_version = blocking(move || Ok(uv_version(&config))).await?;
        if !self.lock.is_empty() {
            self.install(site, &building, guard).await?;
        }
        let record = Record {
            format: FORMAT,
            id: self.id.clone(),
            lock_hash: self.lock.hash()?,
            python_version: self.interpreter.details.version.clone(),
            interpreter: self.interpreter.path.clone(),
            place: site.place.identity().to_owned(),
            uv_version,
            created_at: site.clock.now(),
            packages: 0,
        };
        let (input, target) = (site.folder.input(self.id), site.folder.environment(self.id));
        let (folder, pythons, lock) = (site.folder.clone(), site.pythons(), self.lock.clone());
        blocking(move || {
            remove_tree(&input)?;
            publish(record, &lock, &building, &folder, pythons)
                .map_err(|error| EnvironmentFailure::io("publish", &target, &error))
        })
        .await
    }

    async fn install(
        &self,
        site: Site<'_>,
        building: &Path,
        guard: &Guard,
    ) -> Result<(), EnvironmentFailure> {
        let input = self.write_input(site.folder).await?;
        let phased = Phased {
            stage: Stage::Install,
            owner: self.id.as_str(),
            guard: Some(guard),
            builds: self.builds,
            obedience: Obedience::Kept,
            call: &|phase| self.sync(site, building, &input, phase),
        };
        phased.run(site).await?;
        if site.place.is_this_machine() {
            return Ok(());
        }
        self.perform(Stage::Compile, self.compile(site, building), site, guard).await
    }

    async fn perform(
        &self,
        stage: Stage,
        call: Call,
        site: Site<'_>,
        guard: &Guard,
    ) -> Result<(), EnvironmentFailure> {
        let ended = site.run(call.clone(), Some(guard)).await.map_err(|failed| site.explain(failed))?;
        if ended.succeeded() {
            return Ok(());
        }
        Err(lock::failure(stage, &ended, &call, site).await)
    }

    fn venv(&self, site: Site<'_>, building: &Path) -> Call {
        let mut call = site.uv(building, Cache::Shared);
        call.args(["venv", "--no-project", "--no-config", "--relocatable", "--no-python-downloads"]);
        call.args(["--quiet", "--python"]).arg(&self.interpreter.path).arg(building);
        call.reads(site.pythons()).writes(building);
        call
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
                // Closed to others here; a place that is given the file shows it to its own user.
                fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
                fs::write(&path, text)?;
                fs::set_permissions(&path, Permissions::from_mode(0o444))
            };
            write().map_err(|error| EnvironmentFailure::io("write", &path, &error))?;
            Ok(path)
        })
        .await
    }

    /// Copies instead of linking: a link would share its file with a cache that others write.
    fn sync(&self, site: Site<'_>, building: &Path, input: &Path, phase: Phase<'_>) -> Call {
        let mut call = site.uv(self.directory, phase.cache);
        call.args(["pip", "sync", "--link-mode", "copy", "--allow-empty-requirements"]);
        if site.place.is_this_machine() {
            call.args(["--compile-bytecode"]);
        }
        call.args(["--no-python-downloads", "--python"]).arg(building.join("bin").join("python"));
        if phase.builds == Builds::Refused {
            call.args(["--no-build"]);
        }
        call.arg(input).reads(self.pipeline).reads(input).reads(site.pythons()).writes(building);
        call
    }

    /// In a place that is not this machine, uv does not compile: it would start the environment's Python, and with
    /// that run what packages have put into `.pth` files, while the shared cache can be written.
    fn compile(&self, site: Site<'_>, building: &Path) -> Call {
        let mut call = Call::new(&self.interpreter.path, building);
        call.args(["-I", "-S", "-c", COMPILE]).arg(building.join("lib"));
        call.reads(site.pythons()).writes(building);
        call
    }
}

/// The version that uv wrote into what it made. It is a place's own uv, which may have put anything there.
fn uv_version(config: &Path) -> String {
    let config = regular::read(config, CONFIG_MAX_BYTES).unwrap_or_default();
    let config = String::from_utf8_lossy(&config);
    let version =
        config.lines().find_map(|line| line.strip_prefix("uv").map(str::trim_start)?.strip_prefix('='));
    version.map_or_else(|| "unknown".to_owned(), |version| version.trim().to_owned())
}
