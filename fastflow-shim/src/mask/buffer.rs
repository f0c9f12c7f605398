//! Memory for bytes that nobody may see.

use std::{io, ops::Deref};

use zeroize::{Zeroize as _, Zeroizing};

/// Bytes that nobody may see. They are wiped when they are dropped, and whenever they have to move to grow.
///
/// ```
/// use fastflow_shim::mask::SecretBuffer;
///
/// let mut buffer = SecretBuffer::with_capacity(4);
/// buffer.extend(b"hunter2");
/// assert_eq!(&*buffer, b"hunter2");
/// ```
///
/// Neither of these compiles:
///
/// ```compile_fail,E0277
/// println!("{:?}", fastflow_shim::mask::SecretBuffer::default());
/// ```
///
/// ```compile_fail,E0277
/// println!("{}", fastflow_shim::mask::SecretBuffer::default());
/// ```
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "a secret that can be printed will be")]
pub struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    /// An empty one with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    /// Appends `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// Takes the first `count` bytes away, or all where there are fewer.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.0.len());
        self.0.copy_within(count.., 0);
        self.truncate(self.0.len() - count);
    }

    /// Takes away, and wipes, all but the first `count` bytes.
    pub fn truncate(&mut self, count: usize) {
        if let Some(rest) = self.0.get_mut(count..) {
            rest.zeroize();
            self.0.truncate(count);
        }
    }

    /// A vector that grows by itself would leave what it held in the memory that it had before.
    fn reserve(&mut self, more: usize) {
        let wanted = self.0.len() + more;
        if wanted > self.0.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(wanted.max(2 * self.0.capacity())));
            grown.extend_from_slice(&self.0);
            self.0 = grown;
        }
    }

    /// Appends `count` zeros, to be written over.
    pub(super) fn extend_zeroed(&mut self, count: usize) -> &mut [u8] {
        self.reserve(count);
        let start = self.0.len();
        self.0.resize(start + count, 0);
        &mut self.0[start..]
    }
}

impl Deref for SecretBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_is_wiped_and_the_rest_stays() {
        let mut buffer = SecretBuffer::default();
        for byte in 1..=100 {
            buffer.push(byte);
        }
        assert!(buffer.iter().copied().eq(1..=100));
        buffer.drop_front(90);
        assert_eq!(&*buffer, [91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
        buffer.truncate(2);
        assert_eq!(&*buffer, [91, 92]);
        assert_eq!(buffer.extend_zeroed(98), [0; 98]);
        buffer.drop_front(1_000);
        assert!(buffer.is_empty());
    }
}
