//! Values that the program adds.

use memchr::memmem;

use super::SecretBuffer;

const PREFIX: &[u8] = b"::add-mask::";
/// The longest line with a value, in bytes and without its end.
pub const MAX_COMMAND_BYTES: usize = 64 * 1024;

/// Finds the lines `::add-mask::<value>` of one stream.
///
/// A line of which this may become true is held back until its end comes, however long that takes: nobody sees a value
/// before it is known that it is one. All else passes at once and uncopied.
///
/// ```
/// use fastflow_shim::mask::{AddMask, Piece};
///
/// let mut text = Vec::new();
/// let mut values = Vec::new();
/// let mut commands = AddMask::default();
/// for chunk in [b"before\n::add-mask::hun".as_slice(), b"ter2hunter2\nafter\n"] {
///     commands.feed(chunk, &mut |piece| match piece {
///         Piece::Text(bytes) => text.extend_from_slice(bytes),
///         Piece::Value(bytes) => values.push(bytes.to_vec()),
///         Piece::TooLong => unreachable!("it is not that long"),
///     });
/// }
/// assert_eq!(text, b"before\n::add-mask::***\nafter\n");
/// assert_eq!(values, [b"hunter2hunter2"]);
/// ```
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "it holds values that nobody may see")]
pub struct AddMask {
    place: Place,
    /// The beginning of the line, where it may be one with a value.
    held: SecretBuffer,
}

/// Where the stream is.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Place {
    /// At the beginning of a line, or in what is held of one.
    #[default]
    Start,
    /// In a line that passes.
    Within,
    /// In a line with a value that is too long.
    TooLong,
}

/// What a stream consists of.
///
/// ```
/// use fastflow_shim::mask::Piece;
///
/// assert!(matches!(Piece::Text(b"hello"), Piece::Text(text) if text == b"hello"));
/// ```
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds values that nobody may see")]
pub enum Piece<'a> {
    /// What the program wrote; in the place of each value `***`.
    Text(&'a [u8]),
    /// A value, without the end of its line. It comes before the text of its line.
    Value(&'a [u8]),
    /// In its place: it has more than [`MAX_COMMAND_BYTES`] with what stands before it.
    TooLong,
}

impl AddMask {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, mut chunk: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
        if !chunk.is_empty() && (self.place == Place::TooLong || !self.held.is_empty()) {
            chunk = self.go_on(chunk, emit);
        }
        let mut passed = 0;
        for start in memmem::find_iter(chunk, PREFIX) {
            let is_line_start =
                if start == 0 { self.place == Place::Start } else { chunk[start - 1] == b'\n' };
            // A prefix within a line that was taken as a whole is none.
            if !is_line_start || start < passed {
                continue;
            }
            text(&chunk[passed..start], emit);
            self.place = Place::Start;
            let rest = self.line(&chunk[start..], emit);
            passed = chunk.len() - rest.len();
        }
        self.pass(&chunk[passed..], emit);
    }

    /// The stream has ended: a value without an end of line is one too.
    pub fn finish(&mut self, emit: &mut impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        match held.strip_prefix(PREFIX) {
            Some(value) => {
                emit(Piece::Value(trimmed(value)));
                emit(Piece::Text(MASKED));
            }
            None => text(&held, emit),
        }
        self.place = Place::Start;
    }

    /// Goes on in a line of which something is held or thrown away, and gives back what follows it.
    fn go_on<'a>(&mut self, chunk: &'a [u8], emit: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        if self.place == Place::TooLong || self.held.len() >= PREFIX.len() {
            return self.line(chunk, emit);
        }
        let wanted = &PREFIX[self.held.len()..];
        let same = wanted.iter().zip(chunk).take_while(|(one, other)| one == other).count();
        if same == wanted.len() || same == chunk.len() {
            return self.line(chunk, emit);
        }
        text(&std::mem::take(&mut self.held), emit);
        self.place = Place::Within;
        chunk
    }

    /// Takes a line with a value, or the next part of it, up to its end; gives back what follows.
    fn line<'a>(&mut self, chunk: &'a [u8], emit: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let end = memchr::memchr(b'\n', chunk);
        let (line, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
        if self.place == Place::Start && self.held.len() + line.len() > MAX_COMMAND_BYTES {
            self.held.truncate(0);
            emit(Piece::TooLong);
            emit(Piece::Text(MASKED));
            self.place = Place::TooLong;
        }
        if self.place == Place::Start {
            self.held.extend(line);
        }
        if end.is_some() {
            match self.place {
                Place::Start => self.finish(emit),
                Place::Within | Place::TooLong => self.place = Place::Start,
            }
            emit(Piece::Text(b"\n"));
            return &rest[1..];
        }
        rest
    }

    /// Lets text pass, but for a last line that may become one with a value.
    fn pass(&mut self, chunk: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
        if chunk.is_empty() {
            return;
        }
        // A beginning of the prefix has no more bytes than this.
        let near = chunk.len().saturating_sub(PREFIX.len());
        let last = memchr::memrchr(b'\n', &chunk[near..]).map_or(near, |newline| near + newline + 1);
        let is_line_start = if last == 0 { self.place == Place::Start } else { chunk[last - 1] == b'\n' };
        if is_line_start && PREFIX.starts_with(&chunk[last..]) {
            text(&chunk[..last], emit);
            self.held.extend(&chunk[last..]);
            self.place = Place::Start;
        } else {
            text(chunk, emit);
            self.place = Place::Within;
        }
    }
}

const MASKED: &[u8] = b"::add-mask::***";

fn text(bytes: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
    if !bytes.is_empty() {
        emit(Piece::Text(bytes));
    }
}

/// Without the end of a line that was written elsewhere.
fn trimmed(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\r").unwrap_or(value)
}
