//! The shim, seen from outside: real processes, real files.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod delivery;
mod encodings;
mod ending;
mod guarding;
mod harness;
mod intake;
mod leaks;
mod machine;
mod masking;
mod output;
mod sandbox;
