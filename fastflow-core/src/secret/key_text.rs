//! Keys as text.

use base64::{
    Engine as _,
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// The bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Its characters, with padding.
pub(super) const MAX_CHARS: usize = 44;
/// What base64 of that many characters may take, before it is known how much of it is padding.
const DECODED_BYTES: usize = MAX_CHARS / 4 * 3;

/// The key that a text is, blanks around it aside: 32 bytes in base64, of either alphabet, with or without padding.
pub(super) fn decode(text: &str) -> Option<Box<Zeroizing<[u8; KEY_BYTES]>>> {
    let text = text.trim();
    if text.len() > MAX_CHARS {
        return None;
    }
    [&STANDARD, &URL_SAFE].into_iter().find_map(|alphabet| {
        let mut decoded = Zeroizing::new([0; DECODED_BYTES]);
        let length = lenient(alphabet).decode_slice(text, decoded.as_mut_slice()).ok()?;
        if length != KEY_BYTES {
            return None;
        }
        // In a box: whatever is moved leaves a copy behind where it was.
        let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
        key.copy_from_slice(&decoded[..KEY_BYTES]);
        Some(key)
    })
}

/// base64 with or without padding.
pub(super) fn lenient(alphabet: &Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(
        alphabet,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    )
}
