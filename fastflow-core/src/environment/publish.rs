//! What makes a built environment one that can be used: its record, its seal, and its name.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Environment, EnvironmentFailure, EnvironmentFailureKind, EnvironmentId, HostWorkbench, LockHash,
    folder::{Folder, sync_directory},
    lock::Lock,
    packages,
};
use crate::{Timestamp, durable};

/// The name of the record inside an environment.
pub(super) const RECORD: &str = "fastflow-environment.json";

/// The format of the record from which on a list of the packages lies beside it. Before, one of them could have put
/// anything there.
const FORMAT_WITH_PACKAGES: u32 = 2;
/// The format of records that are written.
pub(super) const FORMAT: u32 = FORMAT_WITH_PACKAGES;

const DIRECTORY_MODE: u32 = 0o555;
const FILE_MODE: u32 = 0o444;
const PROGRAM_MODE: u32 = 0o555;
const ANY_EXECUTE: u32 = 0o111;

/// What an environment says of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) id: EnvironmentId,
    pub(super) lock_hash: LockHash,
    pub(super) python_version: String,
    /// The interpreter it was made with.
    pub(super) interpreter: PathBuf,
    /// The identity of the place it was made in, for people.
    #[serde(default = "host")]
    pub(super) place: String,
    pub(super) uv_version: String,
    pub(super) created_at: Timestamp,
    pub(super) packages: usize,
}

/// Where all environments were made when records said nothing of it.
fn host() -> String {
    HostWorkbench::IDENTITY.to_owned()
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

    /// Whether a list of the packages lies beside it.
    pub(super) fn has_packages(&self) -> bool {
        self.format >= FORMAT_WITH_PACKAGES
    }

    /// The environment of this record in `folder`, of the place that `pythons` belongs to.
    pub(super) fn into_environment(self, folder: &Folder, pythons: PathBuf, built: bool) -> Environment {
        let directory = folder.environment(&self.id);
        let mut reads = vec![directory.clone()];
        if self.interpreter.starts_with(&pythons) {
            // All of the place: uv reaches one by a link that lies beside it.
            reads.push(pythons);
        }
        Environment {
            id: self.id,
            python: directory.join("bin").join("python"),
            directory,
            reads,
            python_version: self.python_version,
            lock_hash: self.lock_hash,
            uv_version: self.uv_version,
            built,
        }
    }
}

/// Makes what was built read-only, makes it durable, and only then gives it its name.
pub(super) fn publish(
    mut record: Record,
    lock: &Lock,
    building: &Path,
    folder: &Folder,
    pythons: PathBuf,
) -> io::Result<Environment> {
    let list = packages::list(building, lock)?;
    create_record(&building.join(packages::PACKAGES))?.write_all(&list)?;
    let mut file = create_record(&building.join(RECORD))?;
    record.packages = seal(building)?;
    file.write_all(&serde_json::to_vec_pretty(&record)?)?;
    durable::flush_file_system(building)?;
    fs::rename(building, folder.environment(&record.id))?;
    sync_directory(folder.root())?;
    Ok(record.into_environment(folder, pythons, true))
}

/// The build of a package may have put anything there, a link to a file of this machine included.
fn create_record(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path),
    }
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
