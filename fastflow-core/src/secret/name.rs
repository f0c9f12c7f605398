//! What secrets are called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, pipeline::EnvName};

/// The name of a secret: of the variable, or the file, by which programs find it.
///
/// Letters, digits, `_`, `-` and `.`, beginning with a letter or `_`; at most 255 bytes; and no name that decides which
/// code runs ([`EnvName`]).
///
/// ```
/// use fastflow_core::secret::SecretName;
///
/// assert!("DATABASE_URL".parse::<SecretName>().is_ok());
/// assert!("../DATABASE_URL".parse::<SecretName>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(EnvName);

impl SecretName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = EnvName::MAX_BYTES;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The variable by which programs find it.
    pub fn variable(&self) -> &EnvName {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let name: EnvName = text.parse()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if begins && text.bytes().all(plain) {
            return Ok(Self(name));
        }
        Err(Error::new(
            ErrorKind::Invalid,
            "not a name of a secret: letters, digits, `_`, `-` and `.`, beginning with a letter or `_`",
        )
        .with("name", text.escape_debug().take(80).collect::<String>()))
    }
}

impl TryFrom<String> for SecretName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
