//! What master keys are called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, hex::hex};

/// Which master key something is sealed with: a number that follows from the key, and from which the key does not follow.
///
/// ```
/// use fastflow_core::secret::MasterKeyId;
///
/// let id: MasterKeyId = "00112233445566778899aabbccddeeff".parse().unwrap();
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// assert_eq!(format!("{id:?}"), "MasterKeyId(00112233445566778899aabbccddeeff)");
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MasterKeyId([u8; Self::BYTES]);

impl MasterKeyId {
    /// How many bytes it has.
    pub(crate) const BYTES: usize = 16;

    /// The id of these bytes.
    pub(crate) const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeyId({self})")
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for MasterKeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Invalid, "not the id of a master key: 32 hexadecimal digits")
                .with("found", text.escape_debug().take(80).collect::<String>())
        };
        if text.len() != 2 * Self::BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| wrong())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for MasterKeyId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<MasterKeyId> for String {
    fn from(id: MasterKeyId) -> Self {
        id.to_string()
    }
}
