//! The pipelines of a catalog, held against each other.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Catalog, CatalogEntry, listing::RESERVED};
use crate::{
    PipelineName,
    pipeline::{Diagnostic, Graph, Pipeline, chain, likeness::nearest},
};

/// How many names that do not exist are compared with all that do.
const MAX_COMPARED: usize = 100;
/// The fields that say what follows what.
const FIELDS: [&str; 2] = ["downstream_triggers", "after"];

impl Catalog {
    /// A catalog of pipelines that have been read one by one, held against each other: those whose end leads to their
    /// own start are broken, and a pipeline or a run configuration that another one names and that is not there is a
    /// warning. Names that are kept for code are left out, with a warning, too.
    ///
    /// ```
    /// use fastflow_core::source::Catalog;
    ///
    /// assert_eq!(Catalog::of(Vec::new(), Vec::new()), Catalog::default());
    /// ```
    pub fn of(mut entries: Vec<CatalogEntry>, mut warnings: Vec<Diagnostic>) -> Self {
        let reserved = entries.extract_if(.., |entry| entry.name.is_code());
        warnings.extend(reserved.map(|entry| Diagnostic::warning(entry.name.as_str(), "", RESERVED)));
        let read: BTreeMap<PipelineName, Option<Arc<Pipeline>>> = entries
            .iter()
            .map(|entry| {
                (entry.name.clone(), entry.pipeline.as_ref().ok().map(|read| Arc::clone(&read.pipeline)))
            })
            .collect();
        let graph =
            Graph::of(read.iter().map(|(name, read)| (name, read.as_deref().map(|read| &read.definition))));
        let circles = graph.circles();
        let mut others = Others { read: &read, near: HashMap::new() };
        for entry in &mut entries {
            let Ok(revised) = &mut entry.pipeline else { continue };
            let mut findings = others.missing(&revised.pipeline);
            if let Some(cycle) = circles.of(&entry.name) {
                let message = format!(
                    "found a circle, in which each one starts the next without end: {}; take one of these steps away",
                    cycle.seen_from(&entry.name)
                );
                findings.insert(0, finding(&revised.pipeline, &FIELDS, None, message, Diagnostic::error));
                findings.splice(0..0, revised.pipeline.warnings.iter().cloned());
                entry.pipeline = Err(findings);
            } else if !findings.is_empty() {
                Arc::make_mut(&mut revised.pipeline).warnings.append(&mut findings);
            }
        }
        Self { entries, warnings, commit: None }
    }
}

/// Whether the end of a run of this pipeline leads to another run of it, by these entries.
pub(super) fn is_in_cycle<'a>(name: &PipelineName, entries: impl Iterator<Item = &'a CatalogEntry>) -> bool {
    let read = entries.filter_map(|entry| Some(&entry.pipeline.as_ref().ok()?.pipeline));
    chain::is_in_cycle(name, read.map(|pipeline| (&pipeline.name, &pipeline.definition)))
}

/// What a pipeline's own text may name.
struct Others<'a> {
    read: &'a BTreeMap<PipelineName, Option<Arc<Pipeline>>>,
    /// Names that are not there, with what they were probably meant to be.
    near: HashMap<PipelineName, Option<&'a str>>,
}

impl Others<'_> {
    /// Warnings of all that the pipeline names and that is not there.
    fn missing(&mut self, pipeline: &Pipeline) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        let mut warn = |field: &str, path: Option<String>, message| {
            findings.push(finding(pipeline, &[field], path, message, Diagnostic::warning));
        };
        for (index, trigger) in pipeline.definition.downstream_triggers.iter().enumerate() {
            let path = |name: &str| Some(format!("downstream_triggers[{index}].{name}"));
            if let Some(message) = self.unknown(&trigger.pipeline, "it starts nothing until there is one") {
                warn(FIELDS[0], path("pipeline"), message);
            }
            let Some(config) = &trigger.run_config_id else { continue };
            let Some(Some(other)) = self.read.get(&trigger.pipeline) else { continue };
            if let Err(error) = other.configured(config) {
                warn(FIELDS[0], path("run_config_id"), error.to_string());
            }
        }
        for first in &pipeline.definition.after {
            if let Some(message) = self.unknown(first, "it never starts by itself until there is one") {
                warn(FIELDS[1], None, message);
            }
        }
        findings
    }

    /// What to say of a name that is no pipeline's.
    fn unknown(&mut self, name: &PipelineName, effect: &str) -> Option<String> {
        if self.read.contains_key(name) {
            return None;
        }
        let is_known = self.near.contains_key(name) || self.near.len() < MAX_COMPARED;
        let names = || self.read.keys().map(PipelineName::as_str);
        let near = is_known
            .then(|| *self.near.entry(name.clone()).or_insert_with(|| nearest(name.as_str(), names())))
            .flatten();
        let advice = near.map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        Some(format!("found \"{name}\", and there is no such pipeline, so {effect}{advice}"))
    }
}

/// A finding at the first of the fields that the pipeline's files have; at the pipeline, if they have none.
fn finding(
    pipeline: &Pipeline,
    fields: &[&str],
    path: Option<String>,
    message: String,
    make: fn(String, String, String) -> Diagnostic,
) -> Diagnostic {
    let place = fields.iter().find_map(|field| Some((field, pipeline.locations.get(*field)?)));
    match place {
        Some((field, place)) => {
            make(place.file.clone(), path.unwrap_or_else(|| (*field).to_owned()), message).at(place.position)
        }
        None => make(pipeline.name.to_string(), String::new(), message),
    }
}
