//! What of others' text may reach the terminal: text and its colours, nothing that steers.

use std::fmt::Write as _;

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

/// The text without control characters and sequences, but with its colours, which are ended. Tabulators stay.
pub(crate) fn coloured(text: &str) -> String {
    let mut shown = Shown { keeps_colours: true, ..Shown::default() };
    read(text, &mut shown);
    if shown.is_styled {
        shown.text.push_str("\x1b[0m");
    }
    shown.text
}

/// The text without control characters and sequences.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = Shown::default();
    read(text, &mut shown);
    shown.text
}

/// What a terminal would show of a line in which carriage returns begin it anew.
pub(crate) fn last_part(line: &str) -> &str {
    line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default()
}

fn read(text: &str, shown: &mut Shown) {
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    for byte in text.bytes() {
        parser.advance(shown, byte);
    }
}

#[derive(Default)]
struct Shown {
    text: String,
    keeps_colours: bool,
    is_styled: bool,
}

impl Perform for Shown {
    fn print(&mut self, c: char) {
        if !c.is_control() && !reorders(c) {
            self.text.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\t' | b'\n') {
            self.text.push(char::from(byte));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if !self.keeps_colours || action != b'm' || ignore || !intermediates.is_empty() {
            return;
        }
        let codes: Vec<u16> = params.iter().flatten().copied().collect();
        let kept = colours(&codes);
        if !kept.is_empty() {
            // Writing into a String cannot fail.
            let _ = write!(self.text, "\x1b[{kept}m");
            self.is_styled = true;
        }
    }
}

/// Characters that turn the direction of text around can make a line look like another.
pub(crate) fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The colours, weights and resets among the codes of a style. Blinking and concealing are not among them.
fn colours(codes: &[u16]) -> String {
    let mut kept = Vec::new();
    let mut rest = codes;
    while let [first, others @ ..] = rest {
        let taken = match (first, others) {
            (38 | 48 | 58, [5, _, ..]) => 3,
            (38 | 48 | 58, [2, _, _, _, ..]) => 5,
            (0..=4 | 22..=24 | 30..=37 | 39..=47 | 49 | 90..=97 | 100..=107, _) => 1,
            _ => {
                rest = others;
                continue;
            }
        };
        kept.extend(rest[..taken].iter().map(u16::to_string));
        rest = &rest[taken..];
    }
    kept.join(";")
}
