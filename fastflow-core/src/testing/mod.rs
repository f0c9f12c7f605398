//! What tests of this crate and of executors share. Not for production use.

#[cfg(feature = "sqlite")]
pub mod canary;
pub mod conformance;
#[cfg(feature = "git")]
pub mod git;
pub(crate) mod memory;
pub mod simulation;
pub mod tool;
#[cfg(feature = "sqlite")]
pub mod torture;

pub use self::memory::MemoryStore;
