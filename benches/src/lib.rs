//! What the benchmarks share: engines on a throw-away data directory, floors, samples and tables.
//!
//! No figure stands alone here. Every measure has a floor, the least that the same machine could do for it,
//! and both are taken in turns in one run, so that a slow or busy machine slows both.

pub mod engine;
pub mod floor;
pub mod noop;
pub mod process;
pub mod raw_engine;
pub mod report;
pub mod sample;
pub mod watched;
