//! What is looked for.

use std::{borrow::Cow, fmt, ops::Range};

use super::{
    MAX_PATTERNS_BYTES, MIN_BYTES, MIN_LINE_BYTES, SecretBuffer, encode, masker::Masker, scout::Scout,
    trie::Trie,
};

/// The byte strings by which secrets show, each of at least [`MIN_BYTES`]:
///
/// - the value, the value without the end of line at its end, and, of a value of several lines, each line of at least
///   [`MIN_LINE_BYTES`];
/// - of each of these, in base64 with the standard and the URL alphabet the characters that follow from it alone, wherever
///   in the encoded bytes it begins; its hexadecimal digits, small or large; its percent-encoding, with small or large
///   digits, a space as `%20` or `+`, and of the reserved characters those kept that Python, `requests`, `urllib3`,
///   JavaScript or a form keeps; what it is in JSON, with other characters than those of ASCII kept or escaped, and with
///   `/`, or what means something in HTML, escaped or not; and what it is in Python's `repr` and `ascii`, within either
///   quotes, of text and of bytes.
///
/// Their memory is wiped when they are dropped.
///
/// ```
/// use fastflow_shim::mask::Patterns;
///
/// let patterns = Patterns::new([b"hunter2hunter2".as_slice()])?;
/// assert_eq!(patterns.mask_text("password=hunter2hunter2!"), "password=***!");
/// assert_eq!(patterns.mask_text("68756e7465723268756e74657232"), "***");
/// // Nobody learns what they are.
/// assert_eq!(format!("{patterns:?}"), "Patterns { count: 8, .. }");
/// # Ok::<(), fastflow_shim::mask::TooManyPatterns>(())
/// ```
///
/// Neither of these compiles:
///
/// ```compile_fail,E0277
/// println!("{}", fastflow_shim::mask::Patterns::default());
/// ```
///
/// ```compile_fail,E0277
/// serde_json::to_string(&fastflow_shim::mask::Patterns::default()).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct Patterns {
    pub(super) trie: Trie,
    pub(super) scout: Scout,
    /// How many there are.
    count: usize,
}

impl Patterns {
    /// The patterns of `values`. Without a value of at least [`MIN_BYTES`] there is none, and that costs nothing.
    ///
    /// # Errors
    /// When they have more than [`MAX_PATTERNS_BYTES`] together.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooManyPatterns> {
        let mut set = PatternSet::default();
        for value in values {
            terms(value, |term| encode::all(term, &mut set));
        }
        set.build()
    }

    /// Of exactly these byte strings. Those shorter than [`MIN_BYTES`] are left out.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn exactly<'a>(patterns: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooManyPatterns> {
        let mut set = PatternSet::default();
        for pattern in patterns {
            set.add(|out| out.extend(pattern));
        }
        set.build()
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are, those counted once that are equal.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Masks all of `bytes`, and counts the replacements.
    ///
    /// ```
    /// use fastflow_shim::mask::Patterns;
    ///
    /// let patterns = Patterns::new([b"hunter2hunter2".as_slice()])?;
    /// let (masked, count) = patterns.mask(b"hunter2hunter2, and again: hunter2hunter2");
    /// assert_eq!((&*masked, count), (b"***, and again: ***".as_slice(), 2));
    /// # Ok::<(), fastflow_shim::mask::TooManyPatterns>(())
    /// ```
    pub fn mask<'a>(&self, bytes: &'a [u8]) -> (Cow<'a, [u8]>, u64) {
        if self.is_empty() {
            return (Cow::Borrowed(bytes), 0);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut masker = Masker::new(self);
        masker.feed(bytes, &mut |bytes| out.extend_from_slice(bytes));
        masker.finish(&mut |bytes| out.extend_from_slice(bytes));
        match masker.masked() {
            0 => (Cow::Borrowed(bytes), 0),
            count => (Cow::Owned(out), count),
        }
    }

    /// Masks a text, such as a message.
    pub fn mask_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask(text.as_bytes()).0 {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }
}

impl fmt::Debug for Patterns {
    /// Shows how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns").field("count", &self.count).finish_non_exhaustive()
    }
}

/// What of a value is looked for by itself.
fn terms(value: &[u8], mut each: impl FnMut(&[u8])) {
    each(value);
    let trimmed = value.strip_suffix(b"\n").map_or(value, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if trimmed.len() < value.len() {
        each(trimmed);
    }
    if !trimmed.contains(&b'\n') {
        return;
    }
    for line in trimmed.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() >= MIN_LINE_BYTES {
            each(line);
        }
    }
}

/// Patterns while they are gathered.
#[derive(Default)]
pub(super) struct PatternSet {
    bytes: SecretBuffer,
    ranges: Vec<Range<usize>>,
    is_too_large: bool,
}

impl PatternSet {
    /// Adds what `write` appends, if it is long enough to be looked for.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut SecretBuffer)) {
        if self.is_too_large {
            return;
        }
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        let is_known = self
            .ranges
            .iter()
            .rev()
            .take(RECENT)
            .any(|range| self.bytes[range.clone()] == self.bytes[start..end]);
        if is_known || end - start < MIN_BYTES {
            self.bytes.truncate(start);
            return;
        }
        self.ranges.push(start..end);
        self.is_too_large = end > MAX_PATTERNS_BYTES;
    }

    fn build(mut self) -> Result<Patterns, TooManyPatterns> {
        if self.is_too_large {
            return Err(TooManyPatterns(()));
        }
        if self.ranges.is_empty() {
            return Ok(Patterns::default());
        }
        let bytes = &*self.bytes;
        self.ranges.sort_unstable_by(|one, other| bytes[one.clone()].cmp(&bytes[other.clone()]));
        self.ranges.dedup_by(|one, other| bytes[one.clone()] == bytes[other.clone()]);
        let patterns = || self.ranges.iter().map(|range| &bytes[range.clone()]);
        let total = self.ranges.iter().map(ExactSizeIterator::len).sum();
        let count = self.ranges.len();
        let shortest = self.ranges.iter().map(ExactSizeIterator::len).min().unwrap_or(0);
        Ok(Patterns {
            trie: Trie::new(patterns(), total),
            scout: Scout::new(patterns(), count, shortest),
            count,
        })
    }
}

/// So many patterns back a new one is compared at once: most encodings of most values are equal to another one of the same.
const RECENT: usize = 96;

/// There is more to look for than [`MAX_PATTERNS_BYTES`].
///
/// ```
/// use fastflow_shim::mask::Patterns;
///
/// let value = "/".repeat(4 << 20);
/// let error = Patterns::new([value.as_bytes()]).unwrap_err();
/// assert!(error.to_string().contains("8388608 bytes"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TooManyPatterns(());

impl fmt::Display for TooManyPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the secrets are too large to be masked: in all their encodings they have more than {MAX_PATTERNS_BYTES} bytes"
        )
    }
}

impl std::error::Error for TooManyPatterns {}
