//! Brings hosts to life and to death, until everything has come to rest.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use super::{
    callers,
    executor::SimExecutor,
    host::{Host, Life, sleep},
    plan::{EXECUTOR, Mishap},
    source::{NoEnvironments, SimSource},
    stage::Stage,
    store::SimStore,
};
use crate::{
    Clock as _, Result,
    code::CodeShelf,
    host::{
        Blackouts, Executors, Ports, Preheat, Retention, Settings,
        dispatcher::{COMMANDS, Dispatcher},
        environments::EnvironmentWork,
        follow_up::Joins,
        intake::Specs,
        scheduler,
        signal::Signals,
        source_events::SourceEvents,
        sync::{self, Syncs},
    },
    layout::DataDir,
    run::Run,
    secret::{SealedSecrets, SecretVariables},
    source::{SyncRequest, SyncTrigger},
    store::EventId,
};

/// The longest time without a host.
const LONGEST_OUTAGE: Duration = Duration::from_secs(20);
/// So long after the last mishap, everything must have come to rest. Most of it is clocks that were set back.
const PATIENCE: Duration = Duration::from_hours(4);
/// How long schedules are looked at in the calm. No clock was set back by more.
const WATCH: Duration = Duration::from_mins(3);
/// How late the row of an instant may be then.
const LATEST_ROW: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_secs(5);

/// A host with the tasks that are in its process.
#[derive(Debug)]
pub(super) struct Living {
    pub(super) host: Arc<Host>,
    pub(super) ports: Arc<Ports>,
    pub(super) tasks: Mutex<JoinSet<()>>,
    main: JoinHandle<()>,
}

/// Who is to be called now.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) stage: Arc<Stage>,
    active: Mutex<Option<Arc<Living>>>,
}

/// The one that kills.
struct Driver {
    board: Arc<Board>,
    /// Hosts that are not called any more, and know nothing of it.
    zombies: Vec<Arc<Living>>,
    hosts: u32,
    /// How far the machine's wall clock is off.
    offset: i64,
    pending: VecDeque<(Duration, Pending)>,
}

/// What is to happen later.
enum Pending {
    Mishap(Mishap),
    Boot,
    Wake(Arc<Living>),
    Kill(Arc<Living>),
}

impl Living {
    fn boot(stage: &Arc<Stage>, number: u32, offset: i64) -> Self {
        let host = Arc::new(Host::new(Arc::clone(stage), number, offset));
        let executor: Arc<dyn crate::executor::Executor> = Arc::new(SimExecutor(Arc::clone(&host)));
        let name: crate::ExecutorName = EXECUTOR.parse().unwrap();
        let store: Arc<dyn crate::store::Store> = Arc::new(SimStore(Arc::clone(&host)));
        let owner: crate::OwnerId = "simulation".parse().unwrap();
        // No pipeline of a plan names secrets.
        let sealed = SealedSecrets {
            store: Arc::clone(&store),
            keyring: Arc::default(),
            instance: owner.clone(),
            clock: Arc::clone(&host) as Arc<dyn crate::Clock>,
            entropy: Arc::clone(stage) as Arc<dyn crate::Entropy>,
        };
        let ports = Arc::new(Ports {
            store,
            source: Arc::new(SimSource(Arc::clone(stage))),
            code: CodeShelf::new(DataDir::new("/simulated").code_dir()),
            executors: Executors { default: name.clone(), by_name: BTreeMap::from([(name, executor)]) },
            environments: Arc::new(NoEnvironments),
            auditor: Arc::new(NoEnvironments),
            secrets: Arc::new(sealed.clone()),
            sealed,
            clock: Arc::clone(&host) as Arc<dyn crate::Clock>,
            entropy: Arc::clone(stage) as Arc<dyn crate::Entropy>,
            data: DataDir::new("/simulated"),
            owner,
            settings: Settings {
                hosting: crate::Hosting::Required,
                max_concurrent_runs: stage.plan.slots,
                capacity: stage.plan.capacity.clone(),
                blackouts: Blackouts::default(),
                retention: Retention::default(),
                audits: crate::AuditPolicy::default(),
                sync_interval: None,
                // It starts only the tasks that it looks at.
                preheat: Preheat::Off,
                inherited_env: BTreeMap::new(),
                secret_variables: SecretVariables::default(),
            },
            signals: Signals::new(EventId::default()),
            specs: Specs::default(),
            joins: Joins::default(),
            syncs: Syncs::default(),
            source_events: SourceEvents::default(),
            environment_work: EnvironmentWork::default(),
        });
        // While the sender lives, the dispatcher has a facade.
        let (facade, received) = mpsc::channel(COMMANDS);
        let (mine, life) = (Arc::clone(&ports), Arc::clone(&host));
        let main = tokio::spawn(async move {
            let _facade = facade;
            match begin(&mine).await {
                Ok(open) => {
                    let mut scheduler = JoinSet::new();
                    scheduler.spawn(scheduler::run(Arc::clone(&mine)));
                    Dispatcher::new(mine, received).run(open).await;
                }
                // A host that cannot start ends, and is started again.
                Err(_) => life.set(Life::Dead),
            }
        });
        Self { host, ports, tasks: Mutex::default(), main }
    }

