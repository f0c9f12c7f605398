//! `pipeline.json` and `[tool.fastflow]`: text in, a definition and everything that is wrong out.

mod chain;
mod daemon;
mod env;
mod field;
mod node;
mod parameter;
mod policy;
mod queue;
mod read;
mod report;
mod retry;
mod schedule;
mod secret;

use std::collections::BTreeMap;

use self::{
    field::Fields,
    node::{Kind, Node},
};
pub(super) use self::{node::Place, report::Report};
use super::{Definition, Diagnostic, Location};
use crate::PipelineName;

/// The largest file that is read, in bytes: 1 MiB.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The most levels of lists and objects inside each other.
pub const MAX_DEPTH: usize = 32;

/// Reads a `pipeline.json`: strict JSON (RFC 8259) whose fields `docs/guide/pipeline-json.md` describes.
///
/// All errors of the file come at once. There is a definition exactly when there is no error among the findings.
///
/// ```
/// use fastflow_core::pipeline::parse_manifest;
///
/// let (definition, findings) = parse_manifest("pipeline.json", r#"{"timeout": "abc", "retries": 3}"#);
/// assert!(definition.is_none());
/// assert_eq!(findings.len(), 2);
/// assert!(findings[0].to_string().starts_with("pipeline.json:1:13: timeout: found \"abc\", expected seconds"));
/// ```
pub fn parse_manifest(file_name: &str, text: &str) -> (Option<Definition>, Vec<Diagnostic>) {
    let mut report = Report::new();
    let read = Document::json(&mut report, file_name, text).and_then(|root| root.read(&mut report, None));
    let good = !report.has_errors();
    (read.filter(|_| good).map(|read| read.definition), report.into_diagnostics())
}

/// A definition and where its top-level fields stand.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) definition: Definition,
    pub(super) locations: BTreeMap<String, Location>,
}

/// A parsed text that was not looked into yet.
#[derive(Debug)]
pub(super) struct Document(Node);

