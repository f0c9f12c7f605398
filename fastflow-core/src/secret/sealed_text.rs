//! Sealed values as text, for the files of pipelines.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{Binding, Envelope, Keyring, Secret, check, fernet::Token};
use crate::{Entropy, Error, ErrorKind, PipelineName, Result, pipeline::EnvName};

/// What texts of ours begin with.
const PREFIX: &str = "ff1.";
/// The longest text, in bytes. base64 needs a third more than the largest value of either kind.
const MAX_TEXT_BYTES: usize = 96 << 10;

/// Seals a value as text for `encrypted_env` in the files of a pipeline: `ff1.` and the [`Envelope`] in base64, of the
/// alphabet for URLs and without padding. It opens for this variable of this pipeline alone.
///
/// ```
/// use fastflow_core::{OsEntropy, secret::{Keyring, MasterKey, Secret, open_text, seal_text}};
///
/// let keyring = Keyring::new(MasterKey::generate(&OsEntropy).unwrap());
/// let (pipeline, variable) = ("etl".parse().unwrap(), "TOKEN".parse().unwrap());
/// let text = seal_text(&keyring, &pipeline, &variable, &Secret::new("s3cret"), &OsEntropy).unwrap();
/// assert!(text.starts_with("ff1."));
/// assert!(open_text(&keyring, &pipeline, &variable, &text).unwrap() == Secret::new("s3cret"));
/// assert!(open_text(&keyring, &"other".parse().unwrap(), &variable, &text).is_err());
/// ```
///
/// # Errors
///
/// `Invalid` for a value that [cannot be a secret](super::check_secret).
pub fn seal_text(
    keyring: &Keyring,
    pipeline: &PipelineName,
    variable: &EnvName,
    secret: &Secret,
    entropy: &dyn Entropy,
) -> Result<String> {
    let envelope = keyring.seal(&Binding::Pipeline { pipeline, variable }, secret, entropy)?;
    let mut text = PREFIX.to_owned();
    BASE64_URL_SAFE_NO_PAD.encode_string(envelope.as_bytes(), &mut text);
    Ok(text)
}

/// Opens a text of `encrypted_env`: one of [`seal_text`], or a token of Fernet, which Python Fast-Flow makes and which is
/// bound to nothing.
///
/// # Errors
///
/// `Denied` when the key is not here; for a token of Fernet that may also mean that it was changed, as it names no key.
/// `Unsupported` for another version. `Invalid` for all else. No error holds the text: it may be a value that nobody has
/// sealed.
pub fn open_text(
    keyring: &Keyring,
    pipeline: &PipelineName,
    variable: &EnvName,
    text: &str,
) -> Result<Secret> {
    let binding = Binding::Pipeline { pipeline, variable };
    let text = text.trim();
    let not_sealed = || {
        binding.describe(Error::new(
            ErrorKind::Invalid,
            "not a sealed text: it begins with `ff1.` or, if Python Fast-Flow made it, with `gAAAA`, and is whole",
        ))
    };
    if text.len() > MAX_TEXT_BYTES {
        let error = Error::new(ErrorKind::Invalid, "a sealed text is too long");
        return Err(binding.describe(error.with("bytes", text.len()).with("max_bytes", MAX_TEXT_BYTES)));
    }
    if let Some(encoded) = text.strip_prefix(PREFIX) {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| not_sealed())?;
        let envelope = Envelope::from_bytes(bytes).map_err(|error| binding.describe(error))?;
        return keyring.open(&binding, &envelope);
    }
    let is_token = text.starts_with(Token::PREFIX);
    let token = is_token.then(|| Token::parse(text)).flatten().ok_or_else(not_sealed)?;
    let opened = keyring.fernet_keys().iter().find_map(|key| key.open(&token)).ok_or_else(|| {
        binding.describe(match keyring.fernet_keys() {
            [] => Error::new(ErrorKind::Denied, "a token of Fernet, and no key of Fernet is loaded"),
            _ => Error::new(
                ErrorKind::Denied,
                "a token of Fernet that no key of Fernet opens which is loaded, or that was changed",
            ),
        })
    })?;
    check::secret_of(opened).map_err(|error| binding.describe(error))
}