    /// At once, wherever it stands.
    fn kill(&self) {
        self.host.set(Life::Dead);
        self.main.abort();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Does something in the host's process.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(work);
    }
}

/// What the facade does when it starts, and gives back what an earlier host left open.
async fn begin(ports: &Ports) -> Result<Vec<Run>> {
    sync(ports).await?;
    ports.signals.work(true);
    ports.store.take_over().await
}

/// What the facade does to read the pipelines anew.
pub(super) async fn sync(ports: &Ports) -> Result<()> {
    sync::work(ports, &SyncRequest::default(), SyncTrigger::Call).await.map(drop)
}

impl Board {
    pub(super) fn active(&self) -> Option<Arc<Living>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, active: Option<Arc<Living>>) -> Option<Arc<Living>> {
        std::mem::replace(&mut *self.active.lock().unwrap_or_else(PoisonError::into_inner), active)
    }
}

/// Simulates until the end, or until a promise is broken.
pub(super) async fn drive(stage: &Arc<Stage>) {
    let board = Arc::new(Board { stage: Arc::clone(stage), active: Mutex::new(None) });
    let mut driver = Driver { board, zombies: Vec::new(), hosts: 0, offset: 0, pending: VecDeque::new() };
    driver.at(Duration::ZERO, Pending::Boot);
    for (at, mishap) in stage.plan.mishaps.clone() {
        driver.at(at, Pending::Mishap(mishap));
    }
    callers::call(&driver.board);
    driver.storm().await;
    if stage.violation().is_none() {
        driver.calm().await;
    }
    if stage.violation().is_none()
        && let Some(found) = super::judge::judge(stage)
    {
        stage.violate(found);
    }
}

impl Driver {
    fn stage(&self) -> &Arc<Stage> {
        &self.board.stage
    }

    fn at(&mut self, at: Duration, what: Pending) {
        let later = self.pending.iter().position(|(other, _)| *other > at).unwrap_or(self.pending.len());
        self.pending.insert(later, (at, what));
    }

    async fn storm(&mut self) {
        let stage = Arc::clone(self.stage());
        while stage.now() < stage.plan.storm && stage.violation().is_none() {
            let next = self.pending.front().map_or(stage.plan.storm, |(at, _)| *at).min(stage.plan.storm);
            tokio::select! {
                biased;
                () = stage.deaths.notified() => self.bury(),
                () = sleep(next.saturating_sub(stage.now())) => {
                    while self.pending.front().is_some_and(|(at, _)| *at <= stage.now()) {
                        if let Some((_, what)) = self.pending.pop_front() {
                            self.happens(what);
                        }
                    }
                }
            }
        }
    }

