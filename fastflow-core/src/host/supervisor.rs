//! Brings one attempt from its claim to its end: prepare, start, wait, stop, record, remove.
//!
//! A supervisor holds nothing that matters: killed at any instruction, the next host's supervisor for the same
//! attempt begins with [`Executor::reattach`](crate::executor::Executor::reattach) and comes to the same end.
//! The order of its effects makes that so. The attempt is in the store before `start` is asked for; its end is
//! in the store before `remove` is.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::FusedFuture as _};
use tokio::sync::{oneshot, watch};

use super::{
    Ports, backoff::Backoff, daemon, follow_up, health, interrupted, more_memory, notes, program, secrets,
    workspace,
};
use crate::{
    AttemptId, Error, ErrorKind,
    executor::{AttemptRef, AttemptSpec, Ended, Execution, Reattached, Start},
    run::{Decision, ExitReport, Failure, LostCause, Run, RunEvent, RunState, Setup, StopCause},
    store::{Advanced, EventId, Step},
};

/// How much later than the sandbox itself the host ends a program that ran out of time.
const TIMEOUT_BACKSTOP: Duration = Duration::from_secs(5);
/// How often the supervisor itself tries to remove an ended execution.
const MAX_REMOVE_TRIES: u32 = 5;
/// The longest wait for a program that has no time limit; then the wait begins again.
const FOREVER: Duration = Duration::from_hours(365 * 24);

/// The wish that an attempt ends, as its supervisor sees it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Wish {
    /// Let it run.
    #[default]
    Run,
    /// End it, within the pipeline's own grace or this one.
    Stop { grace: Option<Duration> },
}

/// Whether the attempt is new or may have been started by an earlier host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    Claimed,
    TakenOver,
}

/// Another host has the run, or it has ended: nothing of it is this supervisor's business any more.
#[derive(Debug)]
struct LetGo;

pub(super) struct Supervisor {
    ports: Arc<Ports>,
    run: Run,
    attempt: AttemptId,
    wish: watch::Receiver<Wish>,
}

/// What one phase came to.
enum Phase {
    /// It runs, or has ended and can be asked.
    Alive(Box<dyn Execution>, Option<Setup>),
    /// It is over, and this is how.
    Over(RunEvent, Option<Setup>),
}

