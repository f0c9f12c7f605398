//! Randomness. The one place that may ask for it, so that a test can replay it.

use std::fmt;

/// A source of random bytes, for ids, jitter and keys. Only [`OsEntropy`] makes keys that nobody can guess.
///
/// ```
/// use fastflow_core::{Entropy, RunId, SystemClock};
///
/// #[derive(Debug)]
/// struct Always(u8);
///
/// impl Entropy for Always {
///     fn fill(&self, bytes: &mut [u8]) {
///         bytes.fill(self.0);
///     }
/// }
///
/// let id = RunId::new(&SystemClock::new(), &Always(7));
/// assert_eq!(id.as_bytes()[15], 7);
/// ```
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes` with random values.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source.
///
/// ```
/// use fastflow_core::{Entropy, OsEntropy};
///
/// let mut bytes = [0; 32];
/// OsEntropy.fill(&mut bytes);
/// assert_ne!(bytes, [0; 32]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // The system call fails only where the kernel has no random source at all; nothing works there.
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}
