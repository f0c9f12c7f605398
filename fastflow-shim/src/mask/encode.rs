//! What becomes of a value on its way into a text.

use std::{io::Write as _, str};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{MIN_BYTES, SecretBuffer, patterns::PatternSet};

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// What percent-encoding keeps besides letters and digits. RFC 3986 allows more or less of it, part by part of an address,
/// and so everybody keeps something else.
const KEPT: [&[u8]; 12] = [
    // The unreserved characters, and Python's `quote` with the one that separates the parts of a path.
    b"-._~",
    b"-._~/",
    // User information, a part of a path, a path, a query: RFC 3986 as `urllib3` takes it.
    b"-._~!$&'()*+,;=:",
    b"-._~!$&'()*+,;=:@",
    b"-._~!$&'()*+,;=:@/",
    b"-._~!$&'()*+,;=:@/?",
    // An address as `requests` has it, where it may have been encoded before and where it may not.
    b"-._~!#$%&'()*+,/:;=?@[]",
    b"-._~!#$&'()*+,/:;=?@[]",
    // JavaScript's `encodeURIComponent` and `encodeURI`.
    b"-._~!'()*",
    b"-._~!'()*;/?:@&=+$,#",
    // Forms, by browsers and by PHP.
    b"-._*",
    b"-._",
];
/// What one character becomes in JSON although it need not.
type Special = (char, &'static str);
const SLASH: Special = ('/', "\\/");
const HTML: [Special; 3] = [('&', "\\u0026"), ('<', "\\u003c"), ('>', "\\u003e")];
const HTML_IN_CAPITALS: [Special; 3] = [('&', "\\u0026"), ('<', "\\u003C"), ('>', "\\u003E")];
const QUOTE: Special = ('\'', "\\u0027");
/// They end lines in JavaScript.
const SEPARATORS: [Special; 2] = [('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];

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
    // Within them nothing else would change.
    if !term.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"\"'\\/&<>".contains(byte)) {
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
    if term.iter().all(u8::is_ascii_alphanumeric) {
        return;
    }
    let spaces: &[&[u8]] = if term.contains(&b' ') { &[b"%20", b"+"] } else { &[b""] };
    // For most values most of these are the same.
    let within = characters(term);
    let mut done: Vec<u128> = Vec::with_capacity(KEPT.len());
    for kept in KEPT.map(|kept| within & characters(kept)) {
        if done.contains(&kept) {
            continue;
        }
        done.push(kept);
        for digits in [UPPER, LOWER] {
            for space in spaces {
                set.add(|out| {
                    for byte in term {
                        match byte {
                            b' ' => out.extend(space),
                            byte if byte.is_ascii_alphanumeric() || kept & bit(*byte) != 0 => out.push(*byte),
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

/// Which characters of ASCII there are.
fn characters(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |all, byte| all | bit(*byte))
}

fn bit(byte: u8) -> u128 {
    1_u128.checked_shl(byte.into()).unwrap_or(0)
}

/// What string literals make of it.
fn escapes(term: &[u8], set: &mut PatternSet) {
    for quote in [Some(b'\''), None] {
        set.add(|out| python_bytes(term, quote, out));
    }
    let Ok(text) = str::from_utf8(term) else { return };
    json(text, set);
    for quote in [Some('\''), None] {
        set.add(|out| python_text(text, quote, is_printable, out));
        set.add(|out| python_text(text, quote, is_printable_ascii, out));
    }
}

/// What JSON makes of it, with other characters than those of ASCII escaped or kept.
fn json(text: &str, set: &mut PatternSet) {
    let [amp, less, greater] = HTML;
    let specials: [&[Special]; 6] =
        [&[], &[SLASH], &HTML, &[SLASH, amp, less, greater], &[QUOTE, amp, less, greater], &HTML_IN_CAPITALS];
    for special in specials {
        set.add(|out| json_string(text, is_printable_ascii, &[special], out));
        set.add(|out| json_string(text, |character| character >= ' ', &[special], out));
        set.add(|out| json_string(text, |character| character >= ' ', &[special, &SEPARATORS], out));
    }
}

fn json_string(text: &str, is_kept: fn(char) -> bool, special: &[&[Special]], out: &mut SecretBuffer) {
    for character in text.chars() {
        if let Some((_, instead)) = special.iter().copied().flatten().find(|(of, _)| *of == character) {
            out.extend(instead.as_bytes());
            continue;
        }
        match character {
            '"' | '\\' => out.extend(&[b'\\', character as u8]),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\u{8}' => out.extend(b"\\b"),
            '\u{c}' => out.extend(b"\\f"),
            _ if is_kept(character) => out.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing into memory cannot fail.
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
