//! Puts lines together from the pieces in which they arrive.

use std::fmt::Write as _;

/// Of longer lines, this much is shown.
const MAX_SHOWN_BYTES: usize = 4096;

/// The line that one stream of one program is writing.
///
/// A line may arrive in several pieces, and a carriage return begins it anew, as on a terminal.
#[derive(Debug, Default)]
pub(crate) struct Line {
    text: String,
    cut_bytes: usize,
    returned: bool,
    begun: bool,
}

impl Line {
    /// Adds a piece. Gives the whole line when it ends with this piece.
    pub(crate) fn push(&mut self, piece: &str, continues: bool) -> Option<String> {
        self.begun = true;
        for (number, text) in piece.split('\r').enumerate() {
            self.returned |= number > 0;
            if text.is_empty() {
                continue;
            }
            if std::mem::take(&mut self.returned) {
                self.text.clear();
                self.cut_bytes = 0;
            }
            let room = text.floor_char_boundary(MAX_SHOWN_BYTES.saturating_sub(self.text.len()));
            let room = if self.cut_bytes > 0 { 0 } else { room };
            self.text.push_str(&text[..room]);
            self.cut_bytes += text.len() - room;
        }
        if continues { None } else { self.finish() }
    }

    /// What is written so far.
    pub(crate) fn so_far(&self) -> &str {
        &self.text
    }

    /// Ends a line that has no end of its own.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let Self { mut text, cut_bytes, begun, .. } = std::mem::take(self);
        if cut_bytes > 0 {
            // Writing into a String cannot fail.
            let _ = write!(text, " … and {cut_bytes} bytes more");
        }
        begun.then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_line() {
        let mut line = Line::default();
        assert_eq!(line.push("one, ", true), None);
        assert_eq!(line.push("two, ", true), None);
        assert_eq!(line.push("three", false).as_deref(), Some("one, two, three"));
        assert_eq!(line.push("", false).as_deref(), Some(""));
        assert_eq!(line.finish(), None);
    }

    #[test]
    fn a_carriage_return_begins_the_line_anew() {
        for (pieces, shown) in [
            (&[" 10 %\r 50 %\r100 %"][..], "100 %"),
            (&["\r 10 %", "\r100 %"], "100 %"),
            (&[" 10 %\r", "100 %"], "100 %"),
            (&["windows\r"], "windows"),
            (&["\r\r"], ""),
            (&["bar\r", "\r", "text"], "text"),
        ] {
            let mut line = Line::default();
            for piece in pieces {
                assert_eq!(line.push(piece, true), None);
            }
            assert_eq!(line.so_far(), shown);
            assert_eq!(line.push("", false).as_deref(), Some(shown), "{pieces:?}");
        }
    }

    #[test]
    fn a_line_without_end_takes_little_memory() {
        let mut line = Line::default();
        for _ in 0..1000 {
            assert_eq!(line.push(&"ä".repeat(1001), true), None);
        }
        assert!(line.text.capacity() < 4 * MAX_SHOWN_BYTES);
        let shown = line.finish().unwrap();
        let cut = 2_002_000 - MAX_SHOWN_BYTES;
        assert_eq!(shown, format!("{} … and {cut} bytes more", "ä".repeat(MAX_SHOWN_BYTES / 2)));
    }

    #[test]
    fn a_progress_bar_without_end_is_not_cut() {
        let mut line = Line::default();
        for percent in 0..10_000 {
            line.push(&format!("\r{percent} of many"), true);
        }
        assert_eq!(line.push("", false).as_deref(), Some("9999 of many"));
    }
}
