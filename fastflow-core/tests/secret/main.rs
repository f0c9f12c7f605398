//! Secrets: sealed, opened, kept, found and given, with independent implementations and real files and processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod stores_chain;
mod stores_command;
mod stores_directory;
mod stores_environment;
mod stores_kit;
mod stores_limits;
