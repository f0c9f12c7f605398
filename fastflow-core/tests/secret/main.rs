//! Secrets: sealed, opened, kept, found and given, with independent implementations and real files and processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../host/kit.rs"]
mod kit;
mod rotation;
