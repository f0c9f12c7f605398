//! What tests of this crate, of applications and of executors share. Not for production use.
//!
//! The feature `test-kit` has what tests of others need: a store in memory, a clock that is set by hand, and the
//! conformance suites. What only the tests of this project need comes with `testing`.

#[cfg(all(feature = "testing", feature = "sqlite"))]
pub mod canary;
mod clock;
pub mod conformance;
#[cfg(all(feature = "testing", feature = "git"))]
pub mod git;
pub(crate) mod memory;
#[cfg(feature = "testing")]
pub mod simulation;
pub mod tool;
#[cfg(all(feature = "testing", feature = "sqlite"))]
pub mod torture;

pub use self::{clock::ManualClock, memory::MemoryStore};
