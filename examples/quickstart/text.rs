//! What of a program's output may reach the terminal: text and its colours, nothing that steers.

use std::fmt::Write as _;

use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

/// Tabulators are drawn as spaces up to the next multiple of this.
const TAB_COLUMNS: usize = 8;

/// The line without control characters and sequences, but with its colours.
pub(crate) fn printable(line: &str) -> String {
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    let mut printable = Printable::default();
    for byte in line.bytes() {
        parser.advance(&mut printable, byte);
    }
    if printable.styled {
        printable.text.push_str("\x1b[0m");
    }
    printable.text
}

/// The line without control characters and sequences, and without its colours.
pub(crate) fn plain(line: &str) -> String {
    anstream::adapter::strip_str(&printable(line)).to_string()
}

#[derive(Default)]
struct Printable {
    text: String,
    column: usize,
    styled: bool,
}

impl Perform for Printable {
    fn print(&mut self, c: char) {
        if !c.is_control() && !reorders(c) {
            self.text.push(c);
            self.column += 1;
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            let next = (self.column / TAB_COLUMNS + 1) * TAB_COLUMNS;
            self.text.extend(std::iter::repeat_n(' ', next - self.column));
            self.column = next;
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action != b'm' || ignore || !intermediates.is_empty() {
            return;
        }
        let codes: Vec<u16> = params.iter().flatten().copied().collect();
        let kept = colours(&codes);
        if !kept.is_empty() {
            // Writing into a String cannot fail.
            let _ = write!(self.text, "\x1b[{kept}m");
            self.styled = true;
        }
    }
}

/// Characters that turn the direction of text around can make a line look like another.
fn reorders(c: char) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_left_out() {
        for (written, shown) in [
            ("plain, ümläut, 🦀", "plain, ümläut, 🦀"),
            ("\x1b[2J\x1b[Hcleared", "cleared"),
            ("\x1b]0;title\x07named", "named"),
            ("\x1b]52;c;c2VjcmV0\x1b\\clipboard", "clipboard"),
            ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bcreset", "reset"),
            ("\x1b[?1049halternate", "alternate"),
            ("bell\x07 back\x08 null\0", "bell back null"),
            ("\u{9b}31mC1", "31mC1"),
            ("abc\u{202e}def", "abcdef"),
            ("\x1bPq#0sixel\x1b\\after", "after"),
            ("unfinished \x1b]0;title", "unfinished "),
            ("unfinished \x1b[3", "unfinished "),
        ] {
            assert_eq!(printable(written), shown, "{written:?}");
        }
    }

    #[test]
    fn colours_stay_and_are_ended() {
        for (written, shown) in [
            ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
            ("\x1b[1;31mbold", "\x1b[1;31mbold\x1b[0m"),
            ("\x1b[mreset", "\x1b[0mreset\x1b[0m"),
            ("\x1b[38;5;208morange", "\x1b[38;5;208morange\x1b[0m"),
            ("\x1b[48;2;1;2;3mexact", "\x1b[48;2;1;2;3mexact\x1b[0m"),
            ("\x1b[5;8;32mblink", "\x1b[32mblink\x1b[0m"),
            ("\x1b[8mhidden", "hidden"),
            ("\x1b[38;5mshort", "short"),
            ("\x1b[>4;1mkeys", "keys"),
        ] {
            assert_eq!(printable(written), shown, "{written:?}");
            assert!(!plain(written).contains('\x1b'));
        }
        assert_eq!(plain("\x1b[1;31mbold\x1b[0m text"), "bold text");
    }

    #[test]
    fn tabulators_become_spaces() {
        assert_eq!(printable("a\tb\t\tc"), "a       b               c");
        assert_eq!(printable("\x1b[31ma\x1b[0m\tb"), "\x1b[31ma\x1b[0m       b\x1b[0m");
    }
}
