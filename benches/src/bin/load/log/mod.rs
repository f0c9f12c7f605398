//! What a program pays for its log, how fast readers follow, and what the host holds meanwhile.

mod host;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use clap::Args;
use fastflow_benches::{
    engine::Workplace,
    floor::Direct,
    report::{Report, Row, Verdict, rate, ratio},
    sample::{Samples, per_second},
};
use fastflow_core::{Clock, Error, ErrorKind, Result, SystemClock};

pub(crate) use self::host::host;
use self::host::{Command as Ask, Ready, Reply};
use crate::Common;

const TARGET_RATIO: f64 = 1.3;
/// With secrets, of what it takes without.
const TARGET_RATIO_OF_MASKING: f64 = 1.05;
const TARGET_LINES_PER_SECOND: f64 = 500_000.0;
const TARGET_MEBIBYTES: f64 = 64.0;
/// With its newline, 100 bytes.
const LINE_BYTES: u64 = 99;
const PIPELINE: &str = "lines";
/// The same program.
const PIPELINE_WITH_SECRETS: &str = "lines_with_secrets";
const SECRETS: usize = 10;

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many lines the program writes.
    #[arg(long, default_value_t = 1_000_000)]
    lines: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { lines: 1_000_000, rounds: 7 }
    }
}

/// What the rounds came to.
#[derive(Default)]
struct Figures {
    bare: Samples,
    alone: Samples,
    with_secrets: Samples,
    followed: Samples,
    lag: Samples,
    read: Samples,
    read_floor: Samples,
    behind: u64,
    growth_bytes: u64,
}

pub(crate) fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    let program =
        format!("line = 'x' * {LINE_BYTES}\nfor _ in range({}):\n    print(line)\n", arguments.lines);
    place.pipeline(PIPELINE, &program, &[])?;
    let manifest = serde_json::json!({ "secrets": secret_names().collect::<Vec<_>>() });
    place.configured(PIPELINE_WITH_SECRETS, &program, &manifest)?;
    let mut host = HostProcess::start(common, &place)?;
    let ready: Ready = host.next()?;
    let direct = Direct::new(ready.started, "main.py", place.pipelines().join(PIPELINE));
    let figures = rounds(arguments, &place, &mut host, &direct)?;
    Ok(report(arguments, &figures))
}

/// The secrets of [`PIPELINE_WITH_SECRETS`].
fn secret_names() -> impl Iterator<Item = String> {
    (0..SECRETS).map(|number| format!("TOKEN_{number}"))
}

fn rounds(
    arguments: &Arguments,
    place: &Workplace,
    host: &mut HostProcess,
    direct: &Direct,
) -> Result<Figures> {
    let mut figures = Figures::default();
    let output = place.path().join("direct.txt");
    for round in 0..arguments.rounds {
        figures.bare.push(direct.run(Some(&output))?);
        // What comes first finds another machine than what comes second.
        let turns =
            if round % 2 == 0 { [Ask::Run, Ask::RunWithSecrets] } else { [Ask::RunWithSecrets, Ask::Run] };
        for ask in turns {
            let alone = host.ask(ask)?;
            match ask {
                Ask::RunWithSecrets => figures.with_secrets.push(alone.took),
                _ => figures.alone.push(alone.took),
            }
            figures.growth_bytes = figures.growth_bytes.max(alone.growth_bytes);
        }
        figures.bare.push(direct.run(Some(&output))?);
        let followed = host.ask(Ask::Follow)?;
        figures.followed.push(followed.took);
        figures.lag.push(followed.lag);
        figures.behind = figures.behind.max(followed.behind);
        let (lines, floor) = read_lines(&followed.log)?;
        figures.read_floor.push(floor);
        let read = host.ask(Ask::Read)?;
        figures.read.push(read.took);
        for (found, who) in [(lines, "the file"), (followed.lines, "follower"), (read.lines, "reader")] {
            if found != arguments.lines {
                return Err(Error::new(ErrorKind::Internal, "the log has another number of lines")
                    .with("who", who)
                    .with("found", found));
            }
        }
        for reply in [followed, read] {
            figures.growth_bytes = figures.growth_bytes.max(reply.growth_bytes);
        }
    }
    Ok(figures)
}

