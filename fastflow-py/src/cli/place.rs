//! Which pipelines, and which data directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fastflow_core::{Error, ErrorKind, Orchestrator, layout::DataDir};

use super::args::Global;
use crate::config::{DataDirectory, NO_PIPELINES};

/// The folder of pipelines where nothing is said.
pub(crate) const PIPELINES: &str = "pipelines";
/// What to do where the usual data directory will not do.
const NAME_ONE: &str = "name one with --data-dir DIR or FASTFLOW_DATA_DIR";
/// What to do where the usual data directory has a host of other pipelines.
const NAME_ANOTHER: &str =
    "name another with --data-dir DIR or FASTFLOW_DATA_DIR, or this one where they are together on purpose";
/// The programs that make a folder a pipeline.
const ENTRIES: [&str; 2] = ["main.py", "main.ipynb"];

/// Which pipelines, and which data directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder of pipelines.
    pub(crate) pipelines: PathBuf,
    data_dir: DataDirectory,
    /// Whether the command is about these pipelines, and not only about runs of whichever.
    is_of_pipelines: bool,
}

impl Place {
    /// What was said, and else what is found here. Nothing is touched, and the folders need not be there.
    ///
    /// # Errors
    ///
    /// `Invalid` where no data directory was said, and the folder of pipelines has no place beside it.
    pub(crate) fn find(global: &Global) -> Result<Self, Error> {
        let pipelines = global.pipelines.clone().unwrap_or_else(found);
        let data_dir = match &global.data_dir {
            Some(named) => DataDirectory::named(named.clone()),
            None => DataDirectory::beside(&pipelines),
        };
        let data_dir = data_dir.map_err(|error| error.with("help", NAME_ONE))?;
        Ok(Self { pipelines, data_dir, is_of_pipelines: false })
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Refuses to be beside a host of other pipelines where no data directory was named, and there are pipelines here.
    ///
    /// # Errors
    ///
    /// `Conflict` with both sources and what to do, or by the store's word.
    pub(crate) async fn check_source(&self, flow: &Orchestrator) -> Result<(), Error> {
        if !self.pipelines.is_dir() {
            return Ok(());
        }
        self.data_dir.check_source(flow, NAME_ANOTHER).await
    }

    /// Does so for a command that is about the pipelines here. Runs can be read and asked to end beside any host.
    ///
    /// # Errors
    ///
    /// As [`check_source`](Self::check_source).
    pub(crate) async fn check_need(&self, flow: &Orchestrator) -> Result<(), Error> {
        if self.is_of_pipelines { self.check_source(flow).await } else { Ok(()) }
    }

    /// The same, for what needs pipelines.
    ///
    /// # Errors
    ///
    /// `NotFound` with what to do when there is no such folder.
    pub(crate) fn with_pipelines(self) -> Result<Self, Error> {
        if self.pipelines.is_dir() {
            return Ok(Self { is_of_pipelines: true, ..self });
        }
        Err(Error::new(ErrorKind::NotFound, "there is no such folder of pipelines")
            .with("folder", self.pipelines.display())
            .with("help", "name one with -C DIR, or make a pipeline with `fastflow init NAME`"))
    }

    /// The same, for what needs no pipelines: where there are none, an empty folder of the data directory stands in.
    ///
    /// # Errors
    ///
    /// As [`with_pipelines`](Self::with_pipelines) where the data directory may be that of pipelines elsewhere: they would
    /// be taken for removed.
    pub(crate) fn with_pipelines_or_none(self) -> Result<Self, Error> {
        let is_known = DataDir::new(self.data_dir()).store_file().exists();
        let none = self.data_dir().join(NO_PIPELINES);
        if self.pipelines.is_dir() {
            return Ok(self);
        }
        if is_known && !none.is_dir() {
            return self.with_pipelines();
        }
        let data = DataDir::new(self.data_dir()).create()?;
        let none = data.root().join(NO_PIPELINES);
        fs::create_dir_all(&none).map_err(|error| Error::from(error).with("path", none.display()))?;
        Ok(Self { pipelines: none, ..self })
    }

    /// The same, for what needs runs.
    ///
    /// # Errors
    ///
    /// `NotFound` with what to do when nothing has run here yet.
    pub(crate) fn with_runs(self) -> Result<Self, Error> {
        if DataDir::new(self.data_dir()).store_file().exists() {
            return Ok(self);
        }
        Err(Error::new(ErrorKind::NotFound, "nothing has run here yet")
            .with("data_directory", self.data_dir().display())
            .with("help", "run something with `fastflow run NAME`, or name another with --data-dir DIR"))
    }
}

fn found() -> PathBuf {
    let usual = Path::new(PIPELINES);
    let here = Path::new(".");
    if !usual.is_dir() && has_pipelines(here) { here.to_owned() } else { usual.to_owned() }
}

/// Whether some folder in it is a pipeline. A single file may be anything.
fn has_pipelines(folder: &Path) -> bool {
    let is_pipeline = |folder: &Path| ENTRIES.iter().any(|entry| folder.join(entry).is_file());
    fs::read_dir(folder)
        .is_ok_and(|entries| entries.filter_map(Result::ok).any(|entry| is_pipeline(&entry.path())))
}
