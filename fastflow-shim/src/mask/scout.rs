//! Passes over text in which no pattern begins.

use zeroize::Zeroizing;

/// How many bytes are looked at together.
const GRAM_BYTES: usize = 4;
/// The most bytes from one look to the next.
const MAX_STRIDE: usize = 16;
/// How many of these are looked at before anything is decided.
const LOOKS: usize = 4;
/// The smallest table: it fits into a quarter of any first-level cache.
const MIN_TABLE_BITS: u32 = 16;
/// The largest table: 256 KiB, which fits into a second-level cache.
const MAX_TABLE_BITS: u32 = 21;
/// How many bits of the table there are for one that is set, where that is possible.
const BITS_PER_GRAM: usize = 64;

/// Which four bytes may stand near the beginning of a pattern; a hash may take others for them, never miss one.
///
/// An occurrence covers the first bytes of its pattern. So one of the looks falls on these wherever it begins, if their
/// distance is such that the shortest pattern cannot lie between two of them.
#[derive(Clone, Default)]
pub(super) struct Scout {
    table: Zeroizing<Vec<u64>>,
    shift: u32,
    /// The distance between two looks.
    stride: usize,
}

impl Scout {
    /// For `patterns`, of which there are `count` and the shortest has `shortest` bytes.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]>, count: usize, shortest: usize) -> Self {
        let stride = (shortest + 1).saturating_sub(GRAM_BYTES).clamp(1, MAX_STRIDE);
        let wanted = (count * stride * BITS_PER_GRAM).next_power_of_two().trailing_zeros();
        let bits = wanted.clamp(MIN_TABLE_BITS, MAX_TABLE_BITS);
        let words = vec![0; 1 << (bits - u64::BITS.trailing_zeros())];
        let mut scout = Self { table: Zeroizing::new(words), shift: u32::BITS - bits, stride };
        for pattern in patterns {
            for gram in pattern.windows(GRAM_BYTES).take(stride) {
                let (word, bit) = scout.place(gram);
                scout.table[word] |= 1 << bit;
            }
        }
        scout
    }

    /// The first position from `from` on at which a pattern may begin: none begins between the two. What is left behind it
    /// may be too short to tell.
    #[inline]
    pub(super) fn find(&self, text: &[u8], from: usize) -> usize {
        let stride = self.stride;
        let block_bytes = (LOOKS - 1) * stride + GRAM_BYTES;
        let mut at = from + stride - 1;
        // Several at a time: they do not depend on each other, and nearly none of them finds anything.
        while let Some(block) = text.get(at..at + block_bytes) {
            let found = (0..LOOKS).fold(0, |found, look| found | self.look(&block[look * stride..]) << look);
            if found != 0 {
                // These four may be a part of what begins earlier.
                return at + found.trailing_zeros() as usize * stride + 1 - stride;
            }
            at += LOOKS * stride;
        }
        while text.get(at..at + GRAM_BYTES).is_some_and(|gram| self.look(gram) == 0) {
            at += stride;
        }
        at + 1 - stride
    }

    /// 1 where these bytes may be part of the beginning of a pattern, or else 0.
    #[inline]
    fn look(&self, gram: &[u8]) -> u64 {
        let (word, bit) = self.place(gram);
        self.table[word] >> bit & 1
    }

    #[inline]
    fn place(&self, gram: &[u8]) -> (usize, u32) {
        let number = u32::from_le_bytes([gram[0], gram[1], gram[2], gram[3]]);
        // The multiplier is the golden ratio, as in Knuth's multiplicative hashing.
        let hash = number.wrapping_mul(0x9e37_79b1) >> self.shift;
        ((hash / u64::BITS) as usize, hash % u64::BITS)
    }
}
