//! The executable that every attempt runs under, carried inside this crate.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
    sync::LazyLock,
};

use sha2::{Digest as _, Sha256};

use crate::{Error, ErrorKind, Result, hex::hex};

/// The executable: Linux, static, for the architecture that this crate was built for.
pub static SHIM_BYTES: &[u8] = include_bytes!(env!("FASTFLOW_SHIM_PATH"));

/// How many characters of the hash are part of the file's name.
const NAME_HASH_CHARS: usize = 12;
/// Readable and executable by everyone, writable by nobody: containers run it as a user of their own.
const MODE: u32 = 0o555;
/// How many unfinished copies of this process may lie around before an install fails.
const MAX_ASIDE: u32 = 100;

static SHA256: LazyLock<String> = LazyLock::new(|| hex(&Sha256::digest(SHIM_BYTES)));

/// The executable that every attempt runs under.
///
/// ```
/// use fastflow_core::shim::ShimBinary;
///
/// let dir = tempfile::tempdir().unwrap();
/// let path = ShimBinary::install(dir.path()).unwrap();
/// assert!(path.is_file());
/// assert_eq!(ShimBinary::install(dir.path()).unwrap(), path);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ShimBinary;

impl ShimBinary {
    /// The SHA-256 of the executable, in lowercase hex.
    pub fn sha256() -> &'static str {
        &SHA256
    }

    /// The name it is installed under, different for each build.
    pub fn file_name() -> String {
        format!("fastflow-shim-{}", &SHA256[..NAME_HASH_CHARS])
    }

    /// Makes sure that the executable lies in `dir`, which must exist, and answers where. Other builds beside it
    /// stay: attempts may run under them.
    ///
    /// # Errors
    /// `Denied` or `StorageFull` when `dir` cannot be written to, `NotFound` when it is not there.
    pub fn install(dir: &Path) -> Result<PathBuf> {
        let path = dir.join(Self::file_name());
        if is_installed(&path) {
            return Ok(path);
        }
        place(dir, &path).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            };
            Error::new(kind, "cannot install the shim").with("path", path.display()).because(error)
        })?;
        Ok(path)
    }
}

fn is_installed(path: &Path) -> bool {
    let same_mode = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o777 == MODE);
    same_mode && fs::read(path).is_ok_and(|bytes| bytes == SHIM_BYTES)
}

/// Written aside and renamed: an executable under this name is whole, and is never open for writing, which would
/// keep it from being started.
fn place(dir: &Path, path: &Path) -> io::Result<()> {
    let (aside, mut file) = create_aside(dir)?;
    let written = file
        .write_all(SHIM_BYTES)
        // Said again, for the mode given to `open` was subject to the umask.
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(MODE)))
        .and_then(|()| file.sync_all());
    drop(file);
    written
        .and_then(|()| fs::rename(&aside, path))
        .and_then(|()| File::open(dir)?.sync_all())
        .inspect_err(|_| _ = fs::remove_file(&aside))
}

fn create_aside(dir: &Path) -> io::Result<(PathBuf, File)> {
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..MAX_ASIDE {
        let path = dir.join(format!(".fastflow-shim.{}.{number}", process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    #[test]
    fn what_is_installed_starts_and_is_static() {
        let dir = tempfile::tempdir().unwrap();
        let path = ShimBinary::install(dir.path()).unwrap();
        let output = Command::new(&path).arg("--no-such-argument").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("unknown argument"), "{output:?}");
        let interpreter = b"/ld-linux";
        assert!(
            !SHIM_BYTES.windows(interpreter.len()).any(|window| window == interpreter),
            "it asks for a loader"
        );
    }

    #[test]
    fn a_damaged_copy_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ShimBinary::file_name());
        fs::write(&path, b"half").unwrap();
        assert_eq!(ShimBinary::install(dir.path()).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), SHIM_BYTES);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn many_may_install_at_once() {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| ShimBinary::install(dir.path()).unwrap());
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = ShimBinary::install(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
