//! Where everything lies in the data directory: the one place that joins paths.
//!
//! ```text
//! <data>/fastflow.db         the store, its locks, its bells and its log
//! <data>/owner               the installation's id
//! <data>/snapshots/          immutable copies of pipelines, one folder a revision
//! <data>/code/               immutable copies of code that is in no source, one folder a revision
//! <data>/git/                 our own copy of the repository of pipelines, if they come from one
//! <data>/environments/       immutable environments, and the locks they were built from
//! <data>/audit/              what the auditor of packages is given, and its cache
//! <data>/executor/           what executors keep: the shim, the list of live attempts
//! <data>/runs/<pipeline>/<run>/<attempt>/        log.ndjson, usage.ndjson, exit.json; guard.json, setup.json, stop.json
//! <data>/runs/<pipeline>/<run>/<attempt>/work/   the program's working directory
//! ```

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::{AttemptId, Entropy, Error, ErrorKind, OwnerId, PipelineName, Result, RunId};

/// The layout of a data directory.
///
/// ```
/// let data = fastflow_core::layout::DataDir::new("/var/lib/app");
/// assert_eq!(data.store_file(), std::path::Path::new("/var/lib/app/fastflow.db"));
/// ```
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// What logs and working directories hold belongs to nobody else on the machine.
const PRIVATE_MODE: u32 = 0o700;

