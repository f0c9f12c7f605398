//! What tests of this crate and of executors share. Not for production use.

pub mod conformance;
pub mod tool;
#[cfg(feature = "sqlite")]
pub mod torture;
