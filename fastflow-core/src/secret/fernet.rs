//! Texts of Python Fast-Flow: tokens of [Fernet](https://github.com/fernet/spec/blob/master/Spec.md), which are opened
//! and never made.

use std::str::FromStr;

use aes::{
    Aes128,
    cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7},
};
use base64::{Engine as _, alphabet::URL_SAFE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::key_text;
use crate::{Error, ErrorKind, Result};

const BLOCK_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
/// Version and time.
const HEADER_BYTES: usize = 1 + 8;
const VERSION: u8 = 0x80;

/// A key of Fernet, with which Python Fast-Flow sealed texts: its `ENCRYPTION_KEY`. It only opens, cannot be printed or
/// serialized by habit, and its memory is wiped when it is dropped.
///
/// ```
/// use fastflow_core::secret::FernetKey;
///
/// assert!(FernetKey::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").is_ok());
/// assert!(FernetKey::parse("hunter2").is_err());
/// ```
///
/// None of these compiles:
///
/// ```compile_fail,E0277
/// # let key = fastflow_core::secret::FernetKey::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
/// println!("{key:?}");
/// ```
///
/// ```compile_fail,E0277
/// # let key = fastflow_core::secret::FernetKey::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
/// println!("{key}");
/// ```
///
/// ```compile_fail,E0277
/// # let key = fastflow_core::secret::FernetKey::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
/// serde_json::to_string(&key).unwrap();
/// ```
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a key that can be printed will be")]
pub struct FernetKey(Box<Zeroizing<[u8; key_text::KEY_BYTES]>>);

impl FernetKey {
    /// The key that a text is: 32 bytes in base64, as Fernet writes them.
    ///
    /// # Errors
    ///
    /// `Invalid` for all else. No error shows the text.
    pub fn parse(text: &str) -> Result<Self> {
        key_text::decode(text)
            .map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "not a key of Fernet: 32 bytes in base64"))
    }

    /// What the token says, if this key made it.
    pub(super) fn open(&self, token: &Token) -> Option<Zeroizing<Vec<u8>>> {
        let (signing, encryption) = self.0.split_at(key_text::KEY_BYTES / 2);
        let (signed, tag) = token.0.split_at(token.0.len() - TAG_BYTES);
        // Compared in constant time, and before anything is decrypted.
        Hmac::<Sha256>::new_from_slice(signing).ok()?.chain_update(signed).verify_slice(tag).ok()?;
        let (start, text) = signed[HEADER_BYTES..].split_at(BLOCK_BYTES);
        let mut value = Zeroizing::new(text.to_vec());
        let decryptor = cbc::Decryptor::<Aes128>::new_from_slices(encryption, start).ok()?;
        let length = decryptor.decrypt_padded::<Pkcs7>(&mut value).ok()?.len();
        value.truncate(length);
        Some(value)
    }
}

impl FromStr for FernetKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// The bytes of a token: `version (1) | time (8) | start (16) | ciphertext | tag (32)`.
pub(super) struct Token(Vec<u8>);

impl Token {
    /// What all texts of tokens begin with, until the year 2106.
    pub(super) const PREFIX: &str = "gAAAA";

    /// The token that a text is, if it looks like one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = key_text::lenient(&URL_SAFE).decode(text).ok()?;
        let cipher_bytes = bytes.len().checked_sub(HEADER_BYTES + BLOCK_BYTES + TAG_BYTES)?;
        let is_whole = cipher_bytes > 0 && cipher_bytes.is_multiple_of(BLOCK_BYTES);
        (bytes[0] == VERSION && is_whole).then_some(Self(bytes))
    }
}
