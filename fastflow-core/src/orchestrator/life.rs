//! The life of an orchestrator: started, perhaps as one that waits to host, and shut down.

use std::{
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinHandle},
};

use super::{Inner, Orchestrator, other_source::OtherSource};
use crate::{
    Error, ErrorKind, HostInfo, Hosting, Result, RunId, Shutdown, Timestamp,
    host::{
        Ports,
        backoff::Backoff,
        dispatcher::{COMMANDS, Command, Dispatcher},
        elsewhere, janitor, packages as recorder, preheat, scheduler, sync, warmer,
    },
    hosting::HostPlace,
};

/// Between two tries to become the host, and up to a tenth more.
const ELECTION_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) enum HostState {
    Idle,
    /// It was started, and another one hosts. What it shows follows what that publishes.
    Standby {
        _follower: Task,
        /// Where none is to be elected, who would look again.
        _other_source: Option<OtherSource>,
    },
    Running(Host),
    Closed,
}

/// The tasks of an orchestrator that hosts; dropping it ends them and stops no program.
#[derive(Debug)]
pub(super) struct Host {
    commands: mpsc::Sender<Command>,
    since: Timestamp,
    _tasks: Vec<Task>,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task that tries to become the host. It changes the state of its orchestrator, so it is ended from outside of that.
#[derive(Debug, Default)]
pub(super) struct Election(Mutex<Campaign>);

#[derive(Debug, Default)]
enum Campaign {
    #[default]
    NotBegun,
    Begun(AbortHandle),
    /// For good: a start that is still under way must not begin one.
    Ended,
}

impl Election {
    pub(super) fn end(&self) {
        let campaign = std::mem::replace(&mut *self.campaign(), Campaign::Ended);
        if let Campaign::Begun(task) = campaign {
            task.abort();
        }
    }

    fn begin(&self, inner: Weak<Inner>, other_source: OtherSource) {
        let mut campaign = self.campaign();
        if matches!(*campaign, Campaign::NotBegun) {
            *campaign = Campaign::Begun(tokio::spawn(elect(inner, other_source)).abort_handle());
        }
    }

    fn campaign(&self) -> MutexGuard<'_, Campaign> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orchestrator {
    /// Reads the pipelines, takes over what an earlier process left, and begins to run what is queued.
    ///
    /// With [`Hosting::WhenFree`] it does so at once where no other process hosts, and otherwise as soon as none does any
    /// more, mostly within half a second of its end; until then, and for ever with [`Hosting::Never`], it submits and reads.
    ///
    /// # Errors
    ///
    /// `Conflict` when it was started or shut down before; `Invalid` when an open run needs an executor that is
    /// not registered, or a stored secret a master key that is not there; else by the source's and the store's word. After an error it can be called again.
    /// What keeps it from hosting later, when its turn comes, is logged and tried again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it not started.
    pub async fn start(&self) -> Result<()> {
        let mut state = self.inner.state.lock().await;
        if !matches!(*state, HostState::Idle) {
            return Err(Error::new(ErrorKind::Conflict, "an orchestrator is started once"));
        }
        let ports = &self.inner.ports;
        let hosts = match ports.settings.hosting {
            Hosting::Never => false,
            Hosting::WhenFree => is_free(ports).await?,
            Hosting::Required => {
                ports.store.host(ports.source.origin().as_deref()).await?;
                true
            }
        };
        if hosts {
            *state = HostState::Running(begin(ports).await?);
            return Ok(());
        }
        let mut other_source = OtherSource::default();
        other_source.look(ports).await;
        let kept = if ports.settings.hosting == Hosting::WhenFree {
            self.inner.election.begin(Arc::downgrade(&self.inner), other_source);
            None
        } else {
            Some(other_source)
        };
        let follower = Task::spawn(elsewhere::follow(Arc::clone(ports)));
        *state = HostState::Standby { _follower: follower, _other_source: kept };
        Ok(())
    }

    /// Ends the host's work as `how` says, then closes the store. Other clones can do nothing after it: who waits
    /// for a run, or reads events or a live log, gets `Unavailable` and can resume with the next orchestrator.
    /// One that does not host only closes the store, and disturbs no other process.
    ///
    /// A second call while a drain waits takes its place: [`Detach`](Shutdown::Detach) lets go at once and stops
    /// nothing more, another drain stops what is left now.
    ///
    /// # Errors
    ///
    /// By the store's word when its last writes fail.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future during a drain leaves the drain running; calling again hastens it.
    pub async fn shutdown(&self, how: Shutdown) -> Result<()> {
        // It may be about to host, and would not be heard before it does.
        self.inner.election.end();
        let commands = match &*self.inner.state.lock().await {
            HostState::Running(host) => Some(host.commands.clone()),
            _ => None,
        };
        if let Some(commands) = commands {
            let (done, ended) = oneshot::channel();
            if commands.send(Command::Shutdown { how, done }).await.is_ok() {
                // An error means that the dispatcher is gone already, which is what we want.
                let _ = ended.await;
            }
        }
        // Held until the store is closed: a second caller returns when there is nothing left to wait for.
        let mut state = self.inner.state.lock().await;
        let host = std::mem::replace(&mut *state, HostState::Closed);
        if !matches!(host, HostState::Closed) {
            drop(host);
            self.inner.ports.syncs.close().await;
            let closed = self.inner.ports.store.close().await;
            // Nothing moves here any more: who waits is told by the store.
            self.inner.ports.signals.closed();
            return closed;
        }
        Ok(())
    }

