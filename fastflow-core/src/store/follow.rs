//! What the end of a run leads to. Pure, and the same for every store.

use std::collections::BTreeSet;

use super::{FollowUp, FollowUpAction};
use crate::{
    PipelineName,
    run::{Decision, NewRun, Origin, Run, RunState},
};

/// What a store knows of one chain of runs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Chain {
    /// The pipelines of which a run of the chain has succeeded.
    pub(crate) succeeded: BTreeSet<PipelineName>,
    /// The pipelines of which the chain has a run that came after others.
    pub(crate) joined: BTreeSet<PipelineName>,
}

impl Chain {
    /// Counts a run of the chain.
    pub(crate) fn add(&mut self, run: &Run) {
        if run.state == RunState::Succeeded {
            self.succeeded.insert(run.pipeline().clone());
        }
        if matches!(run.origin, Origin::Join { .. }) {
            self.joined.insert(run.pipeline().clone());
        }
    }
}

/// What is to be done now that `run` has moved, in the order of its follow-ups.
pub(crate) fn follow(follow_ups: &[FollowUp], run: &Run, chain: &mut Chain) -> Vec<Followed> {
    chain.add(run);
    let mut followed = Vec::new();
    for follow_up in follow_ups.iter().filter(|follow_up| follow_up.on.holds(&run.state)) {
        let new = match &follow_up.action {
            FollowUpAction::Start(new) => new,
            FollowUpAction::Note(decision) => {
                followed.push(Followed::Note(decision.clone()));
                continue;
            }
        };
        let pipeline = &new.spec.pipeline.name;
        if !follow_up.after.is_empty() {
            if chain.joined.contains(pipeline) {
                continue;
            }
            let missing: Vec<_> = follow_up.after.difference(&chain.succeeded).cloned().collect();
            if !missing.is_empty() {
                followed.push(Followed::Note(Decision::JoinWaits { pipeline: pipeline.clone(), missing }));
                continue;
            }
            chain.joined.insert(pipeline.clone());
        }
        let mut new = (**new).clone();
        new.chain = Some(run.chain);
        followed.push(Followed::Start(Box::new(new)));
    }
    followed
}

/// One thing to be done at the end of a run.
#[derive(Debug)]
pub(crate) enum Followed {
    /// Create this run.
    Start(Box<NewRun>),
    /// Keep this in mind.
    Note(Decision),
}
