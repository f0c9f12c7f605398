//! One attempt, from the guard to the exit record.

use std::{
    io,
    time::{Duration, Instant},
};

use fastflow_shim::{ExitRecord, LogSummary, Order, Outcome, Reply, StopCause, Timestamp, clock, proc};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitStatus},
};

use crate::{
    args::ReplyTo,
    delivery::Delivered,
    dumps, leftovers,
    log::Log,
    masking::Masking,
    meter::{self, Meter},
    output,
    program::{self, Program, SecretEnvironment},
    report::Reserve,
    signal::{Signals, Wish},
    streams::Streams,
    tree::{self, Tree},
};

/// How long descendants may take to vanish after SIGKILL. One that the kernel cannot end outlives this.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How often SIGKILL is repeated, for those that were just being forked.
const KILL_INTERVAL: Duration = Duration::from_millis(5);
/// How often, while the program itself does not die of it.
const PROGRAM_KILL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the pipes may stay open when all who could write to them should be gone.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// The longest sleep, when nothing is due.
const MAX_SLEEP: Duration = Duration::from_mins(1);

/// Runs the attempt whose guard this process has just taken. An error means that there is no exit record.
pub(crate) fn attempt(mut order: Order, signals: Signals, reply: &ReplyTo) -> io::Result<()> {
    let (started_at, started) = (clock::now(), clock::instant());
    let give_up = |order: &Order, reserve: io::Result<Reserve>, outcome: Outcome| {
        let record = never_started(order, outcome.clone(), started_at);
        let published = reserve.and_then(|reserve| reserve.publish(record));
        if let Outcome::ExecFailed { errno, message } = outcome {
            output::reply(reply, &Reply::ExecFailed { errno, message });
        }
        published
    };
    let reserve = match Reserve::take(&order.run_dir) {
        Ok(reserve) => reserve,
        // There may be just enough room to say that there is not enough.
        Err(error) => {
            let outcome = program::failed("cannot write the exit record", &error);
            return give_up(&order, Reserve::without_room(&order.run_dir), outcome);
        }
    };
    let Started { log, program, masking, delivered } = match start(&mut order) {
        Ok(started) => started,
        Err(outcome) => return give_up(&order, Ok(reserve), outcome),
    };
    let started_reply = Reply::Started {
        pid: std::process::id(),
        start_time_ticks: proc::start_time_ticks(std::process::id()).unwrap_or(0),
        boot_id: proc::boot_id().unwrap_or_default(),
        program_pid: program.pid.as_raw_nonzero().get().unsigned_abs(),
    };
    output::reply(reply, &started_reply);
    let tree = Tree::new(order.cgroups.clone());
    let supervisor = Supervisor {
        signals,
        program: program.pid,
        streams: Streams::new(program, &masking),
        masking,
        delivered,
        log,
        meter: Meter::new(&order.run_dir, order.usage.clone(), &order.cgroups),
        tree: &tree,
        deadline: order.timeout_ms.and_then(|timeout| started.checked_add(Duration::from_millis(timeout))),
        grace: Duration::from_millis(order.stop_grace_ms),
        stop: None,
    };
    // A program that nobody watches must not run on.
    let record = supervisor.run(&order, started_at, started).inspect_err(|_| tree.kill())?;
    reserve.publish(record)
}

/// A program that runs, and what is needed to watch it.
struct Started {
    log: Log,
    program: Program,
    masking: Masking,
    delivered: Option<Delivered>,
}

/// Starts the program, with the secrets of the order, which has none afterwards. What was made of them is gone where this
/// fails.
fn start(order: &mut Order) -> Result<Started, Outcome> {
    let variables = std::mem::take(&mut order.secret_env);
    let files = order.secret_files.take();
    let named = variables.iter().chain(files.iter().flat_map(|files| &files.files));
    let masking = Masking::new(named)
        .map_err(|error| Outcome::ExecFailed { errno: None, message: error.to_string() })?;
    let started = (|| {
        let mut log = Log::open(&order.run_dir, &order.log)
            .map_err(|error| program::failed("cannot write the log", &error))?;
        let delivered = files.as_ref().map(Delivered::make).transpose()?;
        let folder = delivered.as_ref().map(|delivered| delivered.path().to_owned());
        let program = program::start(order, &SecretEnvironment { variables, folder })?;
        masking.warn(&mut log);
        Ok((log, program, delivered))
    })();
    match started {
        Ok((log, program, delivered)) => {
            dumps::hide_memory();
            Ok(Started { log, program, masking, delivered })
        }
        Err(Outcome::ExecFailed { errno, message }) => {
            Err(Outcome::ExecFailed { errno, message: masking.text(&message).into_owned() })
        }
        Err(other) => Err(other),
    }
}

fn never_started(order: &Order, outcome: Outcome, at: Timestamp) -> ExitRecord {
    ExitRecord {
        attempt: order.attempt.clone(),
        outcome,
        stopped_by: None,
        oom_kills: 0,
        cpu_user_us: 0,
        cpu_system_us: 0,
        peak_memory_bytes: None,
        started_at: at,
        ended_at: clock::now(),
        duration_us: 0,
        log: LogSummary { complete: true, ..LogSummary::default() },
    }
}

struct Supervisor<'a> {
    signals: Signals,
    program: Pid,
    streams: Streams,
    masking: Masking,
    delivered: Option<Delivered>,
    log: Log,
    meter: Meter,
    tree: &'a Tree,
    deadline: Option<Instant>,
    grace: Duration,
    stop: Option<Stop>,
}

/// A stop that was begun.
#[derive(Debug)]
struct Stop {
    cause: StopCause,
    /// When the tree is killed, for the first time or again.
    kill_at: Instant,
}

