//! Where everything is kept: in the directory that was named, and else in the usual one, beside the folder of pipelines.

use std::path::{Path, PathBuf};

use fastflow_core::{Error, ErrorKind, HostInfo, Orchestrator, Result, source::without_steps_back};

/// The name of the usual data directory.
const NAME: &str = ".fastflow";
/// The empty folder in a data directory that stands in where there are no pipelines.
pub(crate) const NO_PIPELINES: &str = "no-pipelines";

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
    /// host of its own. Nothing is touched, and a link is followed only where a step goes back over it.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty text, and for the root folder, which nothing lies beside. By the file system's word when
    /// the folder where the process is was removed.
    pub(crate) fn beside(pipelines: &Path) -> Result<Self> {
        let said = said(pipelines.to_owned())?;
        let absolute =
            std::path::absolute(&said).map_err(|error| Error::from(error).with("path", said.display()))?;
        let folder = without_steps_back(&absolute);
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

    /// Refuses to wait beside a host of other pipelines in the usual data directory, which several folders in one place
    /// have: nobody has said that they belong together, and the schedules of this one would never start. Where it cannot
    /// be found out who hosts, nothing is known against it. `help` is what to do.
    ///
    /// # Errors
    ///
    /// `Conflict` with both sources and the help, or by the store's word.
    pub(crate) async fn check_source(&self, flow: &Orchestrator, help: &str) -> Result<()> {
        let (Self::Usual(path), Some(own)) = (self, flow.source_origin()) else { return Ok(()) };
        let host = match flow.host().await {
            Ok(Some(host)) => host,
            Ok(None) => return Ok(()),
            // On a full disk a host cannot say who it is.
            Err(error) if error.kind() == ErrorKind::Unavailable => return Ok(()),
            Err(error) => return Err(error),
        };
        let none = path.join(NO_PIPELINES);
        // Finding where folders really are may take long.
        let compared =
            tokio::task::spawn_blocking(move || is_other(&host, &own, &none).then_some((host, own))).await;
        match compared {
            Ok(None) => Ok(()),
            Ok(Some((host, own))) => Err(shared(path, &host, &own).with("help", help)),
            Err(broken) => {
                Err(Error::new(ErrorKind::Internal, "comparing two sources broke off").because(broken))
            }
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

/// Whether the host has other pipelines. One that has none keeps no schedules, and hosts for as long as a file runs.
fn is_other(host: &HostInfo, own: &str, none: &Path) -> bool {
    let has_none = || none.is_dir() && !host.has_other_source(none.to_str());
    host.has_other_source(Some(own)) && !has_none()
}

fn shared(path: &Path, host: &HostInfo, own: &str) -> Error {
    let message =
        "the data directory beside these pipelines has a host for others, whose schedules alone would start";
    Error::new(ErrorKind::Conflict, message)
        .with("data_directory", path.display())
        .with("pid", host.pid)
        .with("its_source", host.source.as_deref().unwrap_or_default())
        .with("own_source", own)
}
