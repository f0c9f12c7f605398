//! Whether a running program is healthy, by the files that it and its sandbox write.
//!
//! Times of files are wall time, which may jump, and programs can give their files any. So what is counted is time that
//! never jumps, since this host last saw a file change. Only what went before it took an attempt over is read from the
//! files' times.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    time::Duration,
};

use fastflow_shim::layout;
use tokio::sync::oneshot;

use super::{
    Ports, notes,
    soft_limits::SoftLimits,
    supervisor::Origin,
    trace::{self, Trace},
};
use crate::{
    Timestamp,
    layout::{HEARTBEAT_FILE, WORK_DIR},
    pipeline::{HealthPolicy, Seconds},
    run::{Run, Symptom},
};

/// Where a program's output goes: what outgrows the log, to its tail.
const OUTPUT: [&str; 3] = [layout::LOG, layout::LOG_TAIL[0], layout::LOG_TAIL[1]];
/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The most that counts of the time between two looks: what held this host up may have held up the program, too.
const MAX_STEP: Duration = Duration::from_secs(5);

/// Watches over one attempt until it is to be ended, and says why; or until its program has ended by itself, which
/// `over` tells by being dropped. Notes what it only has to note. Where nothing is asked for, it costs nothing.
pub(super) async fn watch(
    ports: &Ports,
    run: &Run,
    origin: Origin,
    mut over: oneshot::Receiver<Infallible>,
) -> Option<Symptom> {
    let Some(mut monitor) = Monitor::new(ports, run, origin).await else {
        let _ = over.await;
        return None;
    };
    let mut before = ports.clock.elapsed();
    loop {
        tokio::select! {
            _ = &mut over => {
                // What it did since the last look counts, too; but nobody can end it any more.
                monitor.note_usage().await;
                return None;
            }
            () = ports.clock.sleep(LOOK_INTERVAL) => {}
        }
        let now = ports.clock.elapsed();
        let step = now.saturating_sub(before).min(MAX_STEP);
        before = now;
        if let Some(symptom) = monitor.look(step).await {
            return Some(symptom);
        }
    }
}

struct Monitor<'a> {
    ports: &'a Ports,
    run: &'a Run,
    silences: Vec<Silence>,
    soft_limits: Option<SoftLimits>,
}

impl<'a> Monitor<'a> {
    /// None, where nothing is asked for.
    async fn new(ports: &'a Ports, run: &'a Run, origin: Origin) -> Option<Self> {
        let definition = &run.spec.pipeline.definition;
        let executor = ports.executors.get(&run.spec.executor).ok()?;
        if !executor.capabilities().output {
            return None;
        }
        let attempt = run.attempt_id()?;
        let run_dir = ports.data.attempt_dir(run.pipeline(), attempt);
        let mut silences = silences(&definition.health, &run_dir);
        if origin == Origin::TakenOver {
            let began = trace::of(&run_dir, layout::GUARD);
            let now = ports.clock.now();
            for silence in &mut silences {
                silence.begin(began.and_then(|began| began.age(now)), now);
            }
        }
        let mut soft_limits = SoftLimits::new(definition, &run_dir);
        if let Some(limits) = soft_limits.as_mut().filter(|_| origin == Origin::TakenOver) {
            limits.know(&notes::of(ports, run).await, run.attempt);
        }
        let idle = silences.is_empty() && soft_limits.is_none();
        (!idle).then_some(Self { ports, run, silences, soft_limits })
    }

    async fn look(&mut self, step: Duration) -> Option<Symptom> {
        if let Some(symptom) = self.note_usage().await {
            return Some(symptom);
        }
        self.silences.iter_mut().find_map(|silence| silence.look(step).then_some(silence.symptom))
    }

    /// Notes which soft limits were crossed, and says for which the program is to be ended.
    async fn note_usage(&mut self) -> Option<Symptom> {
        let found = self.soft_limits.as_mut()?.look().await;
        for decision in found.notes {
            notes::keep(self.ports, self.run, decision).await;
        }
        found.symptom
    }
}

fn silences(policy: &HealthPolicy, run_dir: &Path) -> Vec<Silence> {
    let silence = |limit: Option<Seconds>, symptom, dir: PathBuf, names: &'static [&'static str]| {
        limit.map(|limit| Silence::new(limit.duration(), symptom, dir, names))
    };
    [
        silence(policy.no_output_timeout, Symptom::NoOutput, run_dir.to_owned(), &OUTPUT),
        silence(policy.heartbeat_timeout, Symptom::NoHeartbeat, run_dir.join(WORK_DIR), &[HEARTBEAT_FILE]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How long files have been left as they are.
struct Silence {
    limit: Duration,
    symptom: Symptom,
    dir: PathBuf,
    names: &'static [&'static str],
    seen: Vec<Option<Trace>>,
    lasts: Duration,
}

impl Silence {
    fn new(limit: Duration, symptom: Symptom, dir: PathBuf, names: &'static [&'static str]) -> Self {
        let mut silence = Self { limit, symptom, dir, names, seen: Vec::new(), lasts: Duration::ZERO };
        silence.seen = silence.traces();
        silence
    }

    fn traces(&self) -> Vec<Option<Trace>> {
        self.names.iter().map(|name| trace::of(&self.dir, name)).collect()
    }

    /// Counts what went before: since the newest of the files, or since the program began `began` ago.
    fn begin(&mut self, began: Option<Duration>, now: Timestamp) {
        let ages = self.seen.iter().flatten().filter_map(|trace| trace.age(now));
        self.lasts = ages.chain(began).min().unwrap_or_default();
    }

    /// Whether it lasts too long.
    fn look(&mut self, step: Duration) -> bool {
        let found = self.traces();
        if found != self.seen {
            self.seen = found;
            self.lasts = Duration::ZERO;
            return false;
        }
        self.lasts = self.lasts.saturating_add(step);
        self.lasts >= self.limit
    }
}
