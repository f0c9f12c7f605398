//! Starts shims and waits for what they do.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fastflow_shim::{ExitRecord, LogRecord, Order, Reply, Stream, UsageRecord, clock, layout};
use tempfile::TempDir;

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_fastflow-shim");
/// Far more than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
#[expect(clippy::disallowed_methods, reason = "the one pause between two looks at a condition")]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = clock::instant() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::instant() < end, "in {LIMIT:?} it was never so that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn wait(child: &mut Child) -> i32 {
    eventually("the shim ended", || child.try_wait().unwrap()).code().unwrap()
}

pub(crate) struct Attempt {
    /// Kept for as long as the attempt is looked at.
    _dir: TempDir,
    pub(crate) order: Order,
}

impl Attempt {
    pub(crate) fn new(argv: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut order = Order::new("attempt-1", argv.iter().copied(), dir.path(), dir.path());
        order.stop_grace_ms = 5_000;
        order.usage.interval_ms = 50;
        Self { _dir: dir, order }
    }

    pub(crate) fn sh(script: &str) -> Self {
        let mut attempt = Self::new(&["/bin/sh", "-c", script]);
        attempt.order.env.insert("PATH".to_owned(), path_variable());
        attempt
    }

    pub(crate) fn python(script: &str) -> Self {
        let mut attempt = Self::new(&["/usr/bin/env", "python3", "-c", script]);
        attempt.order.env.insert("PATH".to_owned(), path_variable());
        attempt
    }

    pub(crate) fn path(&self) -> &Path {
        &self.order.run_dir
    }

    /// Writes a file into the program's working directory.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.order.working_dir.join(name), bytes).unwrap();
    }

    pub(crate) fn command(args: &[&str]) -> Command {
        let mut command = Command::new(SHIM);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Hands the order to a started command and reads the reply.
    pub(crate) fn hand_over(&self, command: &mut Command) -> (Child, Option<Reply>) {
        let mut child = command.spawn().unwrap();
        // A shim that has ended already, of a wrong argument say, does not read.
        let _ = child.stdin.take().unwrap().write_all(&self.order.to_vec().unwrap());
        let reply = read_reply(&mut child);
        (child, reply)
    }

    pub(crate) fn start(&self) -> (Child, Option<Reply>) {
        self.hand_over(&mut Self::command(&["--order-fd", "0", "--reply"]))
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> ExitRecord {
        let (mut child, _) = self.start();
        assert_eq!(wait(&mut child), 0);
        self.exit()
    }

    pub(crate) fn has_exit(&self) -> bool {
        self.path().join(layout::EXIT).exists()
    }

    pub(crate) fn exit(&self) -> ExitRecord {
        serde_json::from_slice(&fs::read(self.path().join(layout::EXIT)).unwrap()).unwrap()
    }

    pub(crate) fn exit_eventually(&self) -> ExitRecord {
        eventually("there is an exit record", || self.has_exit().then(|| self.exit()))
    }

    pub(crate) fn records(&self) -> Vec<LogRecord<'static>> {
        let log = fs::read_to_string(self.path().join(layout::LOG)).unwrap();
        log.lines()
            .map(|line| {
                let record: LogRecord<'_> = serde_json::from_str(line).unwrap();
                let owned =
                    |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned().into());
                LogRecord {
                    at: record.at,
                    stream: record.stream,
                    text: owned(record.text),
                    base64: owned(record.base64),
                    continues: record.continues,
                    dropped_bytes: record.dropped_bytes,
                    dropped_records: record.dropped_records,
                }
            })
            .collect()
    }

    /// What the log says the program wrote.
    pub(crate) fn bytes(&self, stream: Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in self.records().iter().filter(|record| record.stream == stream) {
            record.append_to(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn text(&self, stream: Stream) -> String {
        String::from_utf8(self.bytes(stream)).unwrap()
    }

    pub(crate) fn usage(&self) -> Vec<UsageRecord> {
        let usage = fs::read_to_string(self.path().join(layout::USAGE)).unwrap();
        usage.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A number that the program writes to a file of its working directory.
    pub(crate) fn number(&self, name: &str) -> u32 {
        eventually(&format!("{name} holds a number"), || {
            fs::read_to_string(self.path().join(name)).ok()?.strip_suffix('\n')?.trim().parse().ok()
        })
    }
}

pub(crate) fn read_reply(child: &mut Child) -> Option<Reply> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A test that this machine does not allow must not look as if it had passed. The same as
/// `fastflow_core::testing::tool::require`, of which this crate can know nothing.
#[expect(clippy::print_stderr, reason = "a skipped test has nobody else to tell")]
pub(crate) fn require(suite: &str, why: &str) {
    let required = variable("FASTFLOW_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|required| required.trim() == suite);
    assert!(!is_required, "{suite} is required by FASTFLOW_REQUIRE and cannot run: {why}");
    eprintln!("SKIPPED: {suite}: {why}");
}

fn path_variable() -> String {
    variable("PATH").unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test is configured by the one who starts it")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
