//! Several processes that have one data directory open: one of them hosts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod forked;
mod guest;
mod keys;
#[path = "../host/kit.rs"]
mod kit;
mod other_source;
mod process;
mod role;
mod storm;
mod takeover;
