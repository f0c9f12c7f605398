//! What becomes of a value on its way into a text.

use std::{io::Write as _, str};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{MIN_BYTES, SecretBuffer, patterns::PatternSet};

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// The characters besides letters and digits that percent-encoding keeps (RFC 3986, 2.3).
const UNRESERVED: &[u8] = b"-._~";
/// With the one that separates the parts of a path.
const UNRESERVED_OF_PATHS: &[u8] = b"-._~/";

/// Adds `term` and all its encodings.
pub(super) fn all(term: &[u8], set: &mut PatternSet) {
    if term.len() < MIN_BYTES {
        return;
    }
    set.add(|out| out.extend(term));
    for shift in 0..3 {
        base64(term, shift, set);
    }
    for digits in [LOWER, UPPER] {
        set.add(|out| term.iter().for_each(|byte| hex(*byte, digits, out)));
    }
    percent(term, set);
    // Within them nothing of it would change.
    if !term.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"\"'\\".contains(byte)) {
        escapes(term, set);
    }
}

/// What stands for `term` in base64 where `shift` bytes come before it in the group of three.
fn base64(term: &[u8], shift: usize, set: &mut PatternSet) {
    let mut bytes = SecretBuffer::with_capacity(shift + term.len());
    bytes.extend_zeroed(shift);
    bytes.extend(term);
    let bits = 8 * bytes.len();
    let mut text = SecretBuffer::default();
    // There is room for all of it.
    let _ = STANDARD_NO_PAD.encode_slice(&*bytes, text.extend_zeroed(bits.div_ceil(6)));
    let first = (8 * shift).div_ceil(6);
    // The last character depends on what comes next, and at the end of all, where nothing does, on `term` alone.
    for end in [bits / 6, text.len()] {
        let text = &text[first..end];
        set.add(|out| out.extend(text));
        if text.iter().any(|character| b"+/".contains(character)) {
            set.add(|out| {
                for character in text {
                    out.push(match character {
                        b'+' => b'-',
                        b'/' => b'_',
                        other => *other,
                    });
                }
            });
        }
    }
}

fn hex(byte: u8, digits: &[u8; 16], out: &mut SecretBuffer) {
    out.push(digits[usize::from(byte >> 4)]);
    out.push(digits[usize::from(byte & 15)]);
}

fn percent(term: &[u8], set: &mut PatternSet) {
    for kept in [UNRESERVED, UNRESERVED_OF_PATHS] {
        for digits in [UPPER, LOWER] {
            for space in [b"%20".as_slice(), b"+"] {
                set.add(|out| {
                    for byte in term {
                        match byte {
                            b' ' => out.extend(space),
                            byte if byte.is_ascii_alphanumeric() || kept.contains(byte) => out.push(*byte),
                            byte => {
                                out.push(b'%');
                                hex(*byte, digits, out);
                            }
                        }
                    }
                });
            }
        }
    }
}

/// What string literals make of it.
fn escapes(term: &[u8], set: &mut PatternSet) {
    for quote in [Some(b'\''), None] {
        set.add(|out| python_bytes(term, quote, out));
    }
    let Ok(text) = str::from_utf8(term) else { return };
    let mut json = SecretBuffer::with_capacity(2 * text.len());
    // Writing into memory cannot fail.
    let _ = serde_json::to_writer(&mut json, text);
    set.add(|out| out.extend(&json[1..json.len() - 1]));
    set.add(|out| json_ascii(text, out));
    for quote in [Some('\''), None] {
        set.add(|out| python_text(text, quote, is_printable, out));
        set.add(|out| python_text(text, quote, is_printable_ascii, out));
    }
}

/// As Python's `json.dumps` has it, unless told otherwise.
fn json_ascii(text: &str, out: &mut SecretBuffer) {
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(&[b'\\', character as u8]),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\u{8}' => out.extend(b"\\b"),
            '\u{c}' => out.extend(b"\\f"),
            ' '..='~' => out.push(character as u8),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}

/// As Python's `repr` has bytes, within quotes of which `quote` needs an escape.
fn python_bytes(bytes: &[u8], quote: Option<u8>, out: &mut SecretBuffer) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            byte if Some(*byte) == quote => out.extend(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            byte => {
                out.extend(b"\\x");
                hex(*byte, LOWER, out);
            }
        }
    }
}

/// As Python's `repr` and `ascii` have text, within quotes of which `quote` needs an escape.
fn python_text(text: &str, quote: Option<char>, is_kept: fn(char) -> bool, out: &mut SecretBuffer) {
    for character in text.chars() {
        let code = u32::from(character);
        let _ = match character {
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            character if Some(character) == quote => write!(out, "\\{character}"),
            character if is_kept(character) => write!(out, "{character}"),
            '\0'..='\u{ff}' => write!(out, "\\x{code:02x}"),
            '\u{100}'..='\u{ffff}' => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
}

fn is_printable_ascii(character: char) -> bool {
    matches!(character, ' '..='~')
}

/// What Python's `str.isprintable` says, as far as its Unicode and Rust's are the same: both keep what is of no category
/// of controls, of separators but the space, and of the unassigned.
pub(super) fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return is_printable_ascii(character);
    }
    // Alone, or as the first of a text, a combining character would be escaped too.
    let mut text = [b'a'; 5];
    let length = 1 + character.encode_utf8(&mut text[1..]).len();
    str::from_utf8(&text[..length]).is_ok_and(|text| text.escape_debug().nth(1) == Some(character))
}
