//! Claims runs while slots are free, and owns one supervisor a run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{Id, JoinError, JoinSet},
};

use super::{
    Ports,
    backoff::Backoff,
    daemon,
    supervisor::{Origin, Supervisor, Wish},
};
use crate::{
    Clock, ErrorKind, ExecutorName, Result, RunId, Timestamp,
    executor::{Executor, Health},
    run::{Run, RunEvent, StopCause},
    store::{Claim, EventId, Step},
};

/// The most runs claimed in one transaction.
const MAX_CLAIM: u32 = 256;
/// The longest sleep without a look at the store, in case the wall clock jumps.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// The least time between two questions to an executor that is down.
const SHORTEST_PROBE_PAUSE: Duration = Duration::from_millis(100);
/// How often a supervisor that panicked is replaced before its run is left to the next start.
const MAX_PANICS: u32 = 5;
/// Beyond the grace, how long a drain waits for stopped programs before it lets go of them.
const STOP_MARGIN: Duration = Duration::from_secs(15);
/// How many commands may wait for the dispatcher.
pub(crate) const COMMANDS: usize = 1024;

/// What other tasks ask of the dispatcher.
#[derive(Debug)]
pub(crate) enum Command {
    /// Claim no more, and end.
    Shutdown { how: Shutdown, done: oneshot::Sender<()> },
}

/// What a shutdown does with runs in flight. Queued runs stay queued for the next start.
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::Shutdown;
///
/// let patient = Shutdown::Drain { patience: Duration::from_secs(60), grace: Duration::from_secs(10) };
/// assert!(matches!(patient, Shutdown::Drain { .. }));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// Waits for them, then cancels what is left.
    Drain {
        /// How long to wait for them to end by themselves.
        patience: Duration,
        /// The time between asking the programs that are left to end and killing them.
        grace: Duration,
    },
    /// Lets them run on; the next start takes hold of them again.
    Detach,
}

pub(crate) struct Dispatcher {
    ports: Arc<Ports>,
    commands: mpsc::Receiver<Command>,
    supervisors: JoinSet<()>,
    running: BTreeMap<RunId, Running>,
    tasks: HashMap<Id, RunId>,
    /// Questions to executors that are down, whether they are back: one at a time for each.
    questions: JoinSet<()>,
    asked: HashMap<Id, ExecutorName>,
    /// The latest instant at which runs were claimed.
    latest: Timestamp,
    /// A claim had no answer, and may have taken runs on that nobody looks after.
    unsure: bool,
}

struct Running {
    /// Its supervisor. An earlier one may still be at work for the run: its attempt has ended, its sandbox not yet.
    task: Id,
    wish: watch::Sender<Wish>,
    panics: u32,
}

