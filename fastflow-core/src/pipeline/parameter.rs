//! The parameters that a pipeline declares, and whether what a caller gives fits them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::EnvName;

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
