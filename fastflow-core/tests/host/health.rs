//! Programs that are not well, and what is noted of those that use much.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, ErrorKind, Orchestrator, OwnerId, Result, RunId, Shutdown, SystemClock, Timestamp,
    executor::{AttemptRef, AttemptSpec, Capabilities, ExecutionHandle, Executor, Reattached, Start},
    run::{AttemptEnd, Decision, Failure, Run, Status, Symptom},
};
use rustix::fs::{AtFlags, Timespec, Timestamps};

use crate::{
    kit::{
        MachinePython, Place, SmallDisk, attempt, attempts, ended, notes, processes_of, refused, run,
        started, until, within_time,
    },
    queue::GATE,
};

/// Hears the stop, says so, and ends well.
const POLITE: &str = r"
import os, signal, sys, time
def bye(*_):
    open(os.environ['TMP_DIR'] + '/bye', 'a').write('x')
    os._exit(0)
signal.signal(signal.SIGTERM, bye)
";

/// The decisions that were noted of one attempt.
pub(crate) async fn decisions(place: &Place, run: RunId, attempt: u32) -> Vec<Decision> {
    let notes = notes(&place.data(), run).await.into_iter();
    notes.filter(|note| note.attempt == attempt).map(|note| note.decision).collect()
}

pub(crate) fn assert_unhealthy(run: &Run, symptom: Symptom) {
    assert_eq!(run.failure(), Some(&Failure::Unhealthy(symptom)), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_falls_silent_is_ended_and_tried_again_by_policy() {
    let place = Place::new();
    place.pipeline("silent", &format!("{POLITE}print('hello')\ntime.sleep(600)\n")).file(
        "silent/pipeline.json",
        r#"{"no_output_timeout": 1, "retry_attempts": 1, "retry_on": ["unhealthy"],
            "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
    );
    let flow = place.start().await;
    let done = run(&flow, place.ask("silent")).await;
    assert_unhealthy(&done, Symptom::NoOutput);
    for attempt in attempts(&flow, done.id).await {
        // It ended with 0, which does not make it a success.
        assert_eq!(attempt.end, Some(AttemptEnd::Failed(Failure::Unhealthy(Symptom::NoOutput))));
    }
    assert_eq!((done.attempt, place.said("bye").as_str()), (2, "xx"), "each is asked to end");
    let unhealthy = Decision::Unhealthy(Symptom::NoOutput);
    let first = decisions(&place, done.id, 1).await;
    assert!(matches!(first.as_slice(), [one, Decision::Retry { .. }] if *one == unhealthy), "{first:?}");
    assert_eq!(decisions(&place, done.id, 2).await, [unhealthy, Decision::Exhausted { failed_attempts: 2 }]);
    until("its processes to be gone", || async { processes_of(&done.id.to_string()).is_empty() }).await;
}

/// Says something ten times, 0.4 s apart: twice as long as the programs here may be silent.
fn talking(words: &str) -> String {
    format!("import os, sys, time\nfor i in range(10):\n    {words}\n    time.sleep(0.4)\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_program_writes_counts_as_output() {
    let place = Place::new();
    let loud = "for i in range(3000): print('x' * 50)\n";
    for (name, program, more) in [
        ("lines", talking("print(i)"), ""),
        ("dots", talking("print('.', end='', flush=True)"), ""),
        ("errors", talking("print('.', end='', flush=True, file=sys.stderr)"), ""),
        // Far above the limit of its log: what it says goes to the tail.
        ("tail", format!("{loud}{}", talking("print(i)")), r#", "log_max_size": "64k""#),
    ] {
        let manifest = format!(r#"{{"no_output_timeout": 2{more}}}"#);
        place.pipeline(name, &program).file(&format!("{name}/pipeline.json"), manifest);
    }
    let flow = place.start().await;
    let mut runs = Vec::new();
    for name in ["lines", "dots", "errors", "tail"] {
        runs.push((name, flow.submit(name).await.unwrap().id));
    }
    for (name, id) in runs {
        assert_eq!(ended(&flow, id).await.status(), Status::Success, "{name}");
    }
}

/// The machine's clock, which jumps when it is told to.
#[derive(Clone, Debug)]
struct Jumping {
    clock: SystemClock,
    jumped: Arc<AtomicBool>,
    /// How far its wall jumps, and the time that never does.
    wall: Duration,
    elapsed: Duration,
    /// How often somebody has slept for a second.
    seconds: Arc<AtomicU32>,
}

impl Jumping {
    fn new(wall: Duration, elapsed: Duration) -> Self {
        Self { clock: SystemClock::new(), jumped: Arc::default(), wall, elapsed, seconds: Arc::default() }
    }

    fn ahead(&self, far: Duration) -> Duration {
        if self.jumped.load(Ordering::SeqCst) { far } else { Duration::ZERO }
    }
}

#[async_trait]
impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        self.clock.now() + self.ahead(self.wall)
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed() + self.ahead(self.elapsed)
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
        if duration == Duration::from_secs(1) {
            self.seconds.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ends_nobody() {
    let none = Duration::ZERO;
    // The wall is set; the whole machine pauses for an hour, and the program with it.
    for (wall, elapsed) in [(Duration::from_hours(24), none), (none, Duration::from_hours(1))] {
        let place = Place::new();
        let beat = "import os\nopen(os.environ['FASTFLOW_HEARTBEAT_FILE'], 'w').close()\n";
        place
            .pipeline("waits", &format!("{beat}{GATE}"))
            .file("waits/pipeline.json", r#"{"no_output_timeout": 60, "heartbeat_timeout": 60}"#);
        let clock = Jumping::new(wall, elapsed);
        let flow = started(place.builder().clock(clock.clone())).await;
        let running = flow.submit(place.ask("waits")).await.unwrap();
        place.until_said("waiting").await;
        let looks = || clock.seconds.load(Ordering::SeqCst);
        until("a first look", || async { looks() >= 1 }).await;
        clock.jumped.store(true, Ordering::SeqCst);
        let before = looks();
        let id = running.id.to_string();
        until("two looks", || async { looks() >= before + 3 || processes_of(&id).is_empty() }).await;
        place.write("go", "go");
        let done = ended(&flow, running.id).await;
        assert_eq!(done.status(), Status::Success, "{wall:?} {elapsed:?}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_a_regular_file_that_is_touched() {
    let place = Place::new();
    let beat = "open(os.environ['FASTFLOW_HEARTBEAT_FILE'], 'w').close()";
    let touch = "pathlib.Path(os.environ['FASTFLOW_HEARTBEAT_FILE']).touch()";
    let elsewhere = "open('elsewhere', 'a').write('x')";
    let programs = [
        ("beats", format!("import pathlib\n{}", talking(touch)), true),
        ("stops", format!("import os, time\n{beat}\nprint('up')\ntime.sleep(600)"), false),
        ("never", "import time\nwhile True: print('I am well', time.sleep(0.1))".to_owned(), false),
        (
            "link",
            format!(
                "import os\nos.symlink('elsewhere', os.environ['FASTFLOW_HEARTBEAT_FILE'])\n{}",
                talking(elsewhere).replace("range(10)", "range(1000)")
            ),
            false,
        ),
        (
            "folder",
            format!(
                "import os\nos.rename(os.getcwd(), os.getcwd() + '.moved')\nos.symlink(os.getcwd(), os.environ['FASTFLOW_HEARTBEAT_FILE'].rsplit('/', 1)[0])\n{}",
                talking(beat).replace("range(10)", "range(1000)")
            ),
            false,
        ),
    ];
    for (name, program, _) in &programs {
        place.pipeline(name, program).file(&format!("{name}/pipeline.json"), r#"{"heartbeat_timeout": 2}"#);
    }
    place.pipeline("unasked", "import os\nassert 'FASTFLOW_HEARTBEAT_FILE' not in os.environ");
    let flow = place.start().await;
    let mut runs = Vec::new();
    for (name, _, is_well) in &programs {
        runs.push((name, *is_well, flow.submit(*name).await.unwrap().id));
    }
    for (name, is_well, id) in runs {
        let done = ended(&flow, id).await;
        let failure = (!is_well).then_some(Failure::Unhealthy(Symptom::NoHeartbeat));
        assert_eq!(done.failure(), failure.as_ref(), "{name}");
    }
    assert_eq!(run(&flow, "unasked").await.status(), Status::Success);
}

/// Makes a file, or the newest of a folder's, an hour older.
fn age(path: &Path) {
    let then = SystemClock::new().now().as_second() - 3600;
    let time = Timespec { tv_sec: then, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Where the files of a run's first attempt lie.
pub(crate) async fn directory(flow: &Orchestrator, run: RunId) -> PathBuf {
    flow.runs().directory(attempt(run, 1)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_goes_on_although_the_host_changes() {
    let place = Place::new();
    let program = format!(
        "{POLITE}open(os.environ['FASTFLOW_HEARTBEAT_FILE'], 'w').close()\nprint('up')\nopen(os.environ['TMP_DIR'] + '/' + os.environ['FASTFLOW_PIPELINE'], 'w').write('x')\ntime.sleep(600)\n"
    );
    for (name, manifest) in [
        ("output", r#"{"no_output_timeout": 600, "heartbeat_timeout": 31622400}"#),
        ("heartbeat", r#"{"no_output_timeout": 31622400, "heartbeat_timeout": 600}"#),
        ("well", r#"{"no_output_timeout": 7200, "heartbeat_timeout": 7200}"#),
    ] {
        place.pipeline(name, &program).file(&format!("{name}/pipeline.json"), manifest);
    }
    let flow = place.start().await;
    let mut runs = Vec::new();
    for name in ["output", "heartbeat", "well"] {
        let id = flow.submit(place.ask(name)).await.unwrap().id;
        place.until_said(name).await;
        let dir = directory(&flow, id).await;
        until("its output to be kept", || async {
            fs::read_to_string(dir.join("log.ndjson")).unwrap().contains("up")
        })
        .await;
        runs.push((id, dir));
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();
    for (_, dir) in &runs {
        for file in ["guard.json", "log.ndjson", "work/.fastflow-heartbeat"] {
            age(&dir.join(file));
        }
    }
    let flow = place.start().await;
    let minute = Duration::from_mins(1);
    for ((id, _), symptom) in runs.iter().zip([Symptom::NoOutput, Symptom::NoHeartbeat]) {
        let done = within_time("it to be ended", minute, flow.runs().wait(*id)).await.unwrap();
        assert_unhealthy(&done, symptom);
    }
    let well = flow.runs().get(runs[2].0).await.unwrap();
    assert_eq!(well.status(), Status::Running, "an hour is less than two");
    flow.runs().cancel(well.id).await.unwrap();
    ended(&flow, well.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nobody_counts_as_silent() {
    const FILLER: &str = r"
import os, time
fd = os.open('fill', os.O_WRONLY | os.O_CREAT)
for size in (1 << 20, 4096, 1):
    try:
        while True: os.write(fd, bytes(size))
    except OSError: pass
# Nor is there room where its log goes on.
log = os.open('../log.ndjson', os.O_WRONLY | os.O_APPEND)
try:
    while True: os.write(log, b'x')
except OSError: pass
for i in range(12):
    print(i)
    time.sleep(0.5)
os.ftruncate(fd, 0)
print('room')
";
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.root().join("disk"), "size=48m") else { return };
    place.pipeline("filler", FILLER).file("filler/pipeline.json", r#"{"no_output_timeout": 2}"#);
    let flow = started(
        Orchestrator::builder(disk.path().join("data"))
            .pipelines(place.pipelines())
            .environments(MachinePython),
    )
    .await;
    let done = run(&flow, "filler").await;
    assert_eq!(done.status(), Status::Success, "{done:?}");
}

/// Runs programs somewhere of which this machine sees nothing.
#[derive(Debug)]
struct Blind;

#[async_trait]
impl Executor for Blind {
    fn kind(&self) -> &'static str {
        "blind"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::default();
        can.reattach = true;
        can
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    async fn start(&self, _: AttemptSpec) -> Result<Start> {
        unreachable!("nothing is accepted")
    }

    async fn list(&self, _: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        Ok(Vec::new())
    }

    async fn reattach(&self, _: &AttemptRef) -> Result<Reattached> {
        Ok(Reattached::NeverStarted)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_watch_is_refused_by_name() {
    let place = Place::new();
    let fields = [
        ("no_output_timeout", "5"),
        ("heartbeat_timeout", "5"),
        ("cpu_soft_limit", "0.5"),
        ("mem_soft_limit", r#""64m""#),
    ];
    for (field, value) in fields {
        let name = field.replace('_', "-");
        place
            .pipeline(&name, "pass")
            .file(&format!("{name}/pipeline.json"), format!("{{\"{field}\": {value}}}"));
    }
    let flow = started(place.builder().executor("blind", Blind)).await;
    for (field, _) in fields {
        refused(flow.submit(field.replace('_', "-")).await, ErrorKind::Unsupported, &[field, "blind"]);
    }
}
