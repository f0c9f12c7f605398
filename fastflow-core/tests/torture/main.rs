//! Hosts that die at any moment: nothing is lost, nothing is doubled, nothing is pretended.
//!
//! The driver is the test, and is never killed. It keeps the plan of what each run must come to, starts real
//! hosts (this program again, see [`host`]), kills them, and at the end compares the store, the logs and the
//! machine with the plan and with witnesses that the programs left outside of everything that is tested.
//!
//! `FASTFLOW_SEED` repeats a plan and its kills, as far as the machine allows; `FASTFLOW_KILLS` sets how many.

#![expect(clippy::print_stdout, reason = "the seed and what was hit belong to the answer of the test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod build;
mod drain;
mod driver;
mod host;
#[path = "../host/kit.rs"]
mod kit;
mod plan;
mod restart;
mod seed;
mod storm;
