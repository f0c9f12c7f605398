//! The stage between a pipe and the log that takes secrets out.

/// Sees every byte of one stream, in order, before it becomes part of a record.
pub(crate) trait Mask {
    /// Takes a chunk and gives back what may be written now. It may hold back the end of the chunk, where a
    /// secret may have begun, and give it back with a later one.
    fn apply<'a>(&'a mut self, chunk: &'a [u8]) -> &'a [u8];

    /// Gives back what was held back: the stream has ended.
    fn finish(&mut self) -> &[u8];

    /// How many times something was masked.
    fn masked(&self) -> u64;
}

/// Masks nothing.
#[derive(Debug, Default)]
pub(crate) struct NoMask;

impl Mask for NoMask {
    fn apply<'a>(&'a mut self, chunk: &'a [u8]) -> &'a [u8] {
        chunk
    }

    fn finish(&mut self) -> &[u8] {
        &[]
    }

    fn masked(&self) -> u64 {
        0
    }
}
