//! The facade: what an application embeds.

mod explain;
mod life;
mod other_source;
mod packages;
mod pipelines;
mod runs;
mod sbom;
mod schedules;
mod secrets;
mod source;
mod waiting;

use std::{fmt, path::PathBuf, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use tokio::sync::Mutex;

use self::life::{Election, HostState, Task};
pub use self::{
    explain::Explanation,
    packages::{Packages, SbomOf},
    pipelines::{PipelineInfo, Pipelines},
    runs::{Rerun, RunLogLine, Runs},
    schedules::{Schedules, Upcoming},
    secrets::{MasterKeyUse, SecretInfo, Secrets, SetSecret, WantedSecret},
    source::{Source, SourceStatus},
    waiting::Waiting,
};
use crate::{
    Error, ErrorKind, OwnerId, Result, RunId,
    builder::OrchestratorBuilder,
    host::{Ports, elsewhere, intake::Asked},
    run::{NewRun, Origin, Run, RunEvent, RunState, StopCause},
    store::{Event, EventId, Step},
    submission::{Subject, Submission},
};

/// Events read from the store at once.
const EVENT_BATCH: std::num::NonZeroU32 = std::num::NonZeroU32::new(256).expect("it is not 0");

/// The orchestrator that an application embeds. Clones share one.
///
/// Dropping the last clone is like a crash, and as harmless: programs run on, and the next
/// [`start`](Self::start) on the same data directory takes them over.
///
/// ```no_run
/// # async fn example() -> fastflow_core::Result<()> {
/// use fastflow_core::Orchestrator;
///
/// let flow = Orchestrator::builder("./var").pipelines("./pipelines").build().await?;
/// flow.start().await?;
/// let run = flow.submit("hello").await?;
/// println!("{}", flow.runs().wait(run.id).await?.status());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
}

struct Inner {
    ports: Arc<Ports>,
    state: Mutex<HostState>,
    election: Election,
    /// Tells of what other processes write.
    _hearing: Task,
}

impl Drop for Inner {
    /// Readers that outlive the orchestrator are told so, and the store is free for the next one.
    fn drop(&mut self) {
        self.election.end();
        if matches!(self.state.get_mut(), HostState::Closed) {
            return;
        }
        self.ports.syncs.stop();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let ports = Arc::clone(&self.ports);
        runtime.spawn(async move {
            if let Err(error) = ports.store.close().await {
                tracing::warn!(%error, "the store was dropped without being closed");
            }
            ports.signals.closed();
        });
    }
}

impl Orchestrator {
    /// Begins with the one thing that has no default: the directory where everything is kept.
    pub fn builder(data_dir: impl Into<PathBuf>) -> OrchestratorBuilder {
        OrchestratorBuilder::new(data_dir.into())
    }

    pub(crate) fn new(ports: Ports) -> Self {
        let ports = Arc::new(ports);
        let hearing = Task::spawn(elsewhere::hear(Arc::clone(&ports)));
        let (state, election) = (Mutex::new(HostState::Idle), Election::default());
        Self { inner: Arc::new(Inner { ports, state, election, _hearing: hearing }) }
    }

    #[cfg(test)]
    pub(crate) fn ports(&self) -> &Arc<Ports> {
        &self.inner.ports
    }

    /// Accepts a run. Once this has returned, the run survives the death of the process.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown pipeline; `Invalid` for one, or code, with configuration errors, or bad parameters;
    /// `Unsupported` for one that needs what this version or the executor does not have, naming the fields;
    /// `Conflict` for a disabled one; `Unavailable`, `StorageFull` when nothing can be written now.
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped submission was accepted is unknown; submit with the same key to find out.
    pub async fn submit(&self, what: impl Into<Submission>) -> Result<Run> {
        let what = what.into();
        let given = what.checked_parameters()?;
        let key = what.checked_key()?;
        let ports = &self.inner.ports;
        let found = match &what.subject {
            Subject::Pipeline(name) => ports.runnable(name).await?,
            Subject::Code(code) => ports.runnable_code(code).await?,
        };
        let asked =
            Asked { executor: what.executor.clone(), config: what.checked_config()?, schedule_limit: None };
        let spec = ports.spec(&found, &asked)?;
        let parameters = Ports::parameters(&spec, given)?;
        let now = self.inner.ports.clock.now();
        let not_before = what.due(now)?;
        let id = RunId::new(&*self.inner.ports.clock, &*self.inner.ports.entropy);
        let new = NewRun::new(id, spec, Origin::Manual, now);
        self.create(NewRun {
            parameters,
            priority: what.priority.unwrap_or(new.priority),
            key,
            not_before,
            ..new
        })
        .await
    }