    /// Who hosts the data directory now: this orchestrator, another one, or nobody.
    ///
    /// # Errors
    ///
    /// `Unavailable` when that cannot be found out now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it changes nothing.
    pub async fn host(&self) -> Result<Option<HostInfo>> {
        if let Some(host) = self.inner.ports.store.hosted_by().await? {
            return Ok(Some(host));
        }
        // A store that only one orchestrator has at a time does not know.
        Ok(match &*self.inner.state.lock().await {
            HostState::Running(host) => {
                let info = HostInfo::new(std::process::id(), host.since, HostPlace::Here);
                Some(info.of_source(self.source_origin()))
            }
            _ => None,
        })
    }

    /// The files whose locks a child of this process shares with it when it is forked without executing another program.
    /// As long as the child has them open, no other process can take this one's place after its death. So it must
    /// open something else in their places, such as `/dev/null` by `dup2`. Closing them or unlocking them is wrong: their
    /// numbers would be free for other files, and to unlock them would unlock those of this process.
    ///
    /// This lets the locks of the parent go, and is not for going on in the child. A child that was forked while any
    /// orchestrator was open must open none, of no data directory, before it has executed another program: it has
    /// inherited SQLite's own account of the locks that its parent holds, would write without any, and damage the
    /// database. Building one there is refused with `Unsupported`, as far as it can be known: a store of your own has to
    /// see to that itself.
    ///
    /// They stay the same as long as this lives. A child that executes another program at once has none of them open.
    pub fn inherited_locks(&self) -> Vec<BorrowedFd<'_>> {
        self.inner.ports.store.inherited_locks()
    }

    /// Refuses what only the host may do.
    pub(super) async fn check_hosts(&self) -> Result<()> {
        let ports = &self.inner.ports;
        if ports.settings.hosting == Hosting::Required || ports.signals.is_at_work() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Conflict, "only the process that hosts syncs the source");
        Err(match ports.store.hosted_by().await? {
            Some(host) => error.with("pid", host.pid).with("since", host.since),
            None => error.with("help", "no process hosts now"),
        })
    }
}

/// Whether it hosts from now on.
async fn is_free(ports: &Ports) -> Result<bool> {
    match ports.store.try_host(ports.source.origin().as_deref()).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a host does at its start, and the tasks that do the rest.
async fn begin(ports: &Arc<Ports>) -> Result<Host> {
    let begun = work(ports).await;
    if begun.is_err() {
        ports.signals.work(false);
        if ports.settings.hosting == Hosting::WhenFree
            && let Err(error) = ports.store.step_down().await
        {
            tracing::warn!(%error, "another process cannot host yet");
        }
    }
    begun
}

async fn work(ports: &Arc<Ports>) -> Result<Host> {
    sync::at_start(ports).await?;
    ports.sealed.check_keys().await?;
    // Before it is read what is to be stopped: what is written after that is told.
    ports.signals.work(true);
    let open = ports.store.take_over().await?;
    for run in &open {
        ports.executors.get(&run.spec.executor).map_err(|error| {
            // Without a way out that needs no host, one such run would lock everybody out.
            error
                .with("open_run", run.id)
                .with("help", "register this executor, or cancel the run from a process that does not host")
        })?;
    }
    for (name, executor) in &ports.executors.by_name {
        // One that cannot be reached now may be back when it is needed; its runs wait for it.
        if let Err(error) = executor.probe().await {
            tracing::warn!(executor = %name, %error, "an executor cannot be used now");
        }
    }
    ports.signals.moved(RunId::from_bytes([0; 16]), ports.store.last_event().await?);
    let (commands, received) = mpsc::channel(COMMANDS);
    let dispatcher = Dispatcher::new(Arc::clone(ports), received);
    let since = ports.clock.now();
    let tasks = vec![
        Task::spawn(dispatcher.run(open)),
        Task::spawn(janitor::run(Arc::clone(ports))),
        Task::spawn(preheat::run(Arc::clone(ports))),
        Task::spawn(warmer::run(Arc::clone(ports))),
        Task::spawn(scheduler::run(Arc::clone(ports))),
        Task::spawn(sync::run(Arc::clone(ports))),
        Task::spawn(recorder::run(Arc::clone(ports))),
    ];
    Ok(Host { commands, since, _tasks: tasks })
}

/// Becomes the host as soon as nobody else is, and ends then, or with the orchestrator.
async fn elect(inner: Weak<Inner>, mut other_source: OtherSource) {
    let mut backoff = Backoff::new();
    loop {
        let Some(ports) = inner.upgrade().map(|inner| Arc::clone(&inner.ports)) else { return };
        ports.clock.sleep(sync::jittered(&ports, ELECTION_INTERVAL)).await;
        let elected = match is_free(&ports).await {
            Ok(false) => {
                other_source.look(&ports).await;
                continue;
            }
            Ok(true) => take_office(&inner).await,
            Err(error) => Err(error),
        };
        match elected {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(%error, "this process cannot host now, and tries again");
                backoff.wait(&*ports.clock).await;
            }
        }
    }
}

async fn take_office(inner: &Weak<Inner>) -> Result<()> {
    let Some(inner) = inner.upgrade() else { return Ok(()) };
    let mut state = inner.state.lock().await;
    if matches!(*state, HostState::Standby { .. }) {
        *state = HostState::Running(begin(&inner.ports).await?);
        tracing::info!("no other process hosts any more; this one does now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when an orchestrator is shut down while it still starts.
    #[tokio::test]
    async fn no_election_begins_after_its_end() {
        let election = Election::default();
        election.end();
        election.begin(Weak::new(), OtherSource::default());
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
        let election = Election::default();
        election.begin(Weak::new(), OtherSource::default());
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1);
    }
}