impl Supervisor<'_> {
    fn run(mut self, order: &Order, started_at: Timestamp, started: Instant) -> io::Result<ExitRecord> {
        let status = self.until_end()?;
        let (ended_at, ended) = (clock::now(), clock::instant());
        self.clear_tree()?;
        if let Some(Err(error)) = self.delivered.take().map(Delivered::remove) {
            self.log.say(&format!("the folder with the secrets cannot be removed: {error}"));
        }
        let whole = self.drain()?;
        leftovers::mask(&order.mask.files, &order.working_dir, &mut self.masking, &mut self.log);
        self.meter.finish();
        let (cpu_user_us, cpu_system_us) = meter::children_cpu()?;
        let masked = self.masking.masked() + self.streams.masked();
        Ok(ExitRecord {
            attempt: order.attempt.clone(),
            outcome: outcome(status),
            stopped_by: self.stop.map(|stop| stop.cause),
            oom_kills: self.meter.oom_kills(),
            cpu_user_us,
            cpu_system_us,
            peak_memory_bytes: self.meter.peak_bytes(),
            started_at,
            ended_at,
            duration_us: u64::try_from(ended.duration_since(started).as_micros()).unwrap_or(u64::MAX),
            log: self.log.finish(whole, masked),
        })
    }

    /// Serves everything until the program itself has ended.
    fn until_end(&mut self) -> io::Result<WaitStatus> {
        loop {
            let now = clock::instant();
            let due = [
                self.stop.as_ref().map_or(self.deadline, |stop| Some(stop.kill_at)),
                Some(self.meter.next()),
            ];
            let sleep =
                due.into_iter().flatten().min().map_or(MAX_SLEEP, |at| at.saturating_duration_since(now));
            self.turn(sleep)?;
            // Read before children are asked after, or the word of one that ends in between would be lost.
            let wishes = self.signals.drain()?;
            // A program that has ended by itself was not stopped.
            if let Some(status) = tree::reap(self.program)?.program {
                return Ok(status);
            }
            for wish in wishes {
                self.hear(wish);
            }
            let now = clock::instant();
            self.keep_time(now);
            self.meter.sample_if_due(now);
        }
    }

    fn hear(&mut self, wish: Wish) {
        match (wish, &mut self.stop) {
            (Wish::Stop, Some(stop)) => stop.cause = StopCause::Request,
            (Wish::Stop, None) => self.begin_stop(StopCause::Request, "a stop was requested"),
            (Wish::Kill, _) => {
                self.log.say("a kill was requested");
                self.stop = Some(Stop { cause: StopCause::Request, kill_at: clock::instant() });
            }
        }
    }

    fn begin_stop(&mut self, cause: StopCause, why: &str) {
        self.log.say(&format!(
            "{why}: SIGTERM now, SIGKILL for all that is left in {} ms",
            self.grace.as_millis()
        ));
        // The program is not waited for yet, so the number is still its own.
        let _ = rustix::process::kill_process(self.program, Signal::TERM);
        let now = clock::instant();
        self.stop = Some(Stop { cause, kill_at: now.checked_add(self.grace).unwrap_or(now) });
    }

    fn keep_time(&mut self, now: Instant) {
        if self.stop.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.begin_stop(StopCause::Timeout, "the program has run as long as it may");
        }
        if let Some(stop) = self.stop.as_mut().filter(|stop| stop.kill_at <= now) {
            stop.kill_at = now + PROGRAM_KILL_INTERVAL;
            self.tree.kill();
        }
    }

    /// The program has ended: nothing of it may stay.
    fn clear_tree(&mut self) -> io::Result<()> {
        let end = clock::instant() + KILL_LIMIT;
        loop {
            if tree::reap(self.program)?.none_left && !self.tree.has_members() {
                return Ok(());
            }
            self.tree.kill();
            if clock::instant() >= end {
                self.log.say("processes that the kernel cannot end were left behind");
                return Ok(());
            }
            self.turn(KILL_INTERVAL)?;
            self.signals.drain()?;
        }
    }

    /// Reads the pipes to their ends. `false` when somebody still holds one open.
    fn drain(&mut self) -> io::Result<bool> {
        let end = clock::instant() + DRAIN_LIMIT;
        while self.streams.is_open() {
            let left = end.saturating_duration_since(clock::instant());
            if left.is_zero() {
                self.log.say("somebody still holds the program's output open: the rest is not read");
                self.streams.end(&mut self.masking, &mut self.log);
                return Ok(false);
            }
            self.turn(left)?;
            self.signals.drain()?;
        }
        Ok(true)
    }

    /// Sleeps until something happens, at most for `limit`, then serves the streams and the log.
    fn turn(&mut self, limit: Duration) -> io::Result<()> {
        let now = clock::instant();
        let wakes = self.streams.wakes_at(now).into_iter().chain(self.log.retry_at()).min();
        let sleep = wakes.map_or(limit, |at| limit.min(at.saturating_duration_since(now)));
        let timeout = Timespec::try_from(sleep).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut watched = Vec::with_capacity(2);
        for (stream, pipe) in self.streams.watched(now) {
            watched.push(stream);
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))?;
        let ready = watched.into_iter().zip(&fds[1..]).find(|(_, fd)| !fd.revents().is_empty());
        let ready = ready.map(|(stream, _)| stream);
        self.streams.serve(ready, &mut self.masking, &mut self.log);
        self.log.flush();
        Ok(())
    }
}

fn outcome(status: WaitStatus) -> Outcome {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Outcome::Exited { code },
        (None, Some(signal)) => Outcome::Signaled { signal },
        // The kernel reports an end as one of these two.
        (None, None) => Outcome::Signaled { signal: status.as_raw() },
    }
}
