//! The parameters that a pipeline declares, and whether what a caller gives fits them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EnvName, likeness::nearest};
use crate::{Error, ErrorKind, Result};

/// How many choices a message names.
const MAX_SHOWN_CHOICES: usize = 10;

/// The parameters that a pipeline declares.
///
/// ```
/// use fastflow_core::pipeline::{Parameters, Undeclared};
///
/// assert_eq!(Parameters::default().undeclared, Undeclared::Allow);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// By their names, which are those of environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub declared: BTreeMap<EnvName, ParameterDeclaration>,
    /// Whether a caller may give others.
    pub undeclared: Undeclared,
}

impl Parameters {
    /// The most parameters: of a declaration, and of one run.
    pub const MAX_ENTRIES: usize = 50;
    /// The longest value, in characters.
    pub const MAX_VALUE_CHARS: usize = 16_384;

    /// The parameters of a run: what a caller gave, held against the declarations, with the defaults of the rest.
    ///
    /// # Errors
    ///
    /// `Invalid` for the first parameter, by name, that is not declared though it has to be, does not fit its type, is
    /// none of its choices, or is required and missing. It says what was found, and what is allowed.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use fastflow_core::pipeline::{ParameterDeclaration, ParameterType, Parameters};
    ///
    /// let month = ParameterDeclaration { of_type: ParameterType::Integer, ..ParameterDeclaration::default() };
    /// let parameters =
    ///     Parameters { declared: [("MONTH".parse().unwrap(), month)].into(), ..Parameters::default() };
    /// let error = parameters.check([("MONTH".parse().unwrap(), "May".into())].into()).unwrap_err();
    /// assert!(error.to_string().contains("parameter: MONTH, found: \"May\", expected: a whole number"));
    /// ```
    pub fn check(&self, mut given: BTreeMap<EnvName, String>) -> Result<BTreeMap<EnvName, String>> {
        for (name, value) in &given {
            match self.declared.get(name) {
                Some(declaration) => declaration.check(name, value)?,
                None if self.undeclared == Undeclared::Refuse => return Err(self.not_declared(name)),
                None => {}
            }
        }
        for (name, declaration) in &self.declared {
            if given.contains_key(name) {
                continue;
            }
            if declaration.required {
                return Err(Error::new(ErrorKind::Invalid, "a required parameter is missing")
                    .with("parameter", name)
                    .with("expected", declaration.expected()));
            }
            if let Some(default) = &declaration.default {
                given.insert(name.clone(), default.clone());
            }
        }
        Ok(given)
    }

    fn not_declared(&self, name: &EnvName) -> Error {
        let error =
            Error::new(ErrorKind::Invalid, "the pipeline declares no such parameter, and takes no other")
                .with("parameter", name);
        let known = || self.declared.keys().map(EnvName::as_str);
        match nearest(name.as_str(), known()) {
            Some(near) => error.with("did you mean", near),
            None if self.declared.is_empty() => error.with("expected", "no parameter"),
            None => error.with("expected", known().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// One declared parameter. Programs get it as text, in an environment variable.
///
/// ```
/// use fastflow_core::pipeline::{ParameterDeclaration, ParameterType};
///
/// let month = ParameterDeclaration { required: true, ..ParameterDeclaration::default() };
/// assert_eq!(month.of_type, ParameterType::String);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParameterDeclaration {
    /// What its text must be.
    #[serde(rename = "type")]
    pub of_type: ParameterType,
    /// Shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value where the caller gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether a caller must give it.
    pub required: bool,
    /// The only values it may have; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

impl ParameterDeclaration {
    /// The longest description, in characters.
    pub const MAX_DESCRIPTION_CHARS: usize = 1000;
    /// The most choices.
    pub const MAX_CHOICES: usize = 100;

    fn check(&self, name: &EnvName, value: &str) -> Result<()> {
        let is_choice = self.choices.is_empty() || self.choices.iter().any(|choice| choice == value);
        if is_choice && self.of_type.fits(value) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the value of a parameter does not fit its declaration")
            .with("parameter", name)
            .with("found", shown(value))
            .with("expected", self.expected()))
    }

    /// What its value may be, in words.
    fn expected(&self) -> String {
        if self.choices.is_empty() {
            return self.of_type.expected().to_owned();
        }
        let choices: Vec<String> = self.choices.iter().take(MAX_SHOWN_CHOICES).map(|c| shown(c)).collect();
        match self.choices.len().saturating_sub(MAX_SHOWN_CHOICES) {
            0 => format!("one of {}", choices.join(", ")),
            more => format!("one of {} and {more} others", choices.join(", ")),
        }
    }
}

/// A value as messages show it: on one line, in quotes, and not all of a long one.
fn shown(value: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut escaped = value.escape_debug();
    let start: String = escaped.by_ref().take(MAX_CHARS).collect();
    if escaped.next().is_some() { format!("\"{start}…\"") } else { format!("\"{start}\"") }
}

/// What the text of a parameter must be.
///
/// ```
/// use fastflow_core::pipeline::ParameterType;
///
/// assert_eq!(serde_json::to_string(&ParameterType::Integer).unwrap(), r#""integer""#);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Any text.
    #[default]
    String,
    /// A whole number from -2^63 to 2^63-1, in decimal digits.
    Integer,
    /// A number as JSON writes it.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl ParameterType {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::String, Self::Integer, Self::Number, Self::Boolean];

    /// The type as files name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// What [`fits`](Self::fits) accepts, in words.
    pub fn expected(self) -> &'static str {
        match self {
            Self::String => "a string of at most 16384 characters without NUL",
            Self::Integer => "a whole number from -9223372036854775808 to 9223372036854775807",
            Self::Number => "a number, such as 2, -0.5 or 1e6",
            Self::Boolean => "true or false",
        }
    }

    /// Whether a text is a value of this type. Nothing around it is taken away: programs get it as it is.
    pub fn fits(self, text: &str) -> bool {
        match self {
            Self::String => text.chars().count() <= Parameters::MAX_VALUE_CHARS && !text.contains('\0'),
            Self::Integer => !text.starts_with('+') && text.parse::<i64>().is_ok(),
            Self::Number => {
                let is_bare = !text.contains(|c: char| c.is_ascii_whitespace());
                is_bare && serde_json::from_str::<f64>(text).is_ok_and(f64::is_finite)
            }
            Self::Boolean => matches!(text, "true" | "false"),
        }
    }
}

/// Whether a caller may give parameters that are not declared.
///
/// ```
/// use fastflow_core::pipeline::Undeclared;
///
/// assert_eq!(Undeclared::default(), Undeclared::Allow);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undeclared {
    /// They are passed on.
    #[default]
    Allow,
    /// They are refused.
    Refuse,
}