impl Supervisor {
    pub(super) fn new(ports: Arc<Ports>, run: Run, wish: watch::Receiver<Wish>) -> Result<Self, Error> {
        let attempt = run.attempt_id().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "an open run has no attempt").with("run", run.id)
        })?;
        Ok(Self { ports, run, attempt, wish })
    }

    /// Runs until the attempt has ended and its end is durable, or until it is no longer ours.
    #[tracing::instrument(name = "attempt", skip_all, fields(run = %self.run.id, attempt = self.run.attempt, pipeline = %self.run.pipeline()))]
    pub(super) async fn supervise(mut self, origin: Origin) {
        let outcome = match origin {
            Origin::Claimed => self.launch().await,
            Origin::TakenOver => self.take_over().await,
        };
        let ended = match outcome {
            Ok(Phase::Alive(execution, setup)) => self.see_through(execution, setup, origin).await,
            Ok(Phase::Over(event, setup)) => self.advance(event, setup, None).await.map(drop),
            Err(LetGo) => Err(LetGo),
        };
        if let Err(LetGo) = ended {
            tracing::info!("let go of an attempt that another host or an earlier end owns");
        }
    }

    async fn launch(&mut self) -> Result<Phase, LetGo> {
        let began = self.ports.clock.elapsed();
        let prepared = {
            let prepare = async {
                let workspace = workspace::prepare(&self.ports, &self.run).await?;
                // Last: they are in memory no longer than they must.
                Ok((workspace, secrets::resolve(&self.ports, &self.run).await?))
            };
            let mut wish = self.wish.clone();
            tokio::select! {
                biased;
                () = stop_wished(&mut wish) => {
                    return Ok(Phase::Over(interrupted::never_started(&self.ports, &self.run), None));
                }
                prepared = prepare => prepared,
            }
        };
        let (workspace, given) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                let duration = self.ports.clock.elapsed().saturating_sub(began);
                let setup = Setup { duration, environment: None, image: None, secrets: Vec::new() };
                return Ok(Phase::Over(start_failed(failure), Some(setup)));
            }
        };
        let environment = workspace.environment.as_ref();
        let mut spec =
            AttemptSpec::new(self.attempt, self.ports.owner.clone(), Vec::new(), workspace.run_dir.clone());
        spec.working_dir.clone_from(&workspace.working_dir);
        let place = workspace.place.as_deref();
        let base_env = program::base_env(&self.ports.settings.inherited_env, place);
        let mut spec = program::complete(spec, &self.run, &base_env, environment);
        let secrets = given.hand_over(&mut spec);
        spec.env.extend(workspace.answers.clone());
        spec.masked_files.clone_from(&workspace.answer_files);
        more_memory::raise(&self.ports, &self.run, &mut spec).await;
        let setup = workspace.setup(self.ports.clock.elapsed().saturating_sub(began), secrets);
        // Kept beside the attempt first: a host that takes it over knows what this one made ready.
        workspace.keep(&setup);
        let executor = self.ports.executors.get(&self.run.spec.executor).and_then(|executor| {
            executor.capabilities().check(spec.requirements())?;
            Ok(executor)
        });
        let started = match executor {
            Ok(executor) => executor.start(spec).await,
            Err(error) => {
                return Ok(Phase::Over(start_failed(workspace::start_failure(&error)), Some(setup)));
            }
        };
        match started {
            Ok(Start::Started(execution)) => {
                if self.run.spec.pipeline.definition.warm > 0 {
                    self.ports.signals.use_warm(self.run.pipeline());
                }
                Ok(Phase::Alive(execution, Some(setup)))
            }
            Ok(Start::Failed(failure)) => {
                Ok(Phase::Over(start_failed(Failure::StartFailed(failure)), Some(setup)))
            }
            Err(error) => {
                tracing::warn!(%error, "a start has no answer; finding out what became of it");
                Ok(match self.reattach().await {
                    Reattached::Found(execution) => Phase::Alive(execution, Some(setup)),
                    Reattached::NeverStarted => {
                        Phase::Over(start_failed(workspace::start_failure(&error)), Some(setup))
                    }
                    Reattached::Lost(cause) => Phase::Over(RunEvent::Lost(cause), Some(setup)),
                })
            }
        }
    }

    async fn take_over(&mut self) -> Result<Phase, LetGo> {
        Ok(match self.reattach().await {
            Reattached::Found(execution) => Phase::Alive(execution, self.kept_setup()),
            Reattached::NeverStarted if self.run.state.handle().is_some() => {
                // It did start; what proves it is gone, so its end cannot be known.
                Phase::Over(RunEvent::Lost(LostCause::Removed), None)
            }
            Reattached::NeverStarted => Phase::Over(interrupted::never_started(&self.ports, &self.run), None),
            Reattached::Lost(cause) => Phase::Over(RunEvent::Lost(cause), self.kept_setup()),
        })
    }

    /// What an earlier host made ready for the attempt, where its store does not say so yet.
    fn kept_setup(&self) -> Option<Setup> {
        let recorded = self.run.state.handle().is_some();
        let dir = self.ports.data.attempt_dir(self.run.pipeline(), self.attempt);
        let mut setup = (!recorded).then(|| workspace::kept(&dir)).flatten()?;
        // It lies where the program can write.
        secrets::plausible(&self.run, &mut setup.secrets);
        Some(setup)
    }

    /// Asks until there is an answer: nothing may be assumed of an attempt whose runtime is silent.
    async fn reattach(&self) -> Reattached {
        let attempt = AttemptRef {
            id: self.attempt,
            owner: self.ports.owner.clone(),
            run_dir: self.ports.data.attempt_dir(self.run.pipeline(), self.attempt),
            handle: self.run.state.handle().cloned(),
        };
        let mut backoff = Backoff::new();
        loop {
            let answer = match self.ports.executors.get(&self.run.spec.executor) {
                Ok(executor) => executor.reattach(&attempt).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(found) => return found,
                Err(error) => tracing::warn!(%error, "the executor cannot say what became of an attempt"),
            }
            backoff.wait(&*self.ports.clock).await;
        }
    }

    /// From alive to removed. Recording the start happens beside the waiting, so it delays nothing.
    async fn see_through(
        &mut self,
        execution: Box<dyn Execution>,
        setup: Option<Setup>,
        origin: Origin,
    ) -> Result<(), LetGo> {
        let ended = {
            let recording = self.record_start(&*execution, setup.clone());
            let waiting = self.wait(&*execution, origin);
            tokio::pin!(recording, waiting);
            tokio::select! {
                biased;
                ended = &mut waiting => {
                    recording.await?;
                    ended?
                }
                recorded = &mut recording => {
                    recorded?;
                    waiting.await?
                }
            }
        };
        if self.run.spec.pipeline.definition.daemon.restart_interval.is_some() {
            // One that was to take its place may have been written while the end came.
            self.ports.signals.queued(true);
        }
        let (event, report) = match ended {
            Ended::Exited(report) => {
                (RunEvent::Exited { exit: report.exit, stopped_by: report.stopped_by }, Some(report))
            }
            Ended::NotExecuted(failure) => (start_failed(Failure::StartFailed(failure)), None),
            Ended::Lost(cause) => (RunEvent::Lost(cause), None),
        };
        self.advance(event, None, report).await?;
        let mut backoff = Backoff::new();
        for _ in 0..MAX_REMOVE_TRIES {
            let Err(error) = execution.remove().await else { return Ok(()) };
            tracing::warn!(%error, "an ended execution could not be removed yet");
            backoff.wait(&*self.ports.clock).await;
        }
        // The run has ended and needs its slot no more; the janitor goes on trying.
        Ok(())
    }

    async fn record_start(&self, execution: &dyn Execution, setup: Option<Setup>) -> Result<(), LetGo> {
        if self.run.state.handle().is_some() {
            return Ok(());
        }
        match self.advance(RunEvent::Started(execution.handle().clone()), setup, None).await {
            // It was recorded by a try whose answer was lost.
            Err(LetGo) if self.is_ours().await => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits for the end; meanwhile obeys wishes, watches over its health and, as a backstop for the sandbox, over the
    /// time limit.
    async fn wait(&self, execution: &dyn Execution, origin: Origin) -> Result<Ended, LetGo> {
        let limits = program::limits(&self.run.spec.pipeline.definition);
        let allowed = limits.timeout.map(|timeout| timeout + limits.stop_grace + TIMEOUT_BACKSTOP);
        // From now on, in time that does not jump; the sandbox knows what was used before.
        let deadline = allowed.map(|allowed| self.ports.clock.elapsed().saturating_add(allowed));
        let left =
            || deadline.map_or(FOREVER, |deadline| deadline.saturating_sub(self.ports.clock.elapsed()));
        let replacing = daemon::replace_when_due(&self.ports, &self.run);
        tokio::pin!(replacing);
        let mut wish = self.wish.clone();
        let mut obeyed = Wish::Run;
        let mut stopping = match &self.run.state {
            RunState::Stopping { cause, .. } => {
                self.stop(execution, limits.stop_grace, *cause).await;
                true
            }
            _ => false,
        };
        let (going_on, over) = oneshot::channel();
        let unhealthy = health::watch(&self.ports, &self.run, origin, over).fuse();
        tokio::pin!(unhealthy);
        let mut backoff = Backoff::new();
        let mut silent = false;
        loop {
            tokio::select! {
                // An end counts before a time limit that was reached meanwhile: the sandbox knows better whether it was
                // in time. What cannot be watched keeps nobody from being heard.
                biased;
                () = other_wish(&mut wish, obeyed) => {
                    obeyed = *wish.borrow();
                    // One that is being stopped is told again only to be quicker.
                    let Wish::Stop { grace } = obeyed else { continue };
                    if !stopping || grace.is_some() {
                        stopping = true;
                        self.stop(execution, grace.unwrap_or(limits.stop_grace), StopCause::Cancelled).await;
                    }
                }
                () = &mut replacing, if !stopping => {}
                ended = execution.wait(), if !silent => match ended {
                    Ok(ended) => {
                        drop(going_on);
                        if !unhealthy.is_terminated() {
                            unhealthy.await;
                        }
                        return Ok(ended);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "an execution cannot be watched now");
                        silent = true;
                    }
                },
                () = backoff.wait(&*self.ports.clock), if silent => silent = false,
                () = self.ports.clock.sleep(left()), if !stopping && deadline.is_some() => {
                    stopping = true;
                    self.end(execution, limits.stop_grace, StopCause::TimedOut).await?;
                }
                Some(symptom) = &mut unhealthy, if !stopping => {
                    stopping = true;
                    self.end(execution, limits.stop_grace, StopCause::Unhealthy(symptom)).await?;
                }
            }
        }
    }

    /// Stops it for what this host has found. Durable first: whoever takes it over goes on with the stop.
    async fn end(&self, execution: &dyn Execution, grace: Duration, cause: StopCause) -> Result<(), LetGo> {
        let recorded = self.advance(RunEvent::StopRequested(cause), None, None).await.is_ok();
        if !recorded && !self.is_ours().await {
            return Err(LetGo);
        }
        self.stop(execution, grace, cause).await;
        if let StopCause::Unhealthy(symptom) = cause
            && recorded
        {
            notes::keep(&self.ports, &self.run, Decision::Unhealthy(symptom)).await;
        }
        Ok(())
    }

    async fn stop(&self, execution: &dyn Execution, grace: Duration, cause: StopCause) {
        let mut backoff = Backoff::new();
        while let Err(error) = execution.stop(grace, cause).await {
            tracing::warn!(%error, "a stop could not be delivered yet");
            backoff.wait(&*self.ports.clock).await;
        }
    }

    /// Writes one event, trying again while the store has no room or no time.
    async fn advance(
        &self,
        event: RunEvent,
        setup: Option<Setup>,
        report: Option<ExitReport>,
    ) -> Result<Advanced, LetGo> {
        let mut step = Step::new(self.run.id, Some(self.run.epoch), event, self.ports.clock.now());
        step.follow_ups =
            follow_up::prepare(&self.ports, &self.run, &step.event, report.as_ref(), step.at).await;
        step.setup = setup;
        step.report = report;
        let mut backoff = Backoff::new();
        loop {
            match self.ports.store.advance(step.clone()).await {
                Ok(advanced) => {
                    self.ports.signals.moved(self.run.id, advanced.event);
                    if let Some(environment) =
                        step.setup.as_ref().and_then(|setup| setup.environment.as_ref())
                    {
                        self.ports.signals.use_environment(environment);
                    }
                    for created in &advanced.created {
                        self.ports.signals.created(created, true);
                    }
                    if let RunState::Queued { not_before } = advanced.state {
                        self.ports.signals.queued(not_before > step.at);
                    }
                    return Ok(advanced);
                }
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    // An earlier try may have been written and its answer lost: whoever waits looks for himself.
                    self.ports.signals.moved(self.run.id, EventId::default());
                    self.ports.signals.queued(true);
                    tracing::info!(%error, event = step.event.name(), "an event came too late");
                    return Err(LetGo);
                }
                Err(error) => {
                    tracing::error!(%error, event = step.event.name(), "the store takes no events now");
                }
            }
            backoff.wait(&*self.ports.clock).await;
        }
    }

    /// Whether a refused event was only too late: a cancel that came first, say.
    async fn is_ours(&self) -> bool {
        let mut backoff = Backoff::new();
        loop {
            match self.ports.store.run(self.run.id).await {
                Ok(now) => return now.epoch == self.run.epoch && !now.state.is_terminal(),
                Err(error) if error.kind() == ErrorKind::NotFound => return false,
                Err(error) => tracing::warn!(%error, "the store cannot be read now"),
            }
            backoff.wait(&*self.ports.clock).await;
        }
    }
}

fn start_failed(failure: Failure) -> RunEvent {
    RunEvent::StartFailed { transient: workspace::is_transient(&failure), failure }
}

async fn stop_wished(wish: &mut watch::Receiver<Wish>) {
    other_wish(wish, Wish::Run).await;
}

/// Waits until something else is wished than `known`.
async fn other_wish(wish: &mut watch::Receiver<Wish>, known: Wish) {
    // The sender lives as long as the supervisor: an error means that nobody can wish any more.
    if wish.wait_for(|wish| *wish != known).await.is_err() {
        std::future::pending::<()>().await;
    }
}