/// Reads the file of a log line by line and understands nothing of it.
fn read_lines(path: &Path) -> Result<(u64, Duration)> {
    let clock = SystemClock::new();
    let mut file = BufReader::with_capacity(128 * 1024, File::open(path)?);
    let (mut line, mut lines) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        line.clear();
        lines += 1;
    }
    Ok((lines, clock.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "a size in a table")]
fn report(arguments: &Arguments, figures: &Figures) -> Report {
    let lines = arguments.lines;
    let mut report = Report::new(format!("log: a program that writes {lines} lines of 100 bytes"));
    let bare = figures.bare.median().as_secs_f64();
    for (name, samples) in
        [("to a log", &figures.alone), ("to a log with a live follower", &figures.followed)]
    {
        let value = samples.median().as_secs_f64();
        let took = format!("{value:.2} s (p95 {:.2}, n {})", samples.p95().as_secs_f64(), samples.count());
        let row = Row::new(format!("submit → terminal, {name}"), took);
        let row = row.against(format!("{bare:.2} s to a file"), ratio(value, bare));
        // The target is the program's; a reader of its own takes a core of its own.
        let is_target = name == "to a log";
        report.row(if is_target {
            row.verdict(Verdict::at_most(value / bare, TARGET_RATIO, "x"))
        } else {
            row
        });
    }
    let (value, without) =
        (figures.with_secrets.median().as_secs_f64(), figures.alone.median().as_secs_f64());
    let (p95, count) = (figures.with_secrets.p95().as_secs_f64(), figures.with_secrets.count());
    report.row(
        Row::new(
            format!("submit → terminal, to a log, with {SECRETS} secrets"),
            format!("{value:.2} s (p95 {p95:.2}, n {count})"),
        )
        .against(format!("{without:.2} s without"), ratio(value, without))
        .verdict(Verdict::at_most(value / without, TARGET_RATIO_OF_MASKING, "x")),
    );
    let lag = figures.lag.median().as_secs_f64() * 1000.0;
    let behind = format!("{lag:.1} ms, at most {} lines behind", figures.behind);
    report.row(Row::new("follower: last line after the end", behind));
    let followed = per_second(lines, figures.followed.median());
    report.row(Row::new("follower: lines while it is written", rate(followed)));
    let (read, floor) =
        (per_second(lines, figures.read.median()), per_second(lines, figures.read_floor.median()));
    report.row(
        Row::new("reader: lines of a finished log", rate(read))
            .against(format!("{} as bytes", rate(floor)), format!("{:.2} of it", read / floor))
            .verdict(Verdict::at_least(read, TARGET_LINES_PER_SECOND, "/s")),
    );
    let growth = figures.growth_bytes as f64 / f64::from(1 << 20);
    report.row(Row::new("host: growth of its memory", format!("{growth:.1} MiB")).verdict(Verdict::at_most(
        growth,
        TARGET_MEBIBYTES,
        " MiB",
    )));
    report
}

/// The host, in a process of its own, so that its memory is only its own.
struct HostProcess {
    child: Child,
    ask: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl HostProcess {
    fn start(common: &Common, place: &Workplace) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(uv) = common.uv()? {
            command.arg("--uv").arg(uv);
        }
        command.arg("log-host").arg(place.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = child.stdin.take();
        let replies = child.stdout.take().ok_or_else(|| Error::new(ErrorKind::Internal, "no pipe"))?;
        Ok(Self { child, ask, replies: BufReader::new(replies) })
    }

    fn ask(&mut self, what: Ask) -> Result<Reply> {
        let text = serde_json::to_string(&what).map_err(std::io::Error::other)?;
        if let Some(ask) = &mut self.ask {
            writeln!(ask, "{text}")?;
        }
        self.next()
    }

    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| {
            Error::new(ErrorKind::Internal, "the host's process ended or said something else")
                .with("found", line.trim_end())
                .because(error)
        })
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.ask.take());
        let _ = self.child.wait();
    }
}
