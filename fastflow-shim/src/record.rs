//! The lines of a log.

use std::{borrow::Cow, io::Write as _};

use base64::{Engine as _, display::Base64Display, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock;

/// The most bytes of output in one record; a longer line goes on in the next.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// One line of `log.ndjson`.
///
/// For each of the streams [`Out`](Stream::Out) and [`Err`](Stream::Err), what [`append_to`](Self::append_to)
/// yields over all records is exactly what the program wrote.
///
/// ```
/// use fastflow_shim::{LogRecord, Stream};
///
/// let line = r#"{"t":"2026-11-20T20:06:16.123456Z","s":"out","m":"hello"}"#;
/// let record: LogRecord<'_> = serde_json::from_str(line).unwrap();
/// assert_eq!(record.stream, Stream::Out);
/// let mut bytes = Vec::new();
/// record.append_to(&mut bytes).unwrap();
/// assert_eq!(bytes, b"hello\n");
/// assert_eq!(serde_json::to_string(&record).unwrap(), line);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogRecord<'a> {
    /// When the shim read it.
    #[serde(rename = "t", with = "clock::micros")]
    pub at: Timestamp,
    /// Where it comes from.
    #[serde(rename = "s")]
    pub stream: Stream,
    /// The text.
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        rename = "m",
        skip_serializing_if = "Option::is_none"
    )]
    pub text: Option<Cow<'a, str>>,
    /// In place of the text, in base64: bytes that are not UTF-8.
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        rename = "b",
        skip_serializing_if = "Option::is_none"
    )]
    pub base64: Option<Cow<'a, str>>,
    /// The line goes on in the next record of the same stream: there is no newline here.
    #[serde(default, rename = "c", skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// Of a [`Truncated`](Stream::Truncated) record: the size of the records that are missing so far.
    #[serde(default, rename = "bytes", skip_serializing_if = "Option::is_none")]
    pub dropped_bytes: Option<u64>,
    /// Of a [`Truncated`](Stream::Truncated) record: how many records are missing so far.
    #[serde(default, rename = "records", skip_serializing_if = "Option::is_none")]
    pub dropped_records: Option<u64>,
}

impl<'a> LogRecord<'a> {
    /// A record of `text`.
    pub fn text(at: Timestamp, stream: Stream, text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            at,
            stream,
            text: Some(text.into()),
            base64: None,
            continues: false,
            dropped_bytes: None,
            dropped_records: None,
        }
    }

    /// A record that says how much is missing so far.
    pub fn truncated(at: Timestamp, message: impl Into<Cow<'a, str>>, bytes: u64, records: u64) -> Self {
        Self {
            dropped_bytes: Some(bytes),
            dropped_records: Some(records),
            ..Self::text(at, Stream::Truncated, message)
        }
    }

    /// The bytes of this record, without the newline at its end.
    ///
    /// # Errors
    /// When the record's base64 is not base64.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, base64::DecodeError> {
        match (&self.text, &self.base64) {
            (Some(text), _) => Ok(Cow::Borrowed(text.as_bytes())),
            (None, Some(base64)) => STANDARD.decode(base64.as_bytes()).map(Cow::Owned),
            (None, None) => Ok(Cow::Borrowed(&[])),
        }
    }

    /// Appends the bytes of this record, with the newline where there was one.
    ///
    /// # Errors
    /// When the record's base64 is not base64.
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), base64::DecodeError> {
        out.extend_from_slice(&self.bytes()?);
        if !self.continues {
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Where a record comes from.
///
/// ```
/// assert_eq!(serde_json::to_string(&fastflow_shim::Stream::Err).unwrap(), r#""err""#);
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The program's standard output.
    Out,
    /// The program's standard error.
    Err,
    /// What came before the program, such as the making of its environment.
    Setup,
    /// The shim's own words.
    Shim,
    /// A place where records are missing.
    Truncated,
}

impl Stream {
    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Setup => "setup",
            Self::Shim => "shim",
            Self::Truncated => "truncated",
        }
    }
}

/// The beginning of the records of one stream at one time. Many lines are read at once and share it.
///
/// ```
/// use fastflow_shim::{LogRecord, Stream, record::Prefix};
///
/// let at = "2026-11-20T20:06:16.123456Z".parse().unwrap();
/// let mut out = Vec::new();
/// Prefix::new(at, Stream::Out).write_record(&mut out, b"hello", false);
/// let record: LogRecord<'_> = serde_json::from_slice(&out).unwrap();
/// assert_eq!(record, LogRecord::text(at, Stream::Out, "hello"));
/// ```
#[derive(Debug)]
pub struct Prefix(String);

impl Prefix {
    /// For records of `stream` that were read `at` this time.
    pub fn new(at: Timestamp, stream: Stream) -> Self {
        Self(format!(r#"{{"t":"{at:.6}","s":"{}","#, stream.as_str()))
    }

    /// Appends one record, with its newline, to `out`: the same bytes as serde would write, without its cost.
    pub fn write_record(&self, out: &mut Vec<u8>, bytes: &[u8], continues: bool) {
        out.extend_from_slice(self.0.as_bytes());
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.extend_from_slice(br#""m":"#);
                write_json_string(out, text);
            }
            Err(_) => {
                // Writing into a Vec cannot fail.
                let _ = write!(out, r#""b":"{}""#, Base64Display::new(bytes, &STANDARD));
            }
        }
        out.extend_from_slice(if continues { b",\"c\":true}\n" } else { b"}\n" });
    }
}

fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// serde borrows a `Cow` only where it stands alone.
fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'b>(#[serde(borrow)] Cow<'b, str>);
    Ok(Option::<Text<'a>>::deserialize(deserializer)?.map(|Text(text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_writer_and_serde_agree() {
        let at: Timestamp = "2026-11-20T20:06:16.12Z".parse().unwrap();
        for text in ["", "plain", "a\"b\\c\u{1}\t\u{7f}é\u{2028}🦀\r", "{\"log\":\"x\"}"] {
            for continues in [false, true] {
                let mut out = Vec::new();
                Prefix::new(at, Stream::Err).write_record(&mut out, text.as_bytes(), continues);
                let record = LogRecord { continues, ..LogRecord::text(at, Stream::Err, text) };
                assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&record).unwrap() + "\n");
            }
        }
    }

    #[test]
    fn plain_text_is_borrowed_and_escaped_text_is_not() {
        let plain: LogRecord<'_> =
            serde_json::from_str(r#"{"t":"2026-11-20T20:06:16Z","s":"out","m":"x"}"#).unwrap();
        assert!(matches!(plain.text, Some(Cow::Borrowed("x"))));
        let escaped: LogRecord<'_> =
            serde_json::from_str(r#"{"t":"2026-11-20T20:06:16Z","s":"out","m":"\n"}"#).unwrap();
        assert!(matches!(escaped.text, Some(Cow::Owned(_))));
    }

    #[test]
    fn bytes_that_are_not_text_come_back() {
        let mut line = Vec::new();
        Prefix::new(Timestamp::UNIX_EPOCH, Stream::Out).write_record(&mut line, b"\xff\xfe\0a", true);
        let record: LogRecord<'_> = serde_json::from_slice(&line).unwrap();
        let mut bytes = Vec::new();
        record.append_to(&mut bytes).unwrap();
        assert_eq!((record.text.is_none(), bytes.as_slice()), (true, b"\xff\xfe\0a".as_slice()));
    }
}