impl Document {
    /// Reads JSON.
    pub(super) fn json<'a>(report: &mut Report<'a>, name: &'a str, text: &'a str) -> Option<Self> {
        let file = report.add_file(name, text);
        if text.len() > MAX_FILE_BYTES {
            let message = format!("found {} bytes, expected at most {MAX_FILE_BYTES}", text.len());
            report.error(Place { file, offset: 0 }, "", message);
            return None;
        }
        let node = node::from_json(report, file)?;
        Self::object(report, node)
    }

    /// Reads TOML that is part of `file`: its byte n is the file's byte `shift(n)`.
    pub(super) fn toml(
        report: &mut Report<'_>,
        file: usize,
        toml: &str,
        shift: &dyn Fn(usize) -> usize,
    ) -> Option<Self> {
        let node = node::from_toml(report, file, toml, shift)?;
        Self::object(report, node)
    }

    fn object(report: &mut Report<'_>, node: Node) -> Option<Self> {
        if matches!(node.kind, Kind::Object(_)) {
            return Some(Self(node));
        }
        report.error(node.place, "", format!("found {}, expected an object: {{ … }}", node.found()));
        None
    }

    /// Takes the table at `path` out of the document.
    pub(super) fn take_table(&mut self, report: &mut Report<'_>, path: &[&str]) -> Option<Self> {
        let Kind::Object(members) = &mut self.0.kind else { return None };
        let (first, rest) = path.split_first()?;
        let index = members.iter().position(|member| member.name == *first)?;
        if rest.is_empty() {
            return Self::object(report, members.remove(index).value);
        }
        let inner = &mut members[index].value;
        let mut document = Self(std::mem::replace(inner, Node { kind: Kind::Null, place: inner.place }));
        let table = document.take_table(report, rest);
        members[index].value = document.0;
        table
    }

    /// A string at the top, with its place.
    pub(super) fn text(&self, report: &mut Report<'_>, name: &str, expected: &str) -> Option<(&str, Place)> {
        let value = &self.member(name)?.value;
        if let Kind::Text(text) = &value.kind {
            return Some((text, value.place));
        }
        report.error(value.place, name, format!("found {}, expected {expected}", value.found()));
        None
    }

    /// A list of strings at the top; none when it is missing.
    pub(super) fn texts(&self, report: &mut Report<'_>, name: &str, expected: &str) -> Option<Vec<&str>> {
        let value = &self.member(name)?.value;
        let Kind::List(items) = &value.kind else {
            report.error(value.place, name, format!("found {}, expected {expected}", value.found()));
            return None;
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if let Kind::Text(text) = &item.kind {
                texts.push(text.as_str());
            } else {
                let field = format!("{name}[{index}]");
                report.error(item.place, &field, format!("found {}, expected a string", item.found()));
            }
        }
        Some(texts)
    }

    /// The names at the top, with their places.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Place)> {
        let members = if let Kind::Object(members) = &self.0.kind { members.as_slice() } else { &[] };
        members.iter().map(|member| (member.name.as_str(), member.place))
    }

    fn member(&self, name: &str) -> Option<&node::Member> {
        let Kind::Object(members) = &self.0.kind else { return None };
        members.iter().find(|member| member.name == name)
    }

    /// Adds the fields of `other`. A field that both have is an error.
    pub(super) fn merge(mut self, report: &mut Report<'_>, other: Self) -> Self {
        let (Kind::Object(own), Kind::Object(others)) = (&mut self.0.kind, other.0.kind) else {
            return self;
        };
        let places: BTreeMap<String, Place> =
            own.iter().map(|member| (member.name.clone(), member.place)).collect();
        for member in others {
            match places.get(&member.name) {
                None => own.push(member),
                Some(first) if !report.is_full() => {
                    let place = report.location(*first);
                    let message = format!("is also set at {place}; keep it in one of the two files");
                    report.error(member.place, &member.name, message);
                }
                Some(_) => report.error(member.place, &member.name, ""),
            }
        }
        self
    }

    /// Reads the definition of the pipeline `itself`, where its name is known. Wrong fields go to the report and keep
    /// their default.
    pub(super) fn read(&self, report: &mut Report<'_>, itself: Option<&PipelineName>) -> Option<Read> {
        let mut fields = Fields::open(report, "", &self.0)?;
        let definition = read::definition(report, &mut fields, itself);
        fields.finish(report);
        let located = |(name, place): (&str, Place)| (name.to_owned(), report.location(place));
        // As many as there are fields, however many unknown ones a file holds.
        let known = fields.places().filter(|(name, _)| fields.is_known(name));
        Some(Read { definition, locations: known.map(located).collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names that a reader asks an empty object for.
    fn asked<T>(read: impl FnOnce(&mut Report<'_>, &mut Fields<'_>) -> T) -> BTreeSet<String> {
        let mut report = Report::new();
        let root = Document::json(&mut report, "pipeline.json", "{}").unwrap();
        let mut fields = Fields::open(&mut report, "", &root.0).unwrap();
        read(&mut report, &mut fields);
        fields.known().iter().map(|name| (*name).to_owned()).collect()
    }

    /// What the reader asks for and what the schema describes are the same fields.
    #[test]
    fn the_schema_describes_every_field_that_is_read() {
        let schema = crate::pipeline::manifest_schema();
        let described = |object: &serde_json::Value| -> BTreeSet<String> {
            object["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let of = |name: &str| described(&schema["$defs"][name]);
        let base = crate::pipeline::SchedulePolicy::default();
        assert_eq!(asked(|report, fields| read::definition(report, fields, None)), described(&schema));
        assert_eq!(asked(|report, fields| schedule::entry(report, fields, &base)), of("ScheduleItem"));
        assert_eq!(asked(|report, fields| chain::trigger(report, fields, None)), of("TriggerItem"));
        assert_eq!(asked(parameter::declaration), of("ParameterItem"));
        assert_eq!(asked(policy::daylight), of("Daylight"));
        assert_eq!(asked(policy::catch_up_all), of("CatchUpAll"));
        assert_eq!(asked(retry::memory), of("Escalation"));
        assert_eq!(asked(read::cell), of("CellItem"));
    }
}
