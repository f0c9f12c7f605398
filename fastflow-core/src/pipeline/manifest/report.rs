//! What is wrong, collected while a file is read.

use std::collections::BTreeSet;

use super::node::Place;
use crate::pipeline::{Diagnostic, Location, Position, Severity};

/// The files that are read, and what was found wrong with them.
#[derive(Debug)]
pub(in crate::pipeline) struct Report<'a> {
    files: Vec<(&'a str, &'a str)>,
    diagnostics: Vec<Diagnostic>,
    dropped: BTreeSet<usize>,
    unknown: Severity,
}

impl<'a> Report<'a> {
    /// The most findings of one report: enough to work on, and no flood.
    pub(in crate::pipeline) const MAX_DIAGNOSTICS: usize = 200;

    pub(in crate::pipeline) fn new() -> Self {
        Self {
            files: Vec::new(),
            diagnostics: Vec::new(),
            dropped: BTreeSet::new(),
            unknown: Severity::Warning,
        }
    }

    /// The same, where nobody would see a warning about a field that is unknown.
    pub(in crate::pipeline) fn that_refuses_unknown_fields() -> Self {
        Self { unknown: Severity::Error, ..Self::new() }
    }

    /// Adds a file; the number names it from now on.
    pub(in crate::pipeline) fn add_file(&mut self, name: &'a str, text: &'a str) -> usize {
        self.files.push((name, text));
        self.files.len() - 1
    }

    pub(super) fn text(&self, file: usize) -> &'a str {
        self.files[file].1
    }

    pub(super) fn location(&self, place: Place) -> Location {
        let (name, text) = self.files[place.file];
        Location { file: name.to_owned(), position: Position::at(text, place.offset) }
    }

    pub(in crate::pipeline) fn error(&mut self, place: Place, field: &str, message: impl Into<String>) {
        self.add(place, field, |file, field| Diagnostic::error(file, field, message));
    }

    pub(in crate::pipeline) fn warning(&mut self, place: Place, field: &str, message: impl Into<String>) {
        self.add(place, field, |file, field| Diagnostic::warning(file, field, message));
    }

    /// A field that nobody asked for. `advice` says what to do.
    pub(in crate::pipeline) fn unknown_field(&mut self, place: Place, field: &str, advice: &str) {
        let message = format!("unknown field: {advice}");
        match self.unknown {
            Severity::Warning => self.warning(place, field, message),
            Severity::Error => self.error(place, field, message),
        }
    }

    fn add(&mut self, place: Place, field: &str, finding: impl FnOnce(String, String) -> Diagnostic) {
        if self.diagnostics.len() < Self::MAX_DIAGNOSTICS {
            let Location { file, position } = self.location(place);
            self.diagnostics.push(finding(file, field.to_owned()).at(position));
        } else if self.dropped.insert(place.file) {
            let name = self.files[place.file].0;
            let message = format!("there is more; the first {} findings are shown", Self::MAX_DIAGNOSTICS);
            // An error, because what is not shown may be one.
            self.diagnostics.push(Diagnostic::error(name, "", message));
        }
    }

    /// Whether further findings are dropped, so that a hostile file does not cost the work of making them.
    pub(super) fn is_full(&self) -> bool {
        self.diagnostics.len() >= Self::MAX_DIAGNOSTICS
    }

    pub(in crate::pipeline) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// The findings in the order of the files.
    pub(in crate::pipeline) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        let order = |name: &str| self.files.iter().position(|(file, _)| *file == name);
        self.diagnostics.sort_by_key(|found| (order(&found.file), found.position.is_none(), found.position));
        self.diagnostics
    }
}
