//! What tests of this crate and of executors share. Not for production use.

pub mod conformance;
mod memory;
pub mod tool;
#[cfg(feature = "sqlite")]
pub mod torture;

pub use self::memory::MemoryStore;
