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
    journal::{Journal, Offset, UsageSample},
    run::{AttemptEnd, Decision, Failure, Run, SoftLimit, Status, Symptom},
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
async fn decisions(place: &Place, run: RunId, attempt: u32) -> Vec<Decision> {
    let notes = notes(&place.data(), run).await.into_iter();
    notes.filter(|note| note.attempt == attempt).map(|note| note.decision).collect()
}

fn assert_unhealthy(run: &Run, symptom: Symptom) {
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
async fn a_wall_clock_that_jumps_ends_nobody() {
    let place = Place::new();
    let beats = talking(
        "print(i)\n    open(os.environ['FASTFLOW_HEARTBEAT_FILE'], 'w').close()\n    open(os.environ['TMP_DIR'] + '/up', 'w').write('x')",
    );
    place
        .pipeline("well", &beats)
        .file("well/pipeline.json", r#"{"no_output_timeout": 2, "heartbeat_timeout": 2}"#);
    let clock = Jumping::new(Duration::from_hours(24), Duration::ZERO);
    let flow = started(place.builder().clock(clock.clone())).await;
    let running = flow.submit(place.ask("well")).await.unwrap();
    place.until_said("up").await;
    clock.jumped.store(true, Ordering::SeqCst);
    let done = ended(&flow, running.id).await;
    assert_eq!(done.status(), Status::Success, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_held_the_host_up_is_no_silence_of_the_program() {
    let place = Place::new();
    place.pipeline("waits", GATE).file("waits/pipeline.json", r#"{"no_output_timeout": 60}"#);
    // As after a pause of the whole machine: an hour between two looks.
    let clock = Jumping::new(Duration::from_hours(1), Duration::from_hours(1));
    let flow = started(place.builder().clock(clock.clone())).await;
    let running = flow.submit(place.ask("waits")).await.unwrap();
    place.until_said("waiting").await;
    let looks = || clock.seconds.load(Ordering::SeqCst);
    until("a first look", || async { looks() >= 1 }).await;
    clock.jumped.store(true, Ordering::SeqCst);
    let before = looks();
    until("two looks", || async { looks() >= before + 3 }).await;
    place.write("go", "go");
    assert_eq!(ended(&flow, running.id).await.status(), Status::Success);
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
async fn directory(flow: &Orchestrator, run: RunId) -> PathBuf {
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

/// Uses much memory and little by turns, one turn for each file that the test writes.
const BREATHING: &str = r"
import os, time
def turn(name):
    open(os.environ['TMP_DIR'] + '/at', 'w').write(name)
    while not os.path.exists(os.environ['TMP_DIR'] + '/' + name): time.sleep(0.01)
for n in (1, 2):
    block = bytearray(150 << 20)
    for i in range(0, len(block), 4096): block[i] = 1
    turn(f'much{n}')
    del block
    turn(f'little{n}')
";

/// Lets a breathing program go on, once a sample has seen it where it is.
async fn breathe(place: &Place, dir: &Path, turn: &str) {
    let much = turn.starts_with("much");
    until(turn, || async { place.said("at") == turn }).await;
    let journal = Journal::<UsageSample>::new(dir.join("usage.ndjson"));
    // Samples that were taken before the program came here count for nothing.
    let from = fs::metadata(dir.join("usage.ndjson")).map_or(0, |file| file.len());
    until("a sample", || async {
        let Ok(batch) = journal.read(Offset::from_bytes(from)).await else { return false };
        batch.records.iter().any(|(_, sample)| (sample.memory_bytes > 100 << 20) == much)
    })
    .await;
    if much {
        let noted = turn[4..].parse::<usize>().unwrap();
        until("a note", || async { crossings(place).await == noted }).await;
    }
    place.write(turn, "go");
}

/// How many crossings of memory were noted of any run.
async fn crossings(place: &Place) -> usize {
    let notes = crate::kit::all_notes(&place.data()).await;
    let is_memory = |decision: &Decision| {
        let Decision::SoftLimit { limit: SoftLimit::Memory, used, allowed } = decision else { return false };
        assert_eq!((*allowed, *used > *allowed), (100 << 20, true), "{decision:?}");
        true
    };
    notes.iter().filter(|note| is_memory(&note.1.decision)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_crossing_of_a_soft_limit_is_noted_once_whoever_looks() {
    let place = Place::new();
    place.pipeline("breathing", BREATHING).file("breathing/pipeline.json", r#"{"mem_soft_limit": "100m"}"#);
    let flow = place.start().await;
    let id = flow.submit(place.ask("breathing")).await.unwrap().id;
    until("it to run", || async { flow.runs().get(id).await.unwrap().status() == Status::Running }).await;
    let dir = directory(&flow, id).await;
    breathe(&place, &dir, "much1").await;
    breathe(&place, &dir, "little1").await;
    until("much2", || async { place.said("at") == "much2" }).await;
    until("the note", || async { crossings(&place).await == 2 }).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = place.start().await;
    breathe(&place, &dir, "much2").await;
    breathe(&place, &dir, "little2").await;
    assert_eq!(ended(&flow, id).await.status(), Status::Success);
    assert_eq!(crossings(&place).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_ended_for_its_soft_limit_if_that_is_asked_for() {
    let place = Place::new();
    let stop = r#""soft_limit_action": "stop""#;
    place
        .pipeline("busy", "while True: pass")
        .file("busy/pipeline.json", format!(r#"{{"cpu_soft_limit": 0.05, {stop}}}"#))
        .pipeline("big", "import time\nblock = b'x' * (150 << 20)\ntime.sleep(600)")
        .file("big/pipeline.json", format!(r#"{{"mem_soft_limit": "100m", {stop}}}"#))
        .pipeline("short", "import time\nend = time.monotonic() + 0.3\nwhile time.monotonic() < end: pass")
        .file("short/pipeline.json", r#"{"cpu_soft_limit": 0.05}"#)
        .pipeline("small", "import time\ntime.sleep(4)")
        .file("small/pipeline.json", format!(r#"{{"mem_soft_limit": "2g", "cpu_soft_limit": 64, {stop}}}"#));
    let flow = place.start().await;
    let mut runs = Vec::new();
    for name in ["busy", "big", "small", "short"] {
        runs.push(flow.submit(name).await.unwrap().id);
    }
    for (id, symptom, limit) in
        [(runs[0], Symptom::SoftCpu, SoftLimit::Cpu), (runs[1], Symptom::SoftMemory, SoftLimit::Memory)]
    {
        assert_unhealthy(&ended(&flow, id).await, symptom);
        let noted = decisions(&place, id, 1).await;
        let [Decision::SoftLimit { limit: crossed, .. }, Decision::Unhealthy(found)] = noted.as_slice()
        else {
            panic!("{noted:?}")
        };
        assert_eq!((*crossed, *found), (limit, symptom));
    }
    let short = ended(&flow, runs[3]).await;
    let noted = decisions(&place, short.id, 1).await;
    assert!(matches!(noted[..], [Decision::SoftLimit { limit: SoftLimit::Cpu, .. }]), "{noted:?}");
    assert_eq!(short.status(), Status::Success);
    let small = ended(&flow, runs[2]).await;
    assert_eq!((small.status(), decisions(&place, small.id, 1).await), (Status::Success, vec![]));
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
