//! Folders and disks.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::{super::place::Place, check::Check};

/// With less room than this, nothing can be built.
const MIN_FREE_BYTES: u64 = 256 << 20;
/// With less room than this, a few environments fill the disk.
const SMALL_FREE_BYTES: u64 = 4 << 30;

/// Whether the data directory is there and can be written, or can be made.
pub(super) fn data_dir(place: &Place) -> Check {
    const NAME: &str = "data directory";
    const HELP: &str =
        "choose a directory that this user may write, with --data-dir DIR or FASTFLOW_DATA_DIR";
    let data = place.data_dir();
    let there = existing(data);
    if !there.is_dir() {
        return Check::fail(NAME, format!("{} is no directory", there.display()), HELP);
    }
    if let Err(error) = access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        return Check::fail(NAME, format!("{} cannot be written: {error}", there.display()), HELP);
    }
    let later = if there == *data { "" } else { " (made when something runs)" };
    Check::ok(NAME, format!("{}{later}", data.display()))
}

/// Whether there is room.
pub(super) fn disk(place: &Place) -> Check {
    const NAME: &str = "disk space";
    const HELP: &str = "make room, or keep the data directory elsewhere";
    let there = existing(place.data_dir());
    let found = match statvfs(&there) {
        Ok(found) => found,
        Err(error) => return Check::fail(NAME, format!("{}: {error}", there.display()), HELP),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let said = format!("{:.1} GiB free", gibibytes(free));
    match free {
        ..MIN_FREE_BYTES => Check::fail(NAME, said, HELP),
        MIN_FREE_BYTES..SMALL_FREE_BYTES => Check::warn(NAME, said, HELP),
        _ => Check::ok(NAME, said),
    }
}

/// Whether there is a folder of pipelines.
pub(super) fn pipelines(place: &Place) -> Check {
    const NAME: &str = "pipelines";
    let folder = place.pipelines.display();
    if place.pipelines.is_dir() {
        Check::ok(NAME, folder.to_string())
    } else {
        let help = "make one with `fastflow init NAME`, or name the folder with -C DIR or FASTFLOW_PIPELINES";
        Check::warn(NAME, format!("{folder} is not there"), help)
    }
}

/// The path, or the nearest folder above it that is there.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|above| above.exists());
    if path.exists() { path.to_owned() } else { found.unwrap_or(Path::new("/")).to_owned() }
}

#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
