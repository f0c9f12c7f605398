//! What a program uses, against its soft limits: each crossing is found once, whichever host looks.

use std::path::{Path, PathBuf};

use fastflow_shim::layout;

use super::trace;
use crate::{
    ErrorKind,
    journal::{Journal, Offset, UsageSample},
    pipeline::{ByteSize, Definition, SoftLimitAction},
    run::{Decision, Note, SoftLimit, Symptom},
};

/// The most crossings that are noted of one attempt.
const MAX_NOTES: usize = 100;
/// How much is read in one look: a program can write to the file, too.
const MAX_BATCHES: u32 = 16;
/// How much of its time a program may be held back at its hard limit before that is noted, in thousandths.
const MAX_THROTTLED_MILLIS: u64 = 500;

/// Follows the samples of one attempt.
pub(super) struct SoftLimits {
    run_dir: PathBuf,
    journal: Journal<UsageSample>,
    from: Offset,
    gauges: Vec<Gauge>,
    stops: bool,
    notes_left: usize,
}

/// One limit, and on which side of it the program was last seen.
struct Gauge {
    limit: SoftLimit,
    allowed: u64,
    is_above: bool,
    /// How many crossings an earlier host has noted that are yet to be met in the samples.
    known: usize,
}

/// What one look found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) notes: Vec<Decision>,
    /// For what the program is to be ended.
    pub(super) symptom: Option<Symptom>,
}

impl SoftLimits {
    /// None, where there is nothing to look for.
    pub(super) fn new(definition: &Definition, run_dir: &Path) -> Option<Self> {
        let limits = &definition.limits;
        let throttling = limits.cpu.map(|_| MAX_THROTTLED_MILLIS);
        let gauges: Vec<Gauge> = [
            (SoftLimit::Cpu, limits.soft_cpu.map(|cpu| cpu.0.into())),
            (SoftLimit::Memory, limits.soft_memory.map(ByteSize::bytes)),
            (SoftLimit::Throttling, throttling),
        ]
        .into_iter()
        .filter_map(|(limit, allowed)| Some(Gauge { limit, allowed: allowed?, is_above: false, known: 0 }))
        .collect();
        (!gauges.is_empty()).then(|| Self {
            run_dir: run_dir.to_owned(),
            journal: Journal::new(run_dir.join(layout::USAGE)),
            from: Offset::START,
            gauges,
            stops: definition.health.soft_limit == SoftLimitAction::Stop,
            notes_left: MAX_NOTES,
        })
    }

    /// Takes into account what was noted before. All samples are read again, and the same crossings are found in them.
    pub(super) fn know(&mut self, notes: &[Note], attempt: u32) {
        for note in notes.iter().filter(|note| note.attempt == attempt) {
            let Decision::SoftLimit { limit, .. } = note.decision else { continue };
            self.notes_left = self.notes_left.saturating_sub(1);
            if let Some(gauge) = self.gauges.iter_mut().find(|gauge| gauge.limit == limit) {
                gauge.known += 1;
            }
        }
    }

    /// Reads what is new.
    pub(super) async fn look(&mut self) -> Found {
        let mut found = Found::default();
        for _ in 0..MAX_BATCHES {
            let written = trace::of(&self.run_dir, layout::USAGE).map_or(0, trace::Trace::bytes);
            if written <= self.from.bytes() {
                break;
            }
            match self.journal.read(self.from).await {
                Ok(batch) if batch.records.is_empty() => break,
                Ok(batch) => {
                    self.from = batch.end;
                    for (_, sample) in &batch.records {
                        self.take(sample, &mut found);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let mut context = error.context();
                    let next =
                        context.find(|(key, _)| *key == "next").and_then(|(_, next)| next.parse().ok());
                    // Not by the sandbox, which writes whole lines.
                    let Some(next) = next.filter(|next| *next > self.from) else { break };
                    self.from = next;
                }
                // There is none yet, or it cannot be read now.
                Err(_) => break,
            }
        }
        found
    }

    fn take(&mut self, sample: &UsageSample, found: &mut Found) {
        for gauge in &mut self.gauges {
            let used = match gauge.limit {
                SoftLimit::Cpu => sample.cpu_millis.into(),
                SoftLimit::Memory => sample.memory_bytes,
                SoftLimit::Throttling => sample.throttled_millis.unwrap_or_default().into(),
            };
            let was_above = std::mem::replace(&mut gauge.is_above, used > gauge.allowed);
            if was_above || !gauge.is_above {
                continue;
            }
            if let Some(left) = gauge.known.checked_sub(1) {
                gauge.known = left;
            } else if self.notes_left > 0 {
                self.notes_left -= 1;
                let (limit, allowed) = (gauge.limit, gauge.allowed);
                found.notes.push(Decision::SoftLimit { limit, used, allowed });
            }
            let symptom = match gauge.limit {
                SoftLimit::Cpu => Some(Symptom::SoftCpu),
                SoftLimit::Memory => Some(Symptom::SoftMemory),
                // That is what the hard limit is for.
                SoftLimit::Throttling => None,
            };
            found.symptom = found.symptom.or(symptom.filter(|_| self.stops));
        }
    }
}