    fn happens(&mut self, what: Pending) {
        let now = self.stage().now();
        match what {
            Pending::Boot => self.boot(),
            Pending::Kill(living) => living.kill(),
            Pending::Wake(living) => {
                self.stage().trace(living.host.number, "host", "wakes up");
                living.host.set(Life::Awake);
                if self.zombies.iter().any(|zombie| Arc::ptr_eq(zombie, &living)) {
                    // Sooner or later it finds out that it has lost the store.
                    let left = self.stage().inner().dice.below_time(Duration::from_mins(1));
                    self.at(now + left, Pending::Kill(living));
                }
            }
            Pending::Mishap(Mishap::Jump { by }) => {
                self.offset += by;
                self.board.active().iter().chain(&self.zombies).for_each(|living| living.host.jump(by));
            }
            Pending::Mishap(Mishap::Edit) => {
                self.stage().edit();
                if let Some(living) = self.board.active() {
                    let ports = Arc::clone(&living.ports);
                    // Whoever is not heard now is read when the next host starts.
                    living.spawn(async move { drop(sync(&ports).await) });
                }
            }
            Pending::Mishap(Mishap::Kill) => self.board.active().iter().for_each(|living| living.kill()),
            Pending::Mishap(Mishap::Pause { pause, replaced }) => {
                let Some(living) = self.board.active() else { return };
                self.stage().trace(living.host.number, "host", "stands still");
                living.host.set(Life::Paused);
                if replaced {
                    self.board.set(None);
                    self.zombies.push(Arc::clone(&living));
                    // What it takes on from now on, nobody else knows of before the next host starts.
                    self.stage().astray.store(true, Ordering::Relaxed);
                    self.at(now, Pending::Boot);
                }
                self.at(now + pause, Pending::Wake(living));
            }
        }
    }

    fn boot(&mut self) {
        if self.board.active().is_some() {
            return;
        }
        self.hosts += 1;
        self.stage().trace(self.hosts, "host", "starts");
        let living = Living::boot(self.stage(), self.hosts, self.offset);
        self.board.set(Some(Arc::new(living)));
    }

    /// Takes away the dead, and sees to it that another host starts.
    fn bury(&mut self) {
        self.zombies.retain(|living| {
            let dead = living.host.life() == Life::Dead;
            if dead {
                living.kill();
            }
            !dead
        });
        if self.bury_active() {
            let outage = self.stage().inner().dice.below_time(LONGEST_OUTAGE);
            self.at(self.stage().now() + outage, Pending::Boot);
        }
    }

    /// Whether the host that is called was dead, and is not called any more.
    fn bury_active(&self) -> bool {
        let dead = self.board.active().filter(|living| living.host.life() == Life::Dead);
        if let Some(living) = &dead {
            living.kill();
            self.board.set(None);
        }
        dead.is_some()
    }

    /// Whether the host that there is has taken away all schedules, after their ledgers were complete.
    async fn take_schedules_away(&self) -> bool {
        let Some(living) = self.board.active() else { return false };
        let overdue = living.host.now().saturating_sub(LATEST_ROW).ok().and_then(|now| {
            let due = self.stage().store.transact(|world| Ok(world.due_schedules(now, NonZeroU32::MIN)));
            due.ok()?.pop()
        });
        if let Some(due) = overdue {
            self.stage().violate(format!("P2: a schedule stands still: {:?}", due.record));
        }
        self.stage().end_schedules();
        sync(&living.ports).await.is_ok()
    }

    /// Nothing goes wrong any more: everything must come to rest.
    async fn calm(&mut self) {
        let stage = Arc::clone(self.stage());
        stage.calm();
        self.pending.clear();
        for zombie in self.zombies.drain(..) {
            zombie.kill();
        }
        if let Some(living) = self.board.active() {
            living.host.set(Life::Awake);
            if stage.astray.load(Ordering::Relaxed) {
                living.kill();
            }
        }
        let begun = stage.now();
        // Schedules have no end. They are looked at for a while, and then taken away.
        let mut scheduled = true;
        loop {
            // One that was told so in the storm may find out only now that it cannot start.
            self.bury_active();
            self.boot();
            if self.board.active().is_some_and(|living| living.main.is_finished()) {
                stage.violate("a host ended by itself".into());
            }
            if scheduled && stage.now() > begun + WATCH {
                scheduled = !self.take_schedules_away().await;
            }
            let left = callers::unfinished(&stage);
            if stage.violation().is_some() || (left.is_empty() && !scheduled) {
                return;
            }
            if stage.now() > begun + PATIENCE {
                stage.violate(format!("it never comes to rest: {left:?}"));
                return;
            }
            sleep(LOOK).await;
        }
    }
}
