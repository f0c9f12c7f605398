//! The view of runs.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::sync::oneshot;

use super::{Orchestrator, to_its_end};
use crate::{
    AttemptId, Error, ErrorKind, Result, RunId,
    host::{Ports, intake::Asked},
    journal::{Follower, Journal, LogLine, Offset, Record, UsageSample},
    run::{Attempt, NewRun, Origin, Run, RunSpec, RunState},
    store::{Page, RunQuery},
};

/// The runs of an [`Orchestrator`].
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use fastflow_core::store::RunQuery;
///
/// for run in flow.runs().list(&RunQuery::default()).await?.items {
///     println!("{} {} {}", run.id, run.pipeline(), run.status());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Runs<'a> {
    pub(super) flow: &'a Orchestrator,
}

/// What a rerun executes.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator, id: fastflow_core::RunId) -> fastflow_core::Result<()> {
/// use fastflow_core::orchestrator::Rerun;
///
/// let again = flow.runs().rerun(id, Rerun::NewestRevision).await?;
/// println!("{} repeats {id}", again.id);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rerun {
    /// What the earlier run executed.
    SameRevision,
    /// What the pipeline is now. Code that is in no source has no newer revision: it is the same.
    NewestRevision,
}

/// A line of a run's log, and where it stands.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator, id: fastflow_core::RunId) -> fastflow_core::Result<()> {
/// use futures::StreamExt;
///
/// let mut log = flow.runs().follow(id);
/// while let Some(entry) = log.next().await {
///     let entry = entry?;
///     println!("{} {}", entry.attempt.number, entry.line.text());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RunLogLine {
    /// The attempt that wrote it.
    pub attempt: AttemptId,
    /// The position after it in that attempt's log.
    pub offset: Offset,
    /// The line.
    pub line: LogLine,
}

impl<'a> Runs<'a> {
    pub(super) fn new(flow: &'a Orchestrator) -> Self {
        Self { flow }
    }

    pub(super) fn ports(self) -> &'a Arc<Ports> {
        &self.flow.inner.ports
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn get(&self, id: RunId) -> Result<Run> {
        self.ports().store.run(id).await
    }

