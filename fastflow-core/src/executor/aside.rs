//! Files that are written beside their place and then renamed.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// How many names are tried.
const MAX_NAMES: u32 = 1024;

/// Removes a file that was to be renamed, if the process that made it did not live to do that.
pub(super) fn remove_left(dir: &Path, name: &str) {
    let maker = name
        .strip_prefix('.')
        .and_then(|rest| rest.split('.').next())
        .and_then(|pid| pid.parse::<u32>().ok());
    // A number that is in use again keeps its file a while longer.
    if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
        let _ = std::fs::remove_file(dir.join(name));
    }
}

/// A new file of its own for each caller, in `dir`. Its name is no attempt's.
pub(super) fn create_aside(dir: &Path) -> io::Result<(PathBuf, File)> {
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..MAX_NAMES {
        let path = dir.join(format!(".{}.{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}
