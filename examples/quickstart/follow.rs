//! Runs one pipeline and tells what happens.

use std::time::Duration;

use fastflow_core::{
    Clock as _, Orchestrator, Result, RunId, Submission, SystemClock,
    journal::Offset,
    run::{Run, Status},
};
use futures::StreamExt as _;
use tokio::sync::mpsc::Sender;

use crate::update::{News, Outcome, Update};

/// How often a run is looked at until its program has begun.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Tells the news of one pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    /// The pipeline's place in the list.
    pub(crate) pipeline: usize,
    /// Who listens.
    pub(crate) updates: Sender<Update>,
}

impl Teller {
    /// Tells, and waits while the listener is busy.
    async fn tell(&self, news: News) {
        // A listener that has gone wants to know no more.
        let _ = self.updates.send(Update { pipeline: self.pipeline, news }).await;
    }
}

/// What to run.
#[derive(Debug)]
pub(crate) enum Work {
    /// A new run.
    New(Submission),
    /// One that an earlier process left.
    Earlier(RunId),
}

/// Follows a run from its submission to its end.
pub(crate) async fn follow(flow: Orchestrator, work: Work, teller: Teller) {
    let news = match accept(&flow, work, &teller).await {
        Ok(id) => {
            let ended = async {
                tell_lines(&flow, id, &teller).await?;
                outcome(&flow, flow.runs().wait(id).await?).await
            };
            tokio::select! {
                ended = ended => ended,
                error = tell_usage(&flow, id, &teller) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    let news = match news {
        Ok(outcome) => News::Ended(Box::new(outcome)),
        Err(error) => News::Refused(error.to_string()),
    };
    teller.tell(news).await;
}

async fn accept(flow: &Orchestrator, work: Work, teller: &Teller) -> Result<RunId> {
    let (run, earlier) = match work {
        Work::New(submission) => (flow.submit(submission).await?.id, false),
        Work::Earlier(run) => (run, true),
    };
    teller.tell(News::Accepted { run, earlier }).await;
    Ok(run)
}

async fn tell_lines(flow: &Orchestrator, id: RunId, teller: &Teller) -> Result<()> {
    let mut lines = flow.runs().follow(id);
    while let Some(line) = lines.next().await {
        teller.tell(News::Line(line?.line)).await;
    }
    Ok(())
}

/// Tells what each attempt uses from its start on. Ends only with an error: the run ends first.
async fn tell_usage(flow: &Orchestrator, id: RunId, teller: &Teller) -> fastflow_core::Error {
    let clock = SystemClock::new();
    let mut last = None;
    loop {
        let run = match flow.runs().get(id).await {
            Ok(run) => run,
            Err(error) => return error,
        };
        match run.attempt_id() {
            Some(attempt) if run.status() == Status::Running && last != Some(attempt) => {
                teller.tell(News::Started).await;
                let mut samples = flow.runs().usage(attempt, Offset::START);
                while let Some(sample) = samples.next().await {
                    match sample {
                        Ok((_, sample)) => teller.tell(News::Usage(sample)).await,
                        Err(error) => return error,
                    }
                }
                last = Some(attempt);
            }
            _ => clock.sleep(LOOK_INTERVAL).await,
        }
    }
}

async fn outcome(flow: &Orchestrator, run: Run) -> Result<Outcome> {
    let attempt = flow.runs().attempts(run.id).await?.pop();
    let directory = match &attempt {
        Some(attempt) => Some(flow.runs().directory(attempt.id).await?.join("work")),
        None => None,
    };
    Ok(Outcome { run, attempt, directory })
}
