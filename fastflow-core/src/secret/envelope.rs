//! A sealed value as it is stored.

use std::fmt;

use super::{MAX_SECRET_BYTES, MasterKeyId};
use crate::{Error, ErrorKind, Result};

/// The only version there is.
pub(super) const VERSION: u8 = 1;
/// The bytes of a record's salt.
pub(super) const SALT_BYTES: usize = 32;
/// The bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 12;
/// The bytes of a tag.
pub(super) const TAG_BYTES: usize = 16;
/// Where the salt begins.
const SALT_AT: usize = 1 + MasterKeyId::BYTES;
/// Version, key id and salt: what the tag covers as it is, besides whom the value is for.
pub(super) const HEADER_BYTES: usize = SALT_AT + SALT_BYTES;
/// Where the ciphertext begins.
pub(super) const TEXT_AT: usize = HEADER_BYTES + NONCE_BYTES;
/// What is there even of an empty value.
const MIN_BYTES: usize = TEXT_AT + TAG_BYTES;

/// A sealed value: `version (1) | key id (16) | salt (32) | nonce (12) | ciphertext | tag (16)`.
///
/// It shows the length of the value, and which key opens it. Anybody who has that key can open it with this alone:
///
/// - The version is the byte 1.
/// - The key id is the first 16 bytes of HKDF-SHA-256 over the master key, without salt, with the info
///   `fastflow/master-key-id/v1`.
/// - Salt and nonce are random for each value.
/// - The value, UTF-8, is encrypted with AES-256-GCM. Its key is the first 32 bytes of HKDF-SHA-256 over the master key,
///   with the salt of the envelope and the info `fastflow/secret/v1`.
/// - The associated data of AES-256-GCM is the version, the key id and the salt, the first 49 bytes as they are, followed
///   by what the value is bound to ([`Binding`](super::Binding)). A text stands there as its length, 8 bytes with the
///   highest first, and its UTF-8:
///   - for a stored value, the byte 1, and the texts of the installation, of the scope (`global`, `pipeline:<name>`,
///     `schedule:<id>`) and of the name; then the version of the value, 4 bytes with the highest first;
///   - for one in a pipeline's files, the byte 2, and the texts of the pipeline and of the variable.
///
/// Each value has a key of its own, so there is no number of values after which random nonces become dangerous, and none
/// of them says anything about another one.
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
    /// The largest one, in bytes.
    pub const MAX_BYTES: usize = MIN_BYTES + MAX_SECRET_BYTES;

    /// Takes the bytes as an envelope, if that is what they look like.
    ///
    /// # Errors
    ///
    /// `Invalid` for too few of them or too many; `Unsupported` for another version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() < MIN_BYTES {
            return Err(Error::new(ErrorKind::Invalid, "a sealed value is cut short")
                .with("bytes", bytes.len())
                .with("at_least", MIN_BYTES));
        }
        if bytes.len() > Self::MAX_BYTES {
            return Err(Error::new(ErrorKind::Invalid, "a sealed value is too long")
                .with("bytes", bytes.len())
                .with("max_bytes", Self::MAX_BYTES));
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
        MasterKeyId::from_bytes(self.part(1))
    }

    /// Version, key id and salt.
    pub(super) fn header(&self) -> &[u8] {
        &self.0[..HEADER_BYTES]
    }

    pub(super) fn salt(&self) -> [u8; SALT_BYTES] {
        self.part(SALT_AT)
    }

    pub(super) fn nonce(&self) -> [u8; NONCE_BYTES] {
        self.part(HEADER_BYTES)
    }

    pub(super) fn ciphertext(&self) -> &[u8] {
        &self.0[TEXT_AT..self.0.len() - TAG_BYTES]
    }

    pub(super) fn tag(&self) -> [u8; TAG_BYTES] {
        self.part(self.0.len() - TAG_BYTES)
    }

    fn part<const BYTES: usize>(&self, at: usize) -> [u8; BYTES] {
        let mut part = [0; BYTES];
        part.copy_from_slice(&self.0[at..at + BYTES]);
        part
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("key", &self.key()).field("bytes", &self.0.len()).finish()
    }
}
