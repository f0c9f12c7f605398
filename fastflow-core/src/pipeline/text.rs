//! Names and keys inside a definition.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The name of one run configuration: an entry of `schedules`, or what a downstream trigger starts.
///
/// ```
/// use fastflow_core::pipeline::ConfigName;
///
/// assert!("nightly".parse::<ConfigName>().is_ok());
/// assert!("".parse::<ConfigName>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigName(Box<str>);

impl ConfigName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 63;
    /// What [`FromStr`] accepts, in words.
    pub const EXPECTED: &'static str =
        "a name of 1 to 63 letters, digits, `_`, `-` or `.` that begins with a letter or digit";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConfigName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let good = text.len() <= Self::MAX_CHARS
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if good {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not a name of a run configuration")
            .with("found", text.escape_debug().take(80).collect::<String>())
            .with("expected", Self::EXPECTED))
    }
}

impl TryFrom<String> for ConfigName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ConfigName> for String {
    fn from(name: ConfigName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The key that opens a pipeline's webhook. It grants a run, so it prints as `WebhookKey(…)` and is never
/// serialized: it is read from the file at each sync and stored with no run.
///
/// ```
/// use fastflow_core::pipeline::WebhookKey;
///
/// assert_eq!(format!("{:?}", WebhookKey::new("0123456789abcdef")), "WebhookKey(…)");
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct WebhookKey(Box<str>);

impl WebhookKey {
    /// The longest key, in characters.
    pub const MAX_CHARS: usize = 256;
    /// A key of fewer characters can be guessed.
    pub const SAFE_CHARS: usize = 16;

    /// Takes a key as it stands in the file.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey(…)")
    }
}
