//! Removing what programs have left.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

/// Removes a folder with all that is in it. That it is gone is fine.
///
/// # Errors
///
/// What the machine says; some of it may be gone then.
pub(crate) fn remove_folder(dir: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(dir) {
        // A program may have left folders that not even their owner may change.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(dir);
            fs::remove_dir_all(dir)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Lets the owner change the folders below `dir`, never what a link leads to.
fn open_up(dir: &Path) {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        // What cannot be opened up makes the removal fail, and that says why.
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(inner.map(|entry| entry.path()));
    }
}