    /// Runs, newest first, a page at a time.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn list(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.ports().store.runs(query).await
    }

    /// The attempts of a run, first to last.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn attempts(&self, id: RunId) -> Result<Vec<Attempt>> {
        self.ports().store.attempts(id).await
    }

    /// Waits until the run has reached a final state.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Unavailable` when the store cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; dropping it only stops waiting.
    pub async fn wait(&self, id: RunId) -> Result<Run> {
        wait_until(self.ports(), id, |run| run.state.is_terminal()).await
    }

    /// Asks a run to end. Once this has returned the wish is durable: the run ends as `CANCELLED` and is never
    /// tried again. A queued run has ended at once; a running program gets its grace first.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` when the run has already ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call is carried out all the same; calling again is safe.
    pub async fn cancel(&self, id: RunId) -> Result<Run> {
        let flow = self.flow.clone();
        // To its end, whether or not the caller still waits: a stop in the store must reach the program.
        to_its_end(async move { flow.cancel(id).await }).await?;
        self.get(id).await
    }

    /// Submits a new run with the parameters of an earlier one, on the same executor. That of a failed run belongs to
    /// the same chain, so that what waits for its success goes on; that of any other begins a new one.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such run, or the same revision is wanted and not kept any more. `Invalid` when its
    /// executor is not registered any more; else as [`Orchestrator::submit`].
    ///
    /// # Cancel safety
    ///
    /// Whether a dropped call has submitted the run is unknown; [`list`](Self::list) shows it, and calling again
    /// submits another.
    pub async fn rerun(&self, id: RunId, of: Rerun) -> Result<Run> {
        let earlier = self.get(id).await?;
        let ports = self.ports();
        let (scheduled_for, schedule) = (earlier.scheduled_for(), earlier.scheduled_by().cloned());
        let origin = Origin::Rerun { of: id, scheduled_for, schedule };
        let is_code = earlier.pipeline().is_code();
        let (spec, parameters) = match of {
            Rerun::NewestRevision if !is_code => {
                let found = ports.runnable(earlier.spec.pipeline.name.as_str()).await?;
                let executor = Some(earlier.spec.executor.clone());
                let asked = Asked { executor, config: earlier.spec.config.clone(), schedule_limit: None };
                let spec = ports.spec(&found, &asked)?;
                let parameters = Ports::parameters(&spec, earlier.parameters)?;
                (spec, parameters)
            }
            Rerun::SameRevision | Rerun::NewestRevision => {
                ports.check_rerun(&earlier).await?;
                // Nobody's schedule waits for a run that was asked for by hand, nor does it for the schedule.
                let spec = match &earlier.spec.schedule_limit {
                    Some(_) => Arc::new(RunSpec { schedule_limit: None, ..RunSpec::clone(&earlier.spec) }),
                    None => Arc::clone(&earlier.spec),
                };
                (spec, earlier.parameters)
            }
        };
        let chain = matches!(earlier.state, RunState::Failed(_)).then_some(earlier.chain);
        let now = ports.clock.now();
        let new_id = RunId::new(&*ports.clock, &*ports.entropy);
        let new = NewRun::new(new_id, spec, origin, now);
        self.flow.create(NewRun { parameters, chain, priority: earlier.priority, ..new }).await
    }

    /// Failed runs that were not run again since, by hand or as daemons are, newest first; those older than `before`, at most `limit` and never
    /// more than 1,000. [`rerun`](Self::rerun) takes one off the list.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn dead_letters(&self, before: Option<RunId>, limit: NonZeroU32) -> Result<Page<Run>> {
        self.ports().store.dead_letters(before, limit).await
    }

    /// The log of one attempt from `from` on, each line with the position after it; live while the attempt
    /// runs, and ended when it has. Resuming at a position gives what follows: nothing twice, nothing lost.
    pub fn logs(&self, attempt: AttemptId, from: Offset) -> BoxStream<'static, Result<(Offset, LogLine)>> {
        follow_file(Arc::clone(self.ports()), attempt, fastflow_shim::layout::LOG, from)
    }

    /// The usage of one attempt from `from` on, as [`logs`](Self::logs).
    pub fn usage(
        &self,
        attempt: AttemptId,
        from: Offset,
    ) -> BoxStream<'static, Result<(Offset, UsageSample)>> {
        follow_file(Arc::clone(self.ports()), attempt, fastflow_shim::layout::USAGE, from)
    }

    /// The logs of all attempts of a run, one after the other, until the run has ended.
    pub fn follow(&self, id: RunId) -> BoxStream<'static, Result<RunLogLine>> {
        self.follow_from(id, NonZeroU32::MIN, Offset::START)
    }

    /// The same from `from` in the log of attempt `attempt` on: what follows a line whose attempt and offset they are.
    pub fn follow_from(
        &self,
        id: RunId,
        attempt: NonZeroU32,
        from: Offset,
    ) -> BoxStream<'static, Result<RunLogLine>> {
        let ports = Arc::clone(self.ports());
        futures::stream::try_unfold((ports, attempt, from), move |(ports, number, from)| async move {
            let run =
                wait_until(&ports, id, |run| run.attempt >= number.get() || run.state.is_terminal()).await?;
            if run.attempt < number.get() {
                return Ok::<_, Error>(None);
            }
            let attempt = AttemptId { run: id, number };
            let lines = follow_file(Arc::clone(&ports), attempt, fastflow_shim::layout::LOG, from)
                .map(move |line| line.map(|(offset, line)| RunLogLine { attempt, offset, line }));
            Ok(Some((lines, (ports, number.saturating_add(1), Offset::START))))
        })
        .flat_map(|lines| match lines {
            Ok(lines) => lines.boxed(),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        })
        .boxed()
    }

    /// The directory of an attempt: its log, its usage, and in `work/` the files its program left behind.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such attempt, or its directory was removed by retention.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn directory(&self, attempt: AttemptId) -> Result<PathBuf> {
        let run = self.get(attempt.run).await?;
        let dir = self.ports().data.attempt_dir(run.pipeline(), attempt);
        if !tokio::fs::try_exists(&dir).await? {
            return Err(Error::new(ErrorKind::NotFound, "this attempt has no directory (any more)")
                .with("attempt", attempt));
        }
        Ok(dir)
    }
}

