//! Environments, built by a real uv out of real packages.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attack;
mod build;
mod elsewhere;
mod failure;
mod hidden;
mod lab;
mod lock;
mod measure;
mod place;
mod process;
