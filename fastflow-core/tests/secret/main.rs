//! Secrets: sealed, opened, kept, found and given, with independent implementations and real files and processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../host/kit.rs"]
mod kit;
mod rotation;
mod seal_bound;
mod seal_fernet;
mod seal_file;
mod seal_key;
mod seal_kit;
mod seal_known;
mod seal_program;
mod seal_unique;
mod stores_chain;
mod stores_command;
mod stores_directory;
mod stores_environment;
mod stores_kit;
mod stores_limits;
