//! What outlasts a crash of the machine.

use std::{fs::File, io, path::Path};

/// One flush of the whole file system that `path` lies on. Thousands of small files, each flushed alone, take many
/// times longer.
#[cfg(target_os = "linux")]
pub(crate) fn flush_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// One flush of all file systems.
#[cfg(not(target_os = "linux"))]
pub(crate) fn flush_file_system(_path: &Path) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn flush_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
