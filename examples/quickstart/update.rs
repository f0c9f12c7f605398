//! What the followers of runs tell the screen.

use std::path::PathBuf;

use fastflow_core::{
    RunId,
    journal::{LogLine, UsageSample},
    run::{Attempt, Run},
};

/// News of one pipeline.
#[derive(Debug)]
pub(crate) struct Update {
    /// The pipeline's place in the list.
    pub(crate) pipeline: usize,
    /// What is new.
    pub(crate) news: News,
}

/// What is new.
#[derive(Debug)]
pub(crate) enum News {
    /// Its run exists.
    Accepted {
        /// The run.
        run: RunId,
        /// Whether an earlier process left it.
        earlier: bool,
    },
    /// Its program runs.
    Started,
    /// A line of its log.
    Line(LogLine),
    /// What it uses.
    Usage(UsageSample),
    /// It ended.
    Ended(Box<Outcome>),
    /// It could not be run or followed.
    Refused(String),
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The run in its final state.
    pub(crate) run: Run,
    /// Its last attempt, unless it ended before the first.
    pub(crate) attempt: Option<Attempt>,
    /// Where the files are that it left.
    pub(crate) directory: Option<PathBuf>,
}
