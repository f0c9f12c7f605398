//! What the end of one run starts, and what a run follows.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Report, env,
    field::{Field, Fields},
    read,
};
use crate::{
    PipelineName,
    pipeline::{ConfigName, Definition, DownstreamTrigger, EnvName, Parameters},
};

const EXPECTED: &str = "the name of a pipeline";

pub(super) fn triggers(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    itself: Option<&PipelineName>,
) -> Vec<DownstreamTrigger> {
    let Some(field) = fields.take("downstream_triggers") else { return Vec::new() };
    let mut triggers = Vec::new();
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of objects") {
        let Some(mut fields) = Fields::open(report, &item.path, item.node) else { continue };
        triggers.extend(trigger(report, &mut fields, itself));
        fields.finish(report);
    }
    triggers
}

pub(super) fn trigger(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    itself: Option<&PipelineName>,
) -> Option<DownstreamTrigger> {
    let pipeline = fields.take("pipeline");
    if pipeline.is_none() {
        report.error(fields.place, &fields.path_of("pipeline"), format!("missing, expected {EXPECTED}"));
    }
    let pipeline = pipeline.and_then(|field| other(report, &field, itself));
    let on_success = read::flag(report, fields, "on_success", true);
    let on_failure = read::flag(report, fields, "on_failure", false);
    let on_route = fields.take("on_route").and_then(|field| {
        let text = read::bounded_text(report, &field, DownstreamTrigger::MAX_ROUTE_CHARS)?;
        if text.trim().is_empty() {
            field.wrong(report, "the name of a route");
        }
        Some(text)
    });
    let run_config_id =
        fields.take("run_config_id").and_then(|field| field.parsed(report, ConfigName::EXPECTED));
    let parameters = fields.take("parameters").map(|field| parameters(report, &field)).unwrap_or_default();
    if !on_success && !on_failure && on_route.is_none() {
        let message = "starts nothing: set `on_success`, `on_failure` or `on_route`";
        report.warning(fields.place, fields.path(), message);
    }
    let triggered = DownstreamTrigger::on_success_of(pipeline?);
    Some(DownstreamTrigger { on_success, on_failure, on_route, run_config_id, parameters, ..triggered })
}

/// A pipeline that is another one: what starts itself at its end never ends.
fn other(report: &mut Report<'_>, field: &Field<'_>, itself: Option<&PipelineName>) -> Option<PipelineName> {
    let name = field.parsed(report, EXPECTED)?;
    if Some(&name) == itself {
        let advice = "another one: it would start itself without end; `restart_on_crash` keeps one running";
        field.wrong(report, format!("{EXPECTED}, and {advice}"));
        return None;
    }
    Some(name)
}

fn parameters(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<EnvName, String> {
    let max = DownstreamTrigger::MAX_FIELD_CHARS;
    let expected = format!("the name of a field of the output, of 1 to {max} characters on one line");
    let mut parameters = BTreeMap::new();
    let entries = field.entries(report);
    if entries.len() > Parameters::MAX_ENTRIES {
        let message =
            format!("found {} entries, expected at most {}", entries.len(), Parameters::MAX_ENTRIES);
        report.error(field.node.place, &field.path, message);
        return parameters;
    }
    for (name, place, value) in entries {
        let name = env::env_name(report, place, &value.path, name);
        let Some(text) = value.text(report, &expected) else { continue };
        if text.is_empty() || text.chars().count() > max || text.contains(char::is_control) {
            value.wrong(report, &expected);
        } else if let Some(name) = name {
            parameters.insert(name, text.to_owned());
        }
    }
    parameters
}

pub(super) fn after(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    itself: Option<&PipelineName>,
) -> BTreeSet<PipelineName> {
    let mut names = BTreeSet::new();
    let Some(field) = fields.take("after") else { return names };
    for item in field.list(report, Definition::MAX_LIST_ENTRIES, "a list of names of pipelines") {
        let Some(name) = other(report, &item, itself) else { continue };
        if !names.insert(name) {
            report.warning(item.node.place, &item.path, "found this name twice; it counts once");
        }
    }
    names
}
