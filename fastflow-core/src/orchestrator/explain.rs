//! Why a run is where it is: from what was decided and kept, never from a guess.

use std::fmt;

use super::{Runs, Waiting};
use crate::{
    Result, RunId, Timestamp,
    run::{Attempt, AttemptEnd, Decision, Note, Run, RunState},
};

/// Why a run waits, or why it ended as it did. Its text has one line a fact, in the order in which they came.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator, id: fastflow_core::RunId) -> fastflow_core::Result<()> {
/// println!("{}", flow.runs().explain(id).await?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The run.
    pub run: Run,
    /// What it waits for, if it does.
    pub waiting: Option<Waiting>,
    /// Its attempts, first to last.
    pub attempts: Vec<Attempt>,
    /// What was decided about it, in order.
    pub notes: Vec<Note>,
}

impl Runs<'_> {
    /// Why a run waits, or why it ended as it did.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn explain(&self, id: RunId) -> Result<Explanation> {
        let store = &self.ports().store;
        let run = store.run(id).await?;
        let waiting = self.waiting_of(&run).await?;
        let (attempts, notes) = (store.attempts(id).await?, store.notes(id).await?);
        Ok(Explanation { run, waiting, attempts, notes })
    }
}

impl Explanation {
    /// The facts with their times, in order.
    fn facts(&self) -> Vec<(Timestamp, String)> {
        let run = &self.run;
        let mut facts = vec![(run.created_at, format!("submitted: {}", run.origin))];
        for attempt in &self.attempts {
            let number = attempt.id.number;
            facts.push((attempt.claimed_at, format!("attempt {number} was taken on")));
            facts.extend(attempt.started_at.map(|at| (at, format!("attempt {number} began"))));
            let Some((at, end)) = attempt.finished_at.zip(attempt.end.as_ref()) else { continue };
            let how = match end {
                AttemptEnd::Succeeded => "succeeded".to_owned(),
                AttemptEnd::Failed(failure) => format!("failed: {failure}"),
                AttemptEnd::Cancelled => "was cancelled".to_owned(),
                AttemptEnd::NeverStarted => "never started".to_owned(),
            };
            let memory = attempt.report.as_ref().and_then(|report| report.peak_memory_bytes);
            let memory =
                memory.map(|bytes| format!(", with at most {} of memory", crate::pipeline::ByteSize(bytes)));
            facts.push((at, format!("attempt {number} {how}{}", memory.unwrap_or_default())));
        }
        facts.extend(self.notes.iter().map(|note| (note.at, note.to_string())));
        // Those of one instant stay in the order in which they were put in.
        facts.sort_by_key(|(at, _)| *at);
        facts
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        write!(f, "run {} of `{}` is {}", run.id, run.pipeline(), run.status())?;
        match (&self.waiting, &run.state) {
            (Some(waiting), _) => {
                write!(f, ": {waiting}")?;
                if let (Waiting::Until(_), Some(last)) = (waiting, self.attempts.last())
                    && let Some(AttemptEnd::Failed(failure)) = &last.end
                {
                    write!(f, ", since attempt {} failed: {failure}", last.id.number)?;
                }
                if *waiting == Waiting::NoHost && !matches!(run.state, RunState::Queued { .. }) {
                    f.write_str(", and this is as the last one left it")?;
                }
            }
            (None, RunState::Failed(failure)) => write!(f, ": {failure}")?,
            (None, RunState::Cancelled | RunState::Stopping { .. }) => {
                let replaced = |note: &&Note| matches!(note.decision, Decision::ReplacedBy { .. });
                if let Some(note) = self.notes.iter().find(replaced) {
                    write!(f, ": {note}")?;
                }
            }
            (None, _) => {}
        }
        for (at, fact) in self.facts() {
            write!(f, "\n  {at}  {fact}")?;
        }
        Ok(())
    }
}
