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
