//! Randomness. The one place that may ask for it, so that a test can replay it.

use std::fmt;

/// A source of random bytes, for ids and jitter. Not for keys.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes` with random values.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // The system call fails only where the kernel has no random source at all; nothing works there.
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}
