//! Reading typed fields out of an object: each wrong one is reported, and the rest is read on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::RangeInclusive,
    str::FromStr,
};

use super::{
    Report,
    node::{Kind, Member, Node, Place},
};
use crate::{Error, pipeline::likeness::nearest};

/// An object's fields, each of which is taken once.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    path: String,
    pub(super) place: Place,
    members: BTreeMap<&'n str, &'n Member>,
    known: BTreeSet<&'static str>,
}

/// One field that is there and is not null.
#[derive(Clone, Debug)]
pub(super) struct Field<'n> {
    pub(super) path: String,
    pub(super) node: &'n Node,
}

impl<'n> Fields<'n> {
    /// The fields of `node`, which must be an object. A name that stands twice is an error.
    pub(super) fn open(report: &mut Report<'_>, path: &str, node: &'n Node) -> Option<Self> {
        let Kind::Object(list) = &node.kind else {
            report.error(node.place, path, format!("found {}, expected an object", node.found()));
            return None;
        };
        let mut members: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in list {
            if let Some(first) = members.get(member.name.as_str()) {
                if report.is_full() {
                    report.error(member.place, path, "");
                    break;
                }
                let place = report.location(first.place);
                let message = format!("found twice; the first one stands at {place}. Keep one of them");
                report.error(member.place, &join(path, &member.name), message);
            } else {
                members.insert(&member.name, member);
            }
        }
        Some(Self { path: path.to_owned(), place: node.place, members, known: BTreeSet::new() })
    }

    /// The field `name`; none when it is missing or null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.known.insert(name);
        let node = &self.members.get(name)?.value;
        (!matches!(node.kind, Kind::Null)).then(|| Field { path: self.path_of(name), node })
    }

    /// Whether the field is there, for rules that look at several.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| !matches!(member.value.kind, Kind::Null))
    }

    /// Where the field's name stands, else the object.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.members.get(name).map_or(self.place, |member| member.place)
    }

    /// Where the object stands in the file's tree.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether anybody asked for `name`.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// The names that anybody asked for.
    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<&'static str> {
        &self.known
    }

    /// The names that are there, with their places.
    pub(super) fn places(&self) -> impl Iterator<Item = (&'n str, Place)> {
        self.members.iter().map(|(name, member)| (*name, member.place))
    }

    /// Reports what nobody asked for.
    pub(super) fn finish(&self, report: &mut Report<'_>) {
        for (name, member) in self.members.iter().filter(|(name, _)| !self.known.contains(*name)) {
            // A dollar sign marks what is for editors, such as "$schema".
            if self.path.is_empty() && name.starts_with('$') {
                continue;
            }
            if report.is_full() {
                report.warning(member.place, &self.path, "");
                break;
            }
            let advice = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "it has no effect here; check its name or remove it".to_owned(),
            };
            let shown: String = name.escape_debug().take(80).collect();
            report.unknown_field(member.place, &join(&self.path, &shown), &advice);
        }
    }
}

impl<'n> Field<'n> {
    pub(super) fn wrong(&self, report: &mut Report<'_>, expected: impl Display) {
        let message = format!("found {}, expected {expected}", self.node.found());
        report.error(self.node.place, &self.path, message);
    }

    /// The same for a field whose value may be secret.
    pub(super) fn wrong_unseen(&self, report: &mut Report<'_>, expected: impl Display) {
        let message = format!("found {}, expected {expected}", self.node.found_kind());
        report.error(self.node.place, &self.path, message);
    }

    pub(super) fn bool(&self, report: &mut Report<'_>) -> Option<bool> {
        if let Kind::Bool(value) = self.node.kind {
            return Some(value);
        }
        self.wrong(report, "true or false");
        None
    }

    pub(super) fn text(&self, report: &mut Report<'_>, expected: &str) -> Option<&'n str> {
        if let Kind::Text(text) = &self.node.kind {
            return Some(text);
        }
        self.wrong(report, expected);
        None
    }

    /// A string that a type reads. What the type's error expects, if it says so, is nearer than `expected`.
    pub(super) fn parsed<T>(&self, report: &mut Report<'_>, expected: &str) -> Option<T>
    where
        T: FromStr<Err = Error>,
    {
        let parsed = self.text(report, expected)?.parse::<T>();
        if let Err(error) = &parsed {
            let nearer = error.context().find(|(key, _)| *key == "expected");
            self.wrong(report, nearer.map_or(expected, |(_, nearer)| nearer));
        }
        parsed.ok()
    }

    /// One of some words, by what it means.
    pub(super) fn choice<T: Copy>(&self, report: &mut Report<'_>, choices: &[(&str, T)]) -> Option<T> {
        let Kind::Text(text) = &self.node.kind else {
            self.wrong(report, alternatives(choices));
            return None;
        };
        let found = choices.iter().find(|(word, _)| word == text);
        if found.is_none() {
            self.wrong(report, alternatives(choices));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A whole number in `range`; `what` says of what.
    pub(super) fn whole<T>(&self, report: &mut Report<'_>, range: RangeInclusive<T>, what: &str) -> Option<T>
    where
        T: Copy + Display + Into<i64> + TryFrom<i64>,
    {
        let (least, most): (i64, i64) = ((*range.start()).into(), (*range.end()).into());
        #[expect(clippy::cast_possible_truncation, reason = "whole, and what is out of range stays so")]
        let number = self.number().filter(|number| number.fract() == 0.0).map(|number| number as i64);
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong(report, format!("{what} as a whole number from {least} to {most}"));
        }
        number.and_then(|number| T::try_from(number).ok())
    }

    /// The number as it stands; none for anything else.
    pub(super) fn number(&self) -> Option<f64> {
        let Kind::Number(text) = &self.node.kind else { return None };
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A list of at most `max` items, each with its own path.
    pub(super) fn list(&self, report: &mut Report<'_>, max: usize, expected: &str) -> Vec<Field<'n>> {
        let Kind::List(nodes) = &self.node.kind else {
            self.wrong(report, expected);
            return Vec::new();
        };
        if nodes.len() > max {
            let message = format!("found {} entries, expected at most {max}", nodes.len());
            report.error(self.node.place, &self.path, message);
            return Vec::new();
        }
        let item = |(index, node)| Field { path: format!("{}[{index}]", self.path), node };
        nodes.iter().enumerate().map(item).collect()
    }

    /// The members of an object whose names are free.
    pub(super) fn entries(&self, report: &mut Report<'_>) -> Vec<(&'n str, Place, Field<'n>)> {
        let Some(fields) = Fields::open(report, &self.path, self.node) else { return Vec::new() };
        let entry = |(name, member): (&&'n str, &&'n Member)| {
            (*name, member.place, Field { path: join(&self.path, name), node: &member.value })
        };
        fields.members.iter().map(entry).collect()
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The words of a choice, as a sentence lists them: `"a", "b" or "c"`.
fn alternatives<T>(choices: &[(&str, T)]) -> String {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}
