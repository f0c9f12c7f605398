//! What the cases are made with.

use std::{
    fmt, fs,
    future::Future,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    ExecutorFixture, Interference,
    outside::{self, MARK, processes},
};
use crate::{
    AttemptId, Clock as _, OsEntropy, OwnerId, RunId, SystemClock,
    executor::{AttemptRef, AttemptSpec, Capabilities, Ended, Execution, Executor, Reattached, Start},
    journal::{Follower, Journal, LogLine, LogStream, Offset, Record},
    run::{Exit, ExitReport},
    testing::tool,
};

/// How long a condition may take to come true.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// How long something that must not happen is watched for.
const WATCH: Duration = Duration::from_millis(300);

/// An executor at work on attempts in a directory of their own.
pub struct Bench<'a> {
    fixture: &'a dyn ExecutorFixture,
    executor: Arc<dyn Executor>,
    other: Arc<dyn Executor>,
    owner: OwnerId,
    dir: TempDir,
    /// What sandboxes were made ahead of time for.
    warm: Mutex<Vec<AttemptSpec>>,
    clock: SystemClock,
}

impl<'a> Bench<'a> {
    /// A bench for `executor`; `other` is one of the same runtime, as another host would have it.
    ///
    /// # Panics
    ///
    /// When there is no room for temporary files.
    pub fn new(
        fixture: &'a dyn ExecutorFixture,
        executor: Arc<dyn Executor>,
        other: Arc<dyn Executor>,
    ) -> Self {
        let clock = SystemClock::new();
        let owner = format!("test-{}", RunId::new(&clock, &OsEntropy));
        let owner = owner.parse().expect("a name of letters and digits");
        let dir = tempfile::tempdir().expect("room for temporary files");
        Self { fixture, executor, other, owner, dir, warm: Mutex::default(), clock }
    }

    pub(super) fn executor(&self) -> &Arc<dyn Executor> {
        &self.executor
    }

    pub(super) fn other(&self) -> &dyn Executor {
        &*self.other
    }

    pub(super) fn owner(&self) -> &OwnerId {
        &self.owner
    }

    pub(super) fn clock(&self) -> &SystemClock {
        &self.clock
    }

    /// Whether the executor can do this. If not, the case says that it is skipped.
    pub(super) fn can(&self, what: &str, capability: impl Fn(Capabilities) -> bool) -> bool {
        let can = capability(self.executor.capabilities());
        if !can {
            self.lacks(what, "the executor does not claim it here");
        }
        can
    }

    /// Says that a case is skipped for want of this, if somebody need hear of it.
    pub(super) fn lacks(&self, what: &str, why: &str) {
        if !self.fixture.does_without(what) {
            tool::require(&format!("{}/{what}", self.fixture.name()), why);
        }
    }

    /// Whether attempts find this program. If not, the case says that it is skipped.
    pub(super) async fn finds(&self, program: &str) -> bool {
        let found = self.run(&format!("command -v {program}")).await.exit == Exit::Code(0);
        if !found {
            self.lacks(program, "the program is not there where attempts run");
        }
        found
    }

    /// Has somebody else do this to an execution. If that cannot be, the case says that it is skipped.
    pub(super) async fn interfere(&self, execution: &dyn Execution, how: Interference) -> bool {
        let done = self.fixture.interfere(&execution.handle().native_id, how).await;
        if !done {
            self.lacks(how.name(), "the runtime has no such thing here");
        }
        done
    }

    /// As often as the fixture has it, and at least half as often as usual.
    pub(super) fn rounds(&self, usual: u32) -> u32 {
        self.fixture.rounds(usual).clamp(usual.div_ceil(2), usual)
    }

    pub(super) fn fixture(&self) -> &dyn ExecutorFixture {
        self.fixture
    }

    /// A new folder that belongs to no attempt.
    pub(super) fn folder(&self) -> PathBuf {
        let path = self.dir.path().join(format!("folder-{}", RunId::new(&self.clock, &OsEntropy)));
        fs::create_dir(&path).expect("room for temporary files");
        path
    }

    /// Where the program of an attempt finds this.
    pub(super) fn inside(&self, spec: &AttemptSpec, path: &Path) -> String {
        let path = self.executor.path_inside(&spec.run_dir, path);
        path.to_str().expect("a path of ASCII").to_owned()
    }

