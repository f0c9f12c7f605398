//! Where everything is kept: in the directory that was named, and else in the usual one, beside the folder of pipelines.

use std::path::{Component, Path, PathBuf};

use fastflow_core::{Error, ErrorKind, Result};

/// The name of the usual data directory.
const NAME: &str = ".fastflow";

/// Where everything is kept, and whether somebody said so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum DataDirectory {
    /// The one that was named.
    Named(PathBuf),
    /// The usual one.
    Usual(PathBuf),
}

impl DataDirectory {
    /// The one that was named.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty text.
    pub(crate) fn named(path: PathBuf) -> Result<Self> {
        said(path).map(Self::Named)
    }

    /// The usual one for a folder of pipelines: the same for all ways to write the folder, as each data directory has a
    /// host of its own. Nothing is touched, and no link is followed.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty text, and for the root folder, which nothing lies beside. By the file system's word when
    /// the folder where the process is was removed.
    pub(crate) fn beside(pipelines: &Path) -> Result<Self> {
        let folder = normal(&said(pipelines.to_owned())?)?;
        match folder.parent() {
            Some(above) => Ok(Self::Usual(above.join(NAME))),
            None => Err(Error::new(
                ErrorKind::Invalid,
                "there is no place for a data directory beside the root folder",
            )),
        }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Usual(path) => path,
        }
    }
}

/// The path, if something was said: an empty text, of a variable that is not set mostly, would mean the folder where the
/// process is.
///
/// # Errors
///
/// `Invalid` for an empty text.
pub(crate) fn said(path: PathBuf) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "an empty text is no path"));
    }
    Ok(path)
}

/// The absolute path without `.` and `..`.
fn normal(path: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(path).map_err(|error| Error::from(error).with("path", path.display()))?;
    let mut normal = PathBuf::new();
    for part in absolute.components() {
        if part == Component::ParentDir {
            // There is nothing above the root folder, which stays.
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    Ok(normal)
}
