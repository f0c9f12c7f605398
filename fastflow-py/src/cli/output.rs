//! Where answers go: the standard output for what was asked for, the standard error for what is said about it.

use std::io::{self, BufWriter, IsTerminal as _, Stderr, Stdout, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::{
    args::{Colour, Global},
    json,
};

/// Bytes that are put together before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where answers go.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    err: Stderr,
    format: Format,
    quiet: bool,
    out_colours: bool,
    err_colours: bool,
}

impl Output {
    /// As it was said on the command line.
    pub(crate) fn new(global: &Global) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let colours = |choice: ColorChoice| match global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => choice != ColorChoice::Never,
        };
        Self {
            out_colours: colours(AutoStream::choice(&out)),
            err_colours: colours(AutoStream::choice(&err)),
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            err,
            format: if global.json { Format::Json } else { Format::Text },
            quiet: global.quiet,
        }
    }

    /// Whether programs read the answer.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether the answer has colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.out_colours
    }

    /// Whether what is said about it has colours.
    pub(crate) fn has_error_colours(&self) -> bool {
        self.err_colours
    }

    /// Whether somebody looks at the answer.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out.get_ref().is_terminal()
    }

    /// Whether something may move on the screen beside the answer.
    pub(crate) fn may_move(&self) -> bool {
        !self.quiet && !self.is_json() && self.err.is_terminal() && self.is_terminal()
    }

    /// The style, where there are colours.
    pub(crate) fn style(&self, style: Style) -> Style {
        if self.out_colours { style } else { Style::new() }
    }

    /// Writes a part of the answer. It is seen after [`flush`](Self::flush).
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    /// Writes a line of the answer.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Writes an answer for programs, on a line of its own.
    pub(crate) fn json(&mut self, value: &Value) -> io::Result<()> {
        self.line(&json::text(value))
    }

    /// Shows what was written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes what a program wrote to its standard error, after what it wrote before.
    pub(crate) fn write_error(&mut self, text: &str) -> io::Result<()> {
        self.out.flush()?;
        self.err.write_all(text.as_bytes())
    }

    /// Says something that nobody asked for.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.is_json() {
            self.say(AnsiColor::BrightBlack.on_default(), "", text);
        }
    }

    /// The same, with colours of its own.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet && !self.is_json() {
            self.say(Style::new(), "", text);
        }
    }

    /// Says what somebody should look at, also to programs.
    pub(crate) fn warning(&self, text: &str) {
        if self.is_json() {
            self.raw_error(&json::text(&json::warning_of_text(text)));
        } else {
            self.say(AnsiColor::Yellow.on_default(), "warning: ", text);
        }
    }

    /// Says why something was not done.
    pub(crate) fn error(&self, text: &str) {
        self.say(AnsiColor::Red.on_default().bold(), "fastflow: ", text);
    }

    /// The same, for programs.
    pub(crate) fn raw_error(&self, text: &str) {
        self.say(Style::new(), "", text);
    }

    fn say(&self, style: Style, before: &str, text: &str) {
        let style = if self.err_colours { style } else { Style::new() };
        let line = match before {
            "" => format!("{style}{text}{style:#}\n"),
            _ => format!("{style}{before}{style:#}{text}\n"),
        };
        // There is nowhere else to say it.
        let _ = (&self.err).write_all(line.as_bytes());
    }
}