    /// The runs: read, wait for, cancel, repeat; their logs and usage.
    pub fn runs(&self) -> Runs<'_> {
        Runs::new(self)
    }

    /// Where the pipelines come from: sync, status, the log of syncs.
    pub fn source(&self) -> Source<'_> {
        Source::new(self)
    }

    /// The pipelines: read, statistics.
    pub fn pipelines(&self) -> Pipelines<'_> {
        Pipelines::new(self)
    }

    /// The packages: what is installed where, who used it, bills of materials, audits.
    pub fn packages(&self) -> Packages<'_> {
        Packages::new(self)
    }

    /// The secrets: set, remove, list; master keys and their rotation.
    pub fn secrets(&self) -> Secrets<'_> {
        Secrets::new(self)
    }

    /// The schedules: read, make, change; their instants and their ledger.
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules::new(self)
    }

    /// Every event after `after`: those in the store first, then new ones as they come. A slow reader loses
    /// none; after an error the stream ends and can be resumed after the last event seen.
    pub fn events(&self, after: EventId) -> BoxStream<'static, Result<Event>> {
        let ports = Arc::clone(&self.inner.ports);
        let end = ports.signals.end();
        futures::stream::try_unfold((ports, end, after), |(ports, mut end, after)| async move {
            loop {
                end.mark_unchanged();
                let events = ports.store.events(after, EVENT_BATCH).await?;
                if let Some(last) = events.last() {
                    let next = (ports, end, last.id);
                    return Ok(Some((futures::stream::iter(events.into_iter().map(Ok)), next)));
                }
                if end.changed().await.is_err() {
                    return Ok(None);
                }
            }
        })
        .flat_map(|batch: Result<_>| match batch {
            Ok(events) => events.left_stream(),
            Err(error) => futures::stream::once(async { Err(error) }).right_stream(),
        })
        .boxed()
    }

    /// Where its pipelines come from, for people, without credentials: what
    /// [`PipelineSource::origin`](crate::source::PipelineSource::origin) says. None where the source does not say.
    pub fn source_origin(&self) -> Option<String> {
        self.inner.ports.source.origin()
    }

    /// The installation's id, which every sandbox of it carries.
    pub fn owner(&self) -> &OwnerId {
        &self.inner.ports.owner
    }

    async fn create(&self, new: NewRun) -> Result<Run> {
        let ports = &self.inner.ports;
        let later = new.not_before > new.at;
        let mut run = Run {
            id: new.id,
            spec: Arc::clone(&new.spec),
            parameters: new.parameters.clone(),
            origin: new.origin.clone(),
            chain: new.chain.unwrap_or(new.id),
            priority: new.priority,
            key: new.key.clone(),
            state: RunState::Queued { not_before: new.not_before },
            epoch: 0,
            attempt: 0,
            failed_attempts: 0,
            created_at: new.at,
            started_at: None,
            finished_at: None,
        };
        let accepting = Arc::clone(ports);
        // To its end, whether or not the caller still waits: a run in the store must be seen by the dispatcher.
        let created = to_its_end(async move {
            let created = accepting.store.create_run(new).await?;
            accepting.signals.created(&created, later);
            Ok(created)
        })
        .await?;
        if created.existing {
            run = ports.store.run(created.id).await?;
        }
        Ok(run)
    }

    /// Makes the stop durable, then hands it to whoever runs the program.
    async fn cancel(&self, id: RunId) -> Result<()> {
        let ports = &self.inner.ports;
        let event = RunEvent::StopRequested(StopCause::Cancelled);
        match ports.store.advance(Step::new(id, None, event, ports.clock.now())).await {
            Ok(advanced) => ports.signals.moved(id, advanced.event),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let run = ports.store.run(id).await?;
                if !matches!(run.state, RunState::Stopping { cause: StopCause::Cancelled, .. }) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        ports.signals.stop(id);
        Ok(())
    }
}

/// Carries `work` out even when nobody waits for it any more.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work)
        .await
        .map_err(|lost| Error::new(ErrorKind::Internal, "the runtime ended the work").because(lost))?
}

impl fmt::Debug for Orchestrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orchestrator")
            .field("data_dir", &self.inner.ports.data.root())
            .field("owner", &self.inner.ports.owner)
            .finish_non_exhaustive()
    }
}
