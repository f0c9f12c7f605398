//! What a host shows of a git repository, with a real server: all of a commit or nothing of it, whatever happens.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crash;
mod failure;
mod guest;
#[path = "../host/kit.rs"]
mod kit;
mod place;
mod shown;
mod storm;
