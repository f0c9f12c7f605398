//! What is wrong with a file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is.
///
/// ```
/// assert_eq!(fastflow_core::pipeline::Severity::Error.to_string(), "error");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Odd, and worth a look; the pipeline runs.
    Warning,
    /// The pipeline cannot run until this is put right.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A place in a text file. Both numbers begin at 1; columns count characters.
///
/// ```
/// use fastflow_core::pipeline::Position;
///
/// let text = "{\n  \"a\": 1}";
/// assert_eq!(Position::at(text, 4), Position { line: 2, column: 3 });
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The place of the byte `offset` in `text`; an offset behind the end is the end.
    pub fn at(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: count(before.bytes().filter(|byte| *byte == b'\n').count()),
            column: count(before[line_start..].chars().count()),
        }
    }
}

/// A place in one of a pipeline's files.
///
/// ```
/// use fastflow_core::pipeline::{Location, Position};
///
/// let place = Location { file: "pipeline.json".into(), position: Position { line: 4, column: 17 } };
/// assert_eq!(place.to_string(), "pipeline.json:4:17");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// The file, relative to the pipeline's folder.
    pub file: String,
    /// The place in it.
    pub position: Position,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.position.line, self.position.column)
    }
}

/// One thing that is wrong with, or odd about, a pipeline's files.
///
/// ```
/// use fastflow_core::pipeline::{Diagnostic, Position};
///
/// let wrong = Diagnostic::error("pipeline.json", "timeout", "found \"abc\", expected whole seconds")
///     .at(Position { line: 4, column: 17 });
/// assert_eq!(wrong.to_string(), "pipeline.json:4:17: timeout: found \"abc\", expected whole seconds");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder it is about, relative to the pipeline's folder or to the folder of pipelines.
    pub file: String,
    /// The place in that file, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The field, such as `retry_strategy.delay` or `schedules[1].id`; empty when it is about the whole file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What was found, what is allowed, and what to do.
    pub message: String,
}

impl Diagnostic {
    /// A reason why a pipeline cannot run.
    pub fn error(file: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, file, field, message)
    }

    /// Something odd.
    pub fn warning(file: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, file, field, message)
    }

    fn new(
        severity: Severity,
        file: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity, file: file.into(), position: None, field: field.into(), message: message.into() }
    }

    /// The same, at a place in the file.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Whether the pipeline cannot run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(position) = self.position {
            write!(f, ":{}:{}", position.line, position.column)?;
        }
        f.write_str(": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
