//! Which of the processes that have one data directory open hosts: claims runs, fires schedules, cleans up.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::Timestamp;

/// Whether an orchestrator hosts. Several may have one data directory open; one of them hosts at a time.
///
/// | | `Required` | `WhenFree`, `Never` |
/// |---|---|---|
/// | submit, cancel, rerun, wait, read, follow | yes | yes |
/// | schedules and secrets: read, make, change | yes | yes |
/// | claim runs, fire schedules, sync the source, pre-heat, keep warm, clean up | yes | `WhenFree`, once it hosts |
///
/// ```no_run
/// # async fn example() -> fastflow_core::Result<()> {
/// use fastflow_core::{Hosting, Orchestrator};
///
/// // Each worker of a web server does this: one of them hosts, and another one when that dies.
/// let flow = Orchestrator::builder("./var").pipelines("./pipelines").hosting(Hosting::WhenFree).build().await?;
/// flow.start().await?;
/// flow.submit("hello").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Hosting {
    /// It hosts. Where another one does, [`build`](crate::OrchestratorBuilder::build) fails with `Conflict`, which says
    /// which process that is and since when.
    #[default]
    Required,
    /// It hosts as soon as no other one does. Until then it submits and reads.
    WhenFree,
    /// It submits and reads, and never hosts.
    Never,
}

/// Who hosts a data directory.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use fastflow_core::hosting::HostPlace;
///
/// match flow.host().await? {
///     Some(host) if host.place == HostPlace::Here => println!("this one hosts"),
///     Some(host) => println!("process {} hosts since {}", host.pid, host.since),
///     None => println!("nobody hosts: what is submitted waits"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HostInfo {
    /// Its process, as that knows itself: in another container it may have another id here.
    pub pid: u32,
    /// Since when it hosts.
    pub since: Timestamp,
    /// Whether it is the one that was asked.
    pub place: HostPlace,
    /// Where its pipelines come from, without credentials: the path of a folder, or of a repository the address, what is
    /// published of it, and the folder in it. None where it does not say.
    pub source: Option<String>,
}

/// Whether it is this orchestrator that hosts.
///
/// ```
/// assert_ne!(fastflow_core::hosting::HostPlace::Here, fastflow_core::hosting::HostPlace::Elsewhere);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostPlace {
    /// This one.
    Here,
    /// Another one, which may be of this process.
    Elsewhere,
}

impl HostInfo {
    /// A host, for stores of your own.
    pub fn new(pid: u32, since: Timestamp, place: HostPlace) -> Self {
        Self { pid, since, place, source: None }
    }

    /// The same, with where its pipelines come from.
    #[must_use]
    pub fn of_source(mut self, source: Option<String>) -> Self {
        self.source = source;
        self
    }

    /// Whether its pipelines come from somewhere else than `origin`, which is mostly
    /// [`Orchestrator::source_origin`](crate::Orchestrator::source_origin). Then only its schedules start, and whoever shares the data directory
    /// with it by mistake waits for nothing. Not where either is unknown, as a folder is that cannot be found here: it may be
    /// the same one, renamed since, or at another path in another container. Nor for two ways to one folder. Blocks while
    /// it looks which folders they are.
    ///
    /// ```
    /// use fastflow_core::{HostInfo, Timestamp, hosting::HostPlace};
    ///
    /// let host = HostInfo::new(1, Timestamp::UNIX_EPOCH, HostPlace::Elsewhere);
    /// assert!(!host.has_other_source(Some("/")));
    /// let host = host.of_source(Some("https://git.example.org/pipelines.git, branch main".into()));
    /// assert!(host.has_other_source(Some("/")));
    /// let host = host.of_source(Some("/nowhere/pipelines".into()));
    /// assert!(!host.has_other_source(Some("/")));
    /// ```
    pub fn has_other_source(&self, origin: Option<&str>) -> bool {
        let (Some(its), Some(own)) = (self.source.as_deref(), origin) else { return false };
        if its == own {
            return false;
        }
        match (Folder::of(its), Folder::of(own)) {
            (Some(its), Some(own)) => its.is_other_than(&own),
            // A repository is no folder, and two repositories are told apart by their texts.
            _ => true,
        }
    }
}

/// The path of a folder.
struct Folder<'a>(&'a Path);

impl<'a> Folder<'a> {
    /// None for what is no folder.
    fn of(origin: &'a str) -> Option<Self> {
        origin.starts_with('/').then(|| Self(Path::new(origin)))
    }

    /// Not where either cannot be found.
    fn is_other_than(&self, other: &Self) -> bool {
        match (self.identity(), other.identity()) {
            (Some(its), Some(other)) => its != other,
            _ => false,
        }
    }

    /// Its device, and its number there: the same through all links and mounts.
    fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(self.0).map(|folder| (folder.dev(), folder.ino())).ok()
    }
}