    /// Has an executor make sandboxes ahead of time, and waits until so many wait.
    pub(super) async fn keep_warm(
        &self,
        executor: &dyn Executor,
        like: &AttemptSpec,
        count: u32,
    ) -> Vec<String> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner).push(like.clone());
        executor.keep_warm(like, count).await.expect("sandboxes can be made ahead of time");
        let end = self.clock.elapsed() + WAIT_TIMEOUT;
        loop {
            let waiting = self.waiting().await;
            if waiting.len() == usize::try_from(count).expect("a small number") {
                return waiting;
            }
            assert!(self.clock.elapsed() < end, "not {count} sandboxes wait, but {waiting:?}");
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// The sandboxes that the runtime has and that belong to no attempt.
    pub(super) async fn waiting(&self) -> Vec<String> {
        let listed = self.executor.list(&self.owner).await.expect("the runtime can be asked");
        let mut sandboxes = self.fixture.sandboxes(&self.owner).await;
        sandboxes.retain(|sandbox| listed.iter().all(|handle| *handle.native_id != **sandbox));
        sandboxes.sort();
        sandboxes
    }

    /// The files in which the executor has this, but for those of the program and, while that runs, of its secrets.
    pub(super) fn files_that_know(&self, spec: &AttemptSpec, secret: &str) -> Vec<PathBuf> {
        let mut folders = self.fixture.places();
        folders.push(spec.run_dir.clone());
        let mut except = vec![spec.working_dir.clone()];
        // What a sandbox has there is not what this machine has there.
        if !self.executor.capabilities().isolation {
            except.extend(outside::secrets_dir(spec));
        }
        outside::files_that_know(&folders, &except, secret)
    }

    /// The files and folders that the executor has named after an attempt, wherever it keeps such.
    pub(super) fn places_of(&self, spec: &AttemptSpec) -> Vec<PathBuf> {
        outside::named_after(&self.fixture.places(), &spec.id.to_string())
    }

    /// An attempt that runs `script`, with its directories made.
    pub(super) fn spec(&self, script: &str) -> AttemptSpec {
        let id = AttemptId { run: RunId::new(&self.clock, &OsEntropy), number: NonZeroU32::MIN };
        let run_dir = self.dir.path().join(id.to_string());
        let working_dir = run_dir.join("work");
        fs::create_dir_all(&working_dir).expect("room for temporary files");
        let mut spec = self.fixture.spec(id, self.owner.clone(), script, run_dir);
        spec.working_dir = working_dir;
        spec.env.insert(MARK.to_owned(), id.to_string());
        spec.env.entry("PATH".to_owned()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        spec
    }

    /// Starts it, which must succeed.
    pub(super) async fn start(&self, spec: &AttemptSpec) -> Box<dyn Execution> {
        match self.executor.start(spec.clone()).await {
            Ok(Start::Started(execution)) => execution,
            other => panic!("not started: {other:?}"),
        }
    }

    /// Starts a program that says that it runs by a line in `ready`, and then is one process that stays. The process
    /// is as this machine numbers it.
    pub(super) async fn start_and_find(&self, spec: &AttemptSpec) -> (Box<dyn Execution>, u32) {
        let execution = self.start(spec).await;
        let mut seen = Vec::new();
        self.until("the program is ready, and one process", || {
            seen = processes(spec);
            lines(spec, "ready") > 0 && seen.len() == 1
        })
        .await;
        (execution, seen[0])
    }

    /// Runs a script to its end.
    pub(super) async fn run(&self, script: &str) -> ExitReport {
        self.run_spec(&self.spec(script)).await
    }

    pub(super) async fn run_spec(&self, spec: &AttemptSpec) -> ExitReport {
        let execution = self.start(spec).await;
        let report = report(execution.wait().await);
        execution.remove().await.expect("removed");
        report
    }

    /// Reads a journal that is complete.
    pub(super) async fn journal<T: Record>(&self, spec: &AttemptSpec, name: &str) -> Vec<T> {
        let journal = Journal::new(spec.run_dir.join(name));
        let ended = std::future::ready(());
        let mut follower = Follower::new(journal, Offset::START, Arc::new(self.clock), ended);
        let mut records = Vec::new();
        while let Some(batch) = follower.next_batch().await.expect("the journal can be read") {
            records.extend(batch.records.into_iter().map(|(_, record)| record));
        }
        records
    }

    pub(super) async fn log(&self, spec: &AttemptSpec) -> Vec<LogLine> {
        self.journal(spec, fastflow_shim::layout::LOG).await
    }

    /// Exactly the bytes that the log has of a stream.
    pub(super) async fn stream(&self, spec: &AttemptSpec, stream: LogStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in self.log(spec).await.into_iter().filter(|line| line.stream == stream) {
            bytes.extend_from_slice(&line.bytes);
            if !line.continues {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    /// Waits until `condition` holds.
    pub(super) async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let end = self.clock.elapsed() + WAIT_TIMEOUT;
        while !condition() {
            assert!(self.clock.elapsed() < end, "not within {WAIT_TIMEOUT:?}: {what}");
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// The same, of what an executor does when it is asked for a list.
    pub(super) async fn until_swept(
        &self,
        executor: &dyn Executor,
        what: &str,
        condition: impl Fn() -> bool,
    ) {
        let end = self.clock.elapsed() + WAIT_TIMEOUT;
        loop {
            executor.list(&self.owner).await.expect("the runtime can be asked");
            if condition() {
                return;
            }
            assert!(self.clock.elapsed() < end, "not within {WAIT_TIMEOUT:?}: {what}");
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// Fails if `future` is not ready in time.
    pub(super) async fn within<T>(&self, limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
        tokio::select! {
            value = future => value,
            () = self.clock.sleep(limit) => panic!("not within {limit:?}: {what}"),
        }
    }

    /// Waits for the file to grow: its writer is alive.
    pub(super) async fn beats(&self, path: &Path) {
        let before = size(path);
        self.until("the program beats", || size(path) > before).await;
    }

    /// Watches that nothing of an attempt is there any more.
    pub(super) async fn is_silent(&self, spec: &AttemptSpec) {
        self.is_silent_but_for(spec, &[]).await;
    }

    /// The same for an attempt whose program appends to files.
    pub(super) async fn is_silent_but_for(&self, spec: &AttemptSpec, beats: &[&Path]) {
        // One that was killed is seen for a moment after the kernel has taken it off every list.
        let end = self.clock.elapsed() + WATCH;
        while !processes(spec).is_empty() {
            assert!(self.clock.elapsed() < end, "processes of the attempt are left: {:?}", processes(spec));
            self.clock.sleep(LOOK_INTERVAL).await;
        }
        let before: Vec<u64> = beats.iter().map(|path| size(path)).collect();
        if !beats.is_empty() {
            self.clock.sleep(WATCH).await;
        }
        let after: Vec<u64> = beats.iter().map(|path| size(path)).collect();
        assert_eq!(before, after, "something of the attempt still writes");
    }

    /// Lets the time pass in which a mistake would show.
    pub(super) async fn watch(&self) {
        self.clock.sleep(WATCH).await;
    }

    /// Removes everything that the executor knows of this bench.
    pub(super) async fn clear(&self) {
        for handle in self.executor.list(&self.owner).await.unwrap_or_default() {
            let run_dir = self.dir.path().join(handle.attempt.to_string());
            let attempt =
                AttemptRef { id: handle.attempt, owner: self.owner.clone(), run_dir, handle: Some(handle) };
            if let Ok(Reattached::Found(execution)) = self.executor.reattach(&attempt).await {
                // A failure here is the case's, which has said so by itself.
                let _ = execution.remove().await;
            }
        }
        let warm = std::mem::take(&mut *self.warm.lock().unwrap_or_else(PoisonError::into_inner));
        for like in warm {
            let _ = self.executor.keep_warm(&like, 0).await;
        }
    }
}

impl fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("executor", &self.executor)
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// What names an attempt, without or with its handle.
pub(super) fn reference(spec: &AttemptSpec, execution: Option<&dyn Execution>) -> AttemptRef {
    AttemptRef {
        id: spec.id,
        owner: spec.owner.clone(),
        run_dir: spec.run_dir.clone(),
        handle: execution.map(|execution| execution.handle().clone()),
    }
}

/// The report of a program that ran.
pub(super) fn report(ended: crate::Result<Ended>) -> ExitReport {
    match ended {
        Ok(Ended::Exited(report)) => report,
        other => panic!("not the end of a program that ran: {other:?}"),
    }
}

pub(super) fn found(reattached: crate::Result<Reattached>) -> Box<dyn Execution> {
    match reattached {
        Ok(Reattached::Found(execution)) => execution,
        other => panic!("not found: {other:?}"),
    }
}

pub(super) fn exit(ended: crate::Result<Ended>) -> Exit {
    report(ended).exit
}

/// A file in the working directory.
pub(super) fn file(spec: &AttemptSpec, name: &str) -> PathBuf {
    spec.working_dir.join(name)
}

/// The variables that an attempt was given, in order.
pub(super) fn given(spec: &AttemptSpec) -> Vec<String> {
    let mut given: Vec<_> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    given.sort();
    given
}

/// The variables that its program found and wrote into the file `environment`, in order.
pub(super) fn seen_environment(spec: &AttemptSpec) -> Vec<String> {
    let seen = fs::read_to_string(file(spec, "environment")).expect("the program has written it");
    let mut seen: Vec<_> = seen.split_terminator('\0').map(str::to_owned).collect();
    seen.sort();
    seen
}

/// The lines of a file in the working directory; none when there is none.
pub(super) fn lines(spec: &AttemptSpec, name: &str) -> usize {
    fs::read_to_string(file(spec, name)).map_or(0, |text| text.lines().count())
}

pub(super) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
