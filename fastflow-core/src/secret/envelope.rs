//! A sealed value as it is stored.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, hex::hex};

/// The bytes of a key's id.
const KEY_ID_BYTES: usize = 16;
/// Version, key id, salt, nonce and tag: what is there even of an empty value.
const MIN_BYTES: usize = 1 + KEY_ID_BYTES + 32 + 12 + 16;
/// The only version there is.
const VERSION: u8 = 1;

/// Which master key something is sealed with: a number that follows from the key, and from which the key does not follow.
///
/// ```
/// use fastflow_core::secret::MasterKeyId;
///
/// let id: MasterKeyId = "00112233445566778899aabbccddeeff".parse().unwrap();
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MasterKeyId([u8; KEY_ID_BYTES]);

impl MasterKeyId {
    /// The id of these bytes.
    pub(crate) const fn from_bytes(bytes: [u8; KEY_ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_ID_BYTES] {
        &self.0
    }
}

/// A sealed value: `version (1) | key id (16) | salt (32) | nonce (12) | ciphertext | tag (16)`.
///
/// ```
/// use fastflow_core::secret::Envelope;
///
/// assert!(Envelope::from_bytes(vec![1; 77]).is_ok());
/// assert!(Envelope::from_bytes(vec![1; 76]).is_err());
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Envelope(Box<[u8]>);

impl Envelope {
    /// Takes the bytes as an envelope, if that is what they look like.
    ///
    /// # Errors
    ///
    /// `Invalid` for too few of them; `Unsupported` for another version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() < MIN_BYTES {
            return Err(Error::new(ErrorKind::Invalid, "a sealed value is cut short")
                .with("bytes", bytes.len())
                .with("at_least", MIN_BYTES));
        }
        if bytes[0] != VERSION {
            return Err(Error::new(ErrorKind::Unsupported, "a sealed value has a format of another version")
                .with("found", bytes[0])
                .with("known", VERSION));
        }
        Ok(Self(bytes.into()))
    }

    /// All of its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key that it is sealed with.
    pub fn key(&self) -> MasterKeyId {
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&self.0[1..=KEY_ID_BYTES]);
        MasterKeyId(id)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("key", &self.key()).field("bytes", &self.0.len()).finish()
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
        if text.len() != 2 * KEY_ID_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
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
