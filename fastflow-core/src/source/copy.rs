//! A private copy of a snapshot for one run.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

use super::TreeLimits;
use crate::{Error, ErrorKind, Result};

/// What [`copy_tree`] copied.
///
/// ```
/// assert_eq!(fastflow_core::source::CopyStats::default().files, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CopyStats {
    /// Regular files.
    pub files: u64,
    /// Folders below the target.
    pub folders: u64,
    /// Symbolic links, copied as links.
    pub links: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Copies what `snapshot` holds into `target`, which is made if it is missing.
///
/// The owner may write everything in the copy; executable files stay executable and links stay links. Where the
/// file system can, files share their blocks until one of them is changed. Nothing is made durable: after a
/// crash of the machine the run is over anyway.
///
/// Blocks; call it where blocking is allowed.
///
/// # Errors
///
/// `AlreadyExists` when the target holds a file of the same name, `Invalid` when the snapshot is deeper than
/// [`TreeLimits::MAX_DEPTH`] or holds a special file, `StorageFull`, `Denied` and others by the file system's word.
pub fn copy_tree(snapshot: &Path, target: &Path) -> Result<CopyStats> {
    match make_folder(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error, target)),
        _ => {}
    }
    let mut copy = Copy { stats: CopyStats::default(), can_clone: true };
    copy.folder(snapshot, target, 0)?;
    Ok(copy.stats)
}

struct Copy {
    stats: CopyStats,
    /// Whether the file system was not seen refusing to share blocks.
    can_clone: bool,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        if depth > TreeLimits::MAX_DEPTH {
            return Err(Error::new(ErrorKind::Invalid, "the folder is too deep to copy")
                .with("max_depth", TreeLimits::MAX_DEPTH)
                .with("path", from.display()));
        }
        for entry in fs::read_dir(from).map_err(|error| failed(error, from))? {
            let entry = entry.map_err(|error| failed(error, from))?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(|error| failed(error, &from))?;
            if kind.is_dir() {
                make_folder(&to).map_err(|error| failed(error, &to))?;
                self.stats.folders += 1;
                self.folder(&from, &to, depth + 1)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&from).map_err(|error| failed(error, &from))?;
                symlink(target, &to).map_err(|error| failed(error, &to))?;
                self.stats.links += 1;
            } else if kind.is_file() {
                self.stats.bytes += self.file(&from, &to)?;
                self.stats.files += 1;
            } else {
                return Err(Error::new(ErrorKind::Invalid, "only files, folders and links can be copied")
                    .with("path", from.display()));
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path) -> Result<u64> {
        let mut source = File::open(from).map_err(|error| failed(error, from))?;
        let meta = source.metadata().map_err(|error| failed(error, from))?;
        let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        let mut target = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(to)
            .map_err(|error| failed(error, to))?;
        if self.can_clone && meta.len() > 0 {
            if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
                return Ok(meta.len());
            }
            self.can_clone = false;
        }
        // Inside the kernel where it can (copy_file_range).
        io::copy(&mut source, &mut target).map_err(|error| failed(error, to))
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

fn failed(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