impl Dispatcher {
    pub(crate) fn new(ports: Arc<Ports>, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            ports,
            commands,
            supervisors: JoinSet::new(),
            running: BTreeMap::new(),
            tasks: HashMap::new(),
            questions: JoinSet::new(),
            asked: HashMap::new(),
            latest: Timestamp::UNIX_EPOCH,
            unsure: false,
        }
    }

    /// Runs until a shutdown command. `open` are the runs that an earlier host left.
    pub(crate) async fn run(mut self, open: Vec<Run>) {
        for run in open {
            self.supervise(run, Origin::TakenOver, 0);
        }
        let mut due = None;
        let mut backoff = Backoff::new();
        loop {
            match self.claim(&mut due).await {
                Ok(()) => backoff = Backoff::new(),
                Err(error) => {
                    tracing::error!(%error, "the store gives no runs now");
                    backoff.wait(&*self.ports.clock).await;
                    self.ports.signals.queued(true);
                }
            }
            let pause = self.pause(due);
            let ports = Arc::clone(&self.ports);
            tokio::select! {
                // In this order, so that the same events lead to the same steps. Commands starve nobody: those that
                // have ended are heard after each of them.
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { how, done }) => return self.shut_down(how, done).await,
                    // The facade is gone: what runs goes on without us, as after a crash.
                    None => return,
                },
                Some(ended) = self.supervisors.join_next_with_id() => self.ended(ended).await,
                Some(answered) = self.questions.join_next_with_id() => self.answered(&answered),
                () = ports.signals.queue() => {}
                () = ports.signals.stops() => self.carry_out_stops(),
                () = ports.clock.sleep(pause) => {}
            }
            // Many end while a claim is committed; one claim then fills all of their slots.
            while let Some(ended) = self.supervisors.try_join_next_with_id() {
                self.ended(ended).await;
            }
            while let Some(answered) = self.questions.try_join_next_with_id() {
                self.answered(&answered);
            }
        }
    }

    /// Fills the free slots. `due` is kept as the instant at which the next waiting run becomes due.
    async fn claim(&mut self, due: &mut Option<Timestamp>) -> Result<()> {
        if self.unsure {
            self.begin_anew().await?;
        }
        // Runs wait in the queue for an executor that is down; those of the others go past them.
        let without = self.down();
        loop {
            let Some(wanted) = NonZeroU32::new(self.free().min(MAX_CLAIM)) else { return Ok(()) };
            // A wall clock that is set back must not make due runs wait for it.
            self.latest = self.latest.max(self.ports.clock.now());
            let now = self.latest;
            let mut claim = Claim::new(now, wanted);
            claim.without.clone_from(&without);
            claim.capacity.clone_from(&self.ports.settings.capacity);
            let runs = match self.ports.store.claim(claim).await {
                Ok(runs) => runs,
                Err(error) => {
                    // Where there is no room, nothing was written; of anything else nobody knows.
                    self.unsure |= error.kind() != ErrorKind::StorageFull;
                    return Err(error);
                }
            };
            let last = runs.len() < wanted.get() as usize;
            let claimed: Vec<RunId> = runs.iter().map(|run| run.id).collect();
            for run in runs {
                self.supervise(run, Origin::Claimed, 0);
            }
            self.announce(&claimed).await?;
            if last {
                if self.ports.signals.take_later() || due.is_some_and(|due| due <= now) {
                    *due = self.ports.store.next_due(now).await?;
                }
                return Ok(());
            }
        }
    }

    /// Takes every open run over, those of its own as well, as the next host would: so it knows again what it has.
    async fn begin_anew(&mut self) -> Result<()> {
        let open = self.ports.store.take_over().await?;
        tracing::warn!(runs = open.len(), "a claim had no answer; taking hold of all open runs again");
        self.supervisors.shutdown().await;
        self.running.clear();
        self.tasks.clear();
        for run in open {
            self.supervise(run, Origin::TakenOver, 0);
        }
        self.unsure = false;
        Ok(())
    }

    /// The executors that are down. Sees to it that each is asked whether it is back.
    fn down(&mut self) -> BTreeSet<ExecutorName> {
        let mut down = BTreeSet::new();
        for (name, executor) in &self.ports.executors.by_name {
            let Health::Down { retry_at, .. } = executor.health() else { continue };
            down.insert(name.clone());
            if !self.asked.values().any(|asked| asked == name) {
                let question = ask(Arc::clone(executor), Arc::clone(&self.ports.clock), retry_at);
                self.asked.insert(self.questions.spawn(question).id(), name.clone());
            }
        }
        down
    }

    fn free(&self) -> u32 {
        let taken = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        self.ports.settings.max_concurrent_runs.get().saturating_sub(taken)
    }

    /// Tells waiters, and those who follow the event sequence, that runs were claimed.
    async fn announce(&self, claimed: &[RunId]) -> Result<()> {
        let watched = !claimed.is_empty() && self.ports.signals.is_followed();
        let end = if watched { self.ports.store.last_event().await? } else { EventId::default() };
        for run in claimed {
            self.ports.signals.moved(*run, end);
        }
        Ok(())
    }

    fn pause(&self, due: Option<Timestamp>) -> Duration {
        // Without a free slot there is nothing to do before a supervisor ends, and that wakes by itself.
        let Some(due) = due.filter(|_| self.free() > 0) else { return LONGEST_SLEEP };
        Duration::try_from(due.duration_since(self.ports.clock.now())).unwrap_or_default().min(LONGEST_SLEEP)
    }

    fn supervise(&mut self, run: Run, origin: Origin, panics: u32) {
        let (id, (wish, wished)) = (run.id, watch::channel(Wish::Run));
        match Supervisor::new(Arc::clone(&self.ports), run, wished) {
            Ok(supervisor) => {
                let task = self.supervisors.spawn(supervisor.supervise(origin)).id();
                self.tasks.insert(task, id);
                self.running.insert(id, Running { task, wish, panics });
            }
            Err(error) => tracing::error!(run = %id, %error, "an open run cannot be supervised"),
        }
    }

    fn carry_out_stops(&self) {
        for run in self.ports.signals.take_stops() {
            self.wish(run, Wish::Stop { grace: None });
        }
    }

    fn wish(&self, run: RunId, wish: Wish) {
        if let Some(running) = self.running.get(&run) {
            running.wish.send_replace(wish);
        }
    }

    async fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (task, panicked) = match &ended {
            Ok((task, ())) => (*task, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(run) = self.tasks.remove(&task) else { return };
        if self.running.get(&run).is_none_or(|running| running.task != task) {
            return;
        }
        let Some(running) = self.running.remove(&run) else { return };
        let Some(error) = panicked.filter(|error| error.is_panic()) else { return };
        tracing::error!(%run, %error, "a supervisor panicked; this is a bug");
        if running.panics >= MAX_PANICS {
            tracing::error!(%run, "left to the next start");
            return;
        }
        match self.ports.store.run(run).await {
            Ok(open) if !open.state.is_terminal() && open.state.name() != "queued" => {
                self.supervise(open, Origin::TakenOver, running.panics + 1);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%run, %error, "left to the next start"),
        }
    }

    fn answered(&mut self, answered: &Result<(Id, ()), JoinError>) {
        let question = match answered {
            Ok((question, ())) => *question,
            Err(error) => error.id(),
        };
        let executor = self.asked.remove(&question);
        if let (Some(executor), Err(error)) = (executor, answered) {
            tracing::error!(%executor, %error, "an executor panicked when it was asked; this is a bug");
        }
    }

    /// A shutdown that comes while another one waits takes its place: a detach lets go of what is left, and a
    /// drain stops it now. All of them are answered at the end.
    async fn shut_down(&mut self, mut how: Shutdown, done: oneshot::Sender<()>) {
        let mut asked = vec![done];
        if let Shutdown::Drain { patience, .. } = how {
            how = self.wait_for_supervisors(patience, &mut asked).await.unwrap_or(how);
        }
        if let Shutdown::Drain { grace, .. } = how {
            self.stop_all(grace).await;
            // Whoever is in a greater hurry loses nothing: the stops are in the store and with the programs.
            self.wait_for_supervisors(grace.saturating_add(STOP_MARGIN), &mut asked).await;
        }
        self.supervisors.shutdown().await;
        for done in asked {
            // Nobody may be waiting any more.
            let _ = done.send(());
        }
    }

    async fn stop_all(&mut self, grace: Duration) {
        let left: Vec<RunId> = self.running.keys().copied().collect();
        for run in left {
            if self.hand_on(run).await {
                self.wish(run, Wish::Stop { grace: Some(grace) });
                continue;
            }
            let event = RunEvent::StopRequested(StopCause::Cancelled);
            match self.ports.store.advance(Step::new(run, None, event, self.ports.clock.now())).await {
                Ok(advanced) => self.ports.signals.moved(run, advanced.event),
                // It is being stopped already; perhaps not as soon.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => {
                    tracing::warn!(%run, %error, "a stop could not be recorded; the program runs on");
                    continue;
                }
            }
            self.wish(run, Wish::Stop { grace: Some(grace) });
        }
    }

    /// Stops a daemon so that it goes on once there is a host again.
    async fn hand_on(&self, run: RunId) -> bool {
        let Some(new) = daemon::after_shutdown(&self.ports, run).await else { return false };
        match self.ports.store.create_run(new).await {
            Ok(created) => {
                self.ports.signals.created(&created, false);
                true
            }
            // It ends by itself, and is followed as it says.
            Err(error) if error.kind() == ErrorKind::Conflict => false,
            Err(error) => {
                tracing::warn!(%run, %error, "a daemon is stopped, and no other run will go on with it");
                false
            }
        }
    }

    /// Waits until all have ended, or long enough, or for another shutdown.
    async fn wait_for_supervisors(
        &mut self,
        patience: Duration,
        asked: &mut Vec<oneshot::Sender<()>>,
    ) -> Option<Shutdown> {
        let ports = Arc::clone(&self.ports);
        let enough = ports.clock.sleep(patience);
        tokio::pin!(enough);
        loop {
            tokio::select! {
                biased;
                ended = self.supervisors.join_next_with_id() => self.ended(ended?).await,
                () = ports.signals.stops() => self.carry_out_stops(),
                command = self.commands.recv() => match command? {
                    Command::Shutdown { how, done } => {
                        asked.push(done);
                        return Some(how);
                    }
                },
                () = &mut enough => return None,
            }
        }
    }
}

/// Asks an executor that is down whether it is back, when it may be asked. What comes of it is in its health.
async fn ask(executor: Arc<dyn Executor>, clock: Arc<dyn Clock>, retry_at: Timestamp) {
    let left = Duration::try_from(retry_at.duration_since(clock.now())).unwrap_or_default();
    clock.sleep(left.clamp(SHORTEST_PROBE_PAUSE, LONGEST_SLEEP)).await;
    // Others may have asked meanwhile, and had an answer or none.
    let is_time = matches!(executor.health(), Health::Down { retry_at, .. } if retry_at <= clock.now());
    if is_time && let Err(error) = executor.probe().await {
        tracing::debug!(executor = executor.kind(), %error, "the executor is still down");
    }
}