/// Reads the run until it is as wished; between, waits for it to move.
async fn wait_until(ports: &Arc<Ports>, id: RunId, wished: impl Fn(&Run) -> bool) -> Result<Run> {
    loop {
        let movement = ports.signals.movement(id);
        tokio::pin!(movement);
        // Registered before reading, so that a movement in between is not missed.
        movement.as_mut().enable();
        // In a task of its own: a reader of a journal who pauses would leave the question half asked, and with it keep one
        // of the few connections of the store.
        let asked = Arc::clone(ports);
        let run = to_its_end(async move { asked.store.run(id).await }).await?;
        if wished(&run) {
            return Ok(run);
        }
        movement.await;
    }
}

/// Follows a journal of one attempt until the attempt has ended.
fn follow_file<T: Record>(
    ports: Arc<Ports>,
    attempt: AttemptId,
    file: &'static str,
    from: Offset,
) -> BoxStream<'static, Result<(Offset, T)>> {
    futures::stream::once(async move {
        let run = ports.store.run(attempt.run).await?;
        if attempt.number.get() > run.attempt {
            return Err(
                Error::new(ErrorKind::NotFound, "the run has no such attempt yet").with("attempt", attempt)
            );
        }
        let dir = ports.data.attempt_dir(run.pipeline(), attempt);
        check_kept(&ports, &run, attempt, &dir).await?;
        let clock = Arc::clone(&ports.clock);
        let (cut, why) = oneshot::channel();
        let ended = async move {
            let over = |run: &Run| attempt_is_over(run, attempt);
            // A store that cannot be read ends the following, and the reader must hear that there may be more.
            if let Err(error) = wait_until(&ports, attempt.run, over).await {
                // Whoever has dropped the stream does not want to know.
                let _ = cut.send(error.with("attempt", attempt));
            }
        };
        let batches = Follower::<T>::new(Journal::new(dir.join(file)), from, clock, ended).into_stream();
        let rest = futures::stream::once(why).filter_map(|cut| std::future::ready(cut.ok().map(Err)));
        Ok(until_broken(batches.chain(rest)))
    })
    .flat_map(|batches| match batches {
        Ok(batches) => batches
            .flat_map(|batch| match batch {
                Ok(batch) => futures::stream::iter(batch.records.into_iter().map(Ok)).left_stream(),
                Err(error) => futures::stream::iter([Err(error)]).right_stream(),
            })
            .boxed(),
        Err(error) => futures::stream::once(async { Err(error) }).boxed(),
    })
    .boxed()
}

/// The same up to the first error that reading on would only repeat. A record that cannot be understood is none.
fn until_broken<T>(batches: impl Stream<Item = Result<T>>) -> impl Stream<Item = Result<T>> {
    batches.scan(false, |broken, batch| {
        let ended =
            std::mem::replace(broken, batch.as_ref().is_err_and(|error| error.kind() != ErrorKind::Corrupt));
        std::future::ready((!ended).then_some(batch))
    })
}

/// A journal that was removed is not an empty one.
async fn check_kept(ports: &Ports, run: &Run, attempt: AttemptId, dir: &Path) -> Result<()> {
    let has_journals =
        ports.executors.get(&run.spec.executor).is_ok_and(|executor| executor.capabilities().output);
    if !has_journals || !attempt_is_over(run, attempt) || tokio::fs::try_exists(dir).await? {
        return Ok(());
    }
    // An attempt whose program never began may never have had a directory.
    let attempts = ports.store.attempts(run.id).await?;
    if attempts.iter().any(|found| found.id == attempt && found.started_at.is_some()) {
        return Err(Error::new(ErrorKind::NotFound, "what this attempt wrote is not kept any more")
            .with("attempt", attempt));
    }
    Ok(())
}

/// Whether nothing will be appended to the attempt's journals any more.
fn attempt_is_over(run: &Run, attempt: AttemptId) -> bool {
    run.state.is_terminal()
        || run.attempt > attempt.number.get()
        || matches!(run.state, RunState::Queued { .. })
}
