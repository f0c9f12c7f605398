//! Folders whose files never reach a disk, for what is secret.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::Path,
};

use rustix::fs::{Access, AtFlags, CWD};
use sha2::{Digest as _, Sha256};

use crate::{Error, ErrorKind, Result, hex::hex};

/// Only the owner may see what is there.
const PRIVATE: u32 = 0o700;
/// The file systems whose files never reach a disk by themselves: `TMPFS_MAGIC` and `RAMFS_MAGIC` of `linux/magic.h`.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// How many bytes of a hash tell the folders of two executors apart.
const NAME_HASH_BYTES: usize = 6;

/// The name of the folder of the executor that keeps its state in `state_dir`, where others have theirs, too.
pub(super) fn folder_name(state_dir: &Path) -> String {
    // Whoever cleans up there must not meet what is another executor's.
    let digest = Sha256::digest(state_dir.as_os_str().as_bytes());
    format!("fastflow-{}-{}", rustix::process::geteuid().as_raw(), hex(&digest[..NAME_HASH_BYTES]))
}

/// Whether `dir` is a folder in memory that belongs to this user alone, or can be made one. Makes nothing.
///
/// # Errors
///
/// `Denied` for one that is not this user's alone, `Invalid` for one that is not in memory; else what the machine says.
pub(super) fn check_private(dir: &Path) -> Result<()> {
    let describe = |error: io::Error| Error::from(error).with("path", dir.display());
    match fs::symlink_metadata(dir) {
        Ok(metadata) => {
            let own = rustix::process::geteuid().as_raw();
            if !metadata.is_dir() || metadata.uid() != own || metadata.mode() & 0o077 != 0 {
                return Err(Error::new(ErrorKind::Denied, "the folder does not belong to this user alone")
                    .with("path", dir.display()));
            }
            check_in_memory(dir)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = dir.parent().unwrap_or(dir);
            check_in_memory(parent)?;
            rustix::fs::accessat(CWD, parent, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
                .map_err(|error| describe(error.into()))
        }
        Err(error) => Err(describe(error)),
    }
}

/// Makes sure that `dir` is a folder in memory that belongs to this user alone.
///
/// # Errors
///
/// As those of [`check_private`].
pub(super) fn make_private(dir: &Path) -> Result<()> {
    check_private(dir)?;
    match fs::DirBuilder::new().mode(PRIVATE).create(dir) {
        // It may have been somebody else who was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_private(dir),
        made => made.map_err(|error| Error::from(error).with("path", dir.display())),
    }
}

fn check_in_memory(dir: &Path) -> Result<()> {
    let found = rustix::fs::statfs(dir)
        .map_err(|error| Error::from(io::Error::from(error)).with("path", dir.display()))?;
    if IN_MEMORY.contains(&found.f_type) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "the folder is not on a tmpfs").with("path", dir.display()))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::*;

    fn in_memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn a_folder_in_memory_is_made_for_this_user_alone_and_found_again() {
        let outer = in_memory();
        let dir = outer.path().join("own");
        check_private(&dir).unwrap();
        assert!(!dir.exists());
        for _ in 0..2 {
            make_private(&dir).unwrap();
            assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, PRIVATE);
        }
    }

    #[test]
    fn what_is_on_a_disk_is_refused_before_anything_is_made() {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("never-made");
        let error = make_private(&dir).unwrap_err();
        assert_eq!((error.kind(), dir.exists()), (ErrorKind::Invalid, false), "{error:?}");
    }

    #[test]
    fn what_others_may_look_into_is_refused() {
        let outer = in_memory();
        let dir = outer.path().join("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(make_private(&dir).unwrap_err().kind(), ErrorKind::Denied);
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(outer.path(), &link).unwrap();
        assert_eq!(make_private(&link).unwrap_err().kind(), ErrorKind::Denied);
    }
}
