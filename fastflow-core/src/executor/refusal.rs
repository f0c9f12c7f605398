//! Why an attempt is not started, said before anything is done or by the shim.

use std::{fs, io, path::Path};

use super::AttemptSpec;
use crate::{Error, ErrorKind, Result};

/// What the shim would refuse.
pub(super) fn invalid_order(error: fastflow_shim::OrderError) -> Error {
    Error::new(ErrorKind::Invalid, "the attempt cannot be started as it stands").because(error)
}

/// What the shim said when it could not work.
pub(super) fn bad_order(spec: &AttemptSpec, errno: Option<i32>, message: String) -> Error {
    Error::new(machine_failure(errno), "the shim could not work, and has started nothing")
        .with("attempt", spec.id)
        .because(io::Error::other(message))
}

pub(super) fn check_dir(field: &'static str, path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| Error::from(error).with(field, path.display()))?;
    if metadata.is_dir() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "a directory of the attempt is something else")
        .with(field, path.display()))
}

pub(super) fn started_before(spec: &AttemptSpec) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "the attempt was started before, or was settled never to start; a new try needs a new number",
    )
    .with("attempt", spec.id)
}

/// The kind of what the machine refused the shim. Anything else that it stumbles over is a bug.
fn machine_failure(errno: Option<i32>) -> ErrorKind {
    errno
        .map(|errno| Error::from(io::Error::from_raw_os_error(errno)).kind())
        .filter(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::Denied | ErrorKind::Unavailable))
        .unwrap_or(ErrorKind::Internal)
}
