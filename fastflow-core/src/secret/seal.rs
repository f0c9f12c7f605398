//! Sealing and opening with one key.

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use zeroize::Zeroizing;

use super::{
    Binding, Envelope, MasterKey, Secret, check, check_secret,
    envelope::{HEADER_BYTES, NONCE_BYTES, SALT_BYTES, TAG_BYTES, TEXT_AT, VERSION},
};
use crate::{Entropy, Error, ErrorKind, Result};

/// From a master key and a salt follows the key of one value by this name.
const INFO: &[u8] = b"fastflow/secret/v1";

pub(super) fn seal(
    key: &MasterKey,
    binding: &Binding<'_>,
    secret: &Secret,
    entropy: &dyn Entropy,
) -> Result<Envelope> {
    check_secret(secret).map_err(|error| binding.describe(error))?;
    let value = secret.expose().as_bytes();
    let mut random = [0; SALT_BYTES + NONCE_BYTES];
    entropy.fill(&mut random);
    let (salt, nonce) = random.split_first_chunk::<SALT_BYTES>().expect("there is a salt");
    let nonce: &[u8; NONCE_BYTES] = nonce.try_into().expect("there is a nonce");

    // It never grows, for that would leave a copy of the value behind.
    let mut bytes = Vec::with_capacity(TEXT_AT + value.len() + TAG_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(key.id().as_bytes());
    bytes.extend_from_slice(&random);
    let associated = binding.associated_data(&bytes[..HEADER_BYTES]);
    bytes.extend_from_slice(value);
    let tag = cipher(key, salt)
        .encrypt_inout_detached(nonce.into(), &associated, (&mut bytes[TEXT_AT..]).into())
        .map_err(|_| binding.describe(Error::new(ErrorKind::Internal, "a value cannot be sealed")))?;
    bytes.extend_from_slice(&tag);
    Envelope::from_bytes(bytes)
}

pub(super) fn open(key: &MasterKey, binding: &Binding<'_>, envelope: &Envelope) -> Result<Secret> {
    let associated = binding.associated_data(envelope.header());
    let mut value = Zeroizing::new(envelope.ciphertext().to_vec());
    cipher(key, &envelope.salt())
        .decrypt_inout_detached(
            (&envelope.nonce()).into(),
            &associated,
            value.as_mut_slice().into(),
            (&envelope.tag()).into(),
        )
        .map_err(|_| binding.refusal())?;
    check::secret_of(value).map_err(|error| binding.describe(error))
}

fn cipher(key: &MasterKey, salt: &[u8; SALT_BYTES]) -> Aes256Gcm {
    let mut own = Zeroizing::new([0; 32]);
    key.derive(salt, INFO, own.as_mut_slice());
    Aes256Gcm::new((&*own).into())
}
