//! The store in memory, and hosts that live in simulated time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancelled;
mod memory;
mod seeds;
