//! Keys that seal.

use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::{MasterKeyId, key_text};
use crate::{Entropy, Error, ErrorKind, Result};

/// From a key follows its id by this name.
const ID_INFO: &[u8] = b"fastflow/master-key-id/v1";
/// Random bytes hold about 30 different ones of 32; fewer than these never.
const MIN_DIFFERENT_BYTES: usize = 8;
/// Keys of specifications, which look random and which everybody knows.
const WELL_KNOWN: [&str; 2] = [
    // The example of the specification of Fernet.
    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    // The examples of NIST SP 800-38A.
    "YD3rEBXKcb4rc67whX13gR81LAc7YQjXLZgQowkU3_Q=",
];

/// A key of 32 bytes that seals secrets. It cannot be printed or serialized by habit, and its memory is wiped when it is
/// dropped.
///
/// ```
/// use fastflow_core::{OsEntropy, secret::MasterKey};
///
/// let key = MasterKey::generate(&OsEntropy).unwrap();
/// let other = MasterKey::generate(&OsEntropy).unwrap();
/// assert_ne!(key.id(), other.id());
/// ```
///
/// None of these compiles:
///
/// ```compile_fail,E0277
/// # let key = fastflow_core::secret::MasterKey::generate(&fastflow_core::OsEntropy).unwrap();
/// println!("{key:?}");
/// ```
///
/// ```compile_fail,E0277
/// # let key = fastflow_core::secret::MasterKey::generate(&fastflow_core::OsEntropy).unwrap();
/// println!("{key}");
/// ```
///
/// ```compile_fail,E0277
/// # let key = fastflow_core::secret::MasterKey::generate(&fastflow_core::OsEntropy).unwrap();
/// serde_json::to_string(&key).unwrap();
/// ```
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a key that can be printed will be")]
pub struct MasterKey {
    // In a box: whatever is moved leaves a copy behind where it was.
    bytes: Box<Zeroizing<[u8; Self::BYTES]>>,
    id: MasterKeyId,
}

impl MasterKey {
    /// How many bytes it has.
    pub const BYTES: usize = 32;

    /// A new key.
    ///
    /// # Errors
    ///
    /// `Internal` when the source of randomness gives bytes that are not random.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self> {
        let mut bytes = Box::new(Zeroizing::new([0; Self::BYTES]));
        entropy.fill(bytes.as_mut_slice());
        if is_guessable(&bytes) {
            return Err(Error::new(
                ErrorKind::Internal,
                "the source of randomness gives bytes that are not random",
            ));
        }
        Ok(Self::from_bytes(bytes))
    }

    /// The key that a text is: 32 bytes in base64, of the standard alphabet or the one for URLs, with or without padding.
    ///
    /// ```
    /// use fastflow_core::secret::MasterKey;
    ///
    /// let guessable = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    /// assert!(MasterKey::parse(guessable).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` for all else, and for bytes that are not random: few different ones, a pattern, a text, a key out of a
    /// specification. No error shows the text.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = key_text::decode(text).ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "not a master key: 32 random bytes in base64, as `openssl rand -base64 32` makes them",
            )
        })?;
        if is_guessable(&bytes) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "this master key can be guessed: take 32 random bytes, as `openssl rand -base64 32` makes them",
            ));
        }
        Ok(Self::from_bytes(bytes))
    }

    /// Which key it is.
    pub fn id(&self) -> MasterKeyId {
        self.id
    }

    /// The key as [`parse`](Self::parse) reads it, and a line end. Whoever takes it out answers for where it goes.
    pub(super) fn to_line(&self) -> Zeroizing<String> {
        // It never grows, for that would leave a copy of the key behind.
        let mut line = Zeroizing::new(String::with_capacity(key_text::MAX_CHARS + 1));
        BASE64_STANDARD.encode_string(self.bytes.as_slice(), &mut line);
        line.push('\n');
        line
    }

    /// Fills in what follows from the key by this salt and this name.
    pub(super) fn derive(&self, salt: &[u8], info: &[u8], derived: &mut [u8]) {
        derive(&self.bytes, Some(salt), info, derived);
    }

    fn from_bytes(bytes: Box<Zeroizing<[u8; Self::BYTES]>>) -> Self {
        let mut id = [0; MasterKeyId::BYTES];
        derive(&bytes, None, ID_INFO, &mut id);
        Self { bytes, id: MasterKeyId::from_bytes(id) }
    }
}

impl FromStr for MasterKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn derive(key: &[u8; MasterKey::BYTES], salt: Option<&[u8]>, info: &[u8], derived: &mut [u8]) {
    let (mut extracted, expander) = Hkdf::<Sha256>::extract(salt, key);
    extracted.as_mut_slice().zeroize();
    expander.expand(info, derived).expect("no more bytes are asked for than HKDF has");
}

/// Whether these are no random bytes. Of those that are, one in 10^13 is refused.
fn is_guessable(bytes: &[u8; MasterKey::BYTES]) -> bool {
    let mut different = bytes.to_vec();
    different.sort_unstable();
    different.dedup();
    let is_few = different.len() < MIN_DIFFERENT_BYTES;
    different.zeroize();
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    let repeats =
        (1..=MasterKey::BYTES / 2).any(|period| bytes[period..] == bytes[..MasterKey::BYTES - period]);
    let step = bytes[1].wrapping_sub(bytes[0]);
    let counts = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let is_known =
        WELL_KNOWN.iter().any(|known| key_text::decode(known).is_some_and(|known| **known == *bytes));
    is_few || is_text || repeats || counts || is_known
}
