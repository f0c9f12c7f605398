//! Which of the processes that have one data directory open hosts: claims runs, fires schedules, cleans up.

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
        Self { pid, since, place }
    }
}
