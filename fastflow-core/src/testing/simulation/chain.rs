//! What the ends of runs are to lead to, by what their pipelines say.

use std::collections::BTreeSet;

use super::store::SimStore;
use crate::{
    PipelineName, Result, RunId,
    run::Run,
    store::{FollowOn, FollowUp, FollowUpAction, Store as _},
};

/// One rule of a plan: the end of a run of one pipeline leads to a run of another.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) pipeline: PipelineName,
    pub(super) on: FollowOn,
    pub(super) after: BTreeSet<PipelineName>,
}

/// The rules for the ends of a pipeline's runs.
pub(super) fn rules(plan: &super::plan::Plan, of: &PipelineName) -> Vec<Rule> {
    let mut rules = Vec::new();
    for trigger in plan.specs.get(of).iter().flat_map(|spec| &spec.pipeline.definition.downstream_triggers) {
        let on = match (trigger.on_success, trigger.on_failure) {
            (true, false) => FollowOn::Success,
            (false, true) => FollowOn::Failure,
            _ => FollowOn::Any,
        };
        rules.push(Rule { pipeline: trigger.pipeline.clone(), on, after: BTreeSet::new() });
    }
    for (name, spec) in &plan.specs {
        let after = &spec.pipeline.definition.after;
        if after.contains(of) {
            rules.push(Rule { pipeline: name.clone(), on: FollowOn::Success, after: after.clone() });
        }
    }
    rules
}

/// Does what the end of a run leads to as a host would that has no transaction for it: one call after the other.
pub(super) async fn follow_late(store: &SimStore, follow_ups: &[FollowUp], run: RunId) -> Result<()> {
    let run: Run = store.run(run).await?;
    for follow_up in follow_ups.iter().filter(|follow_up| follow_up.on.holds(&run.state)) {
        if let (FollowUpAction::Start(new), true) = (&follow_up.action, follow_up.after.is_empty()) {
            let mut new = (**new).clone();
            new.chain = Some(run.chain);
            // A full pipeline refuses it, which is as it should be.
            let _ = store.create_run(new).await;
        }
    }
    Ok(())
}