impl DataDir {
    /// The layout under `root`. Nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directory, private to its user, if it is not there, and its path absolute.
    ///
    /// # Errors
    ///
    /// `Denied`, `StorageFull`, or `Invalid` when the path is something else than a directory.
    pub fn create(self) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::from(error)
                .with("data_directory", self.root.display())
                .with("help", "choose a directory that this user may create and write")
        };
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_MODE).create(&self.root).map_err(failed)?;
        let root = fs::canonicalize(&self.root).map_err(failed)?;
        if !root.is_dir() {
            return Err(Error::new(ErrorKind::Invalid, "the data directory is not a directory")
                .with("path", root.display()));
        }
        let data = Self { root };
        let dirs = [
            data.runs_dir(),
            data.snapshots_dir(),
            data.code_dir(),
            data.environments_dir(),
            data.executor_dir(),
        ];
        for dir in dirs {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(PRIVATE_MODE)
                .create(&dir)
                .map_err(|error| Error::from(error).with("path", dir.display()))?;
        }
        Ok(data)
    }

    /// The installation's id, made at the first call and kept in a file.
    ///
    /// # Errors
    ///
    /// `Corrupt` when the file holds something else; `Denied`, `StorageFull` by the file system's word.
    pub fn owner(&self, entropy: &dyn Entropy) -> Result<OwnerId> {
        let path = self.root.join("owner");
        if let Some(owner) = known_owner(&path)? {
            return Ok(owner);
        }
        let mut random = [0; 8];
        entropy.fill(&mut random);
        let owner: OwnerId = format!("{:016x}", u64::from_be_bytes(random)).parse()?;
        let temporary = self.root.join(format!(".owner.{owner}"));
        // A link takes nobody's place: of several processes that make an id at one moment, one does.
        let linked = fs::write(&temporary, owner.as_str())
            .and_then(|()| fs::File::open(&temporary)?.sync_all())
            .and_then(|()| match fs::hard_link(&temporary, &path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let removed = fs::remove_file(&temporary);
        linked
            .and(removed)
            .and_then(|()| fs::File::open(&self.root)?.sync_all())
            .map_err(|error| Error::from(error).with("path", path.display()))?;
        Ok(known_owner(&path)?.unwrap_or(owner))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The `SQLite` store.
    pub fn store_file(&self) -> PathBuf {
        self.root.join("fastflow.db")
    }

    /// Immutable copies of pipelines.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Immutable copies of code that is in no source.
    pub fn code_dir(&self) -> PathBuf {
        self.root.join("code")
    }

    /// Our own copy of a git repository, and what belongs to its server.
    pub fn git_dir(&self) -> PathBuf {
        self.root.join("git")
    }

    /// Immutable environments.
    pub fn environments_dir(&self) -> PathBuf {
        self.root.join("environments")
    }

    /// What the auditor of packages is given, and its cache.
    pub fn audit_dir(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// What executors keep.
    pub fn executor_dir(&self) -> PathBuf {
        self.root.join("executor")
    }

    /// The root of all run directories.
    pub fn runs_dir(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Everything of one run.
    pub fn run_dir(&self, pipeline: &PipelineName, run: RunId) -> PathBuf {
        self.runs_dir().join(pipeline.as_str()).join(run.to_string())
    }

    /// Everything of one attempt.
    pub fn attempt_dir(&self, pipeline: &PipelineName, attempt: AttemptId) -> PathBuf {
        self.run_dir(pipeline, attempt.run).join(attempt.number.to_string())
    }

    /// Makes the directory of one attempt, private to its user.
    ///
    /// # Errors
    ///
    /// `StorageFull`, `Denied` by the file system's word.
    pub fn create_attempt_dir(&self, pipeline: &PipelineName, attempt: AttemptId) -> Result<PathBuf> {
        let dir = self.attempt_dir(pipeline, attempt);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_MODE)
            .create(&dir)
            .map_err(|error| Error::from(error).with("path", dir.display()))?;
        Ok(dir)
    }
}

/// The installation's id that this file holds; none when there is none.
fn known_owner(path: &Path) -> Result<Option<OwnerId>> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error: Error| {
            Error::new(ErrorKind::Corrupt, "the file does not hold an installation's id")
                .with("path", path.display())
                .because(error)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // Whoever cannot read the id must not make another: nobody would find this one's programs again.
        Err(error) => Err(Error::from(error).with("path", path.display())),
    }
}

/// The name of the working directory in an attempt's directory.
///
/// ```
/// use fastflow_core::layout::{DataDir, WORK_DIR};
///
/// let attempt = "019aa2f0-7c3c-7def-8000-000000000001-2".parse().unwrap();
/// let dir = DataDir::new("/data").attempt_dir(&"etl".parse().unwrap(), attempt);
/// let work = "/data/runs/etl/019aa2f0-7c3c-7def-8000-000000000001/2/work";
/// assert_eq!(dir.join(WORK_DIR), std::path::Path::new(work));
/// ```
pub const WORK_DIR: &str = "work";

/// The name of the file in the working directory in which a program names the route that follows it.
///
/// ```
/// assert_eq!(fastflow_core::layout::ROUTE_FILE, ".fastflow-route");
/// ```
pub const ROUTE_FILE: &str = ".fastflow-route";

/// The name of the file in the working directory in which a program leaves its outputs, a JSON object.
///
/// ```
/// assert_eq!(fastflow_core::layout::OUTPUT_FILE, ".fastflow-output.json");
/// ```
pub const OUTPUT_FILE: &str = ".fastflow-output.json";

/// The name of the file in the working directory by which a program says that it is well, where it is asked to.
///
/// ```
/// assert_eq!(fastflow_core::layout::HEARTBEAT_FILE, ".fastflow-heartbeat");
/// ```
pub const HEARTBEAT_FILE: &str = ".fastflow-heartbeat";

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::OsEntropy;

    #[test]
    fn all_who_make_the_id_at_one_moment_have_the_same() {
        const AT_ONCE: usize = 8;
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let (data, start) = (DataDir::new(dir.path()), Barrier::new(AT_ONCE));
            let ids: Vec<OwnerId> = std::thread::scope(|scope| {
                let make = || {
                    start.wait();
                    data.owner(&OsEntropy).unwrap()
                };
                let makers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(make)).collect();
                makers.into_iter().map(|maker| maker.join().unwrap()).collect()
            });
            let kept = data.owner(&OsEntropy).unwrap();
            assert!(ids.iter().all(|id| *id == kept), "{ids:?}, and {kept} is kept");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        }
    }
}
