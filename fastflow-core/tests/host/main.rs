//! What an embedding program sees of the host, with real processes, files and SQLite.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancel;
mod disk;
mod environment;
mod events;
mod health;
mod kit;
mod life;
mod limits;
mod logs;
mod machine;
mod outage;
mod queue;
mod refusal;
mod retention;
mod retry;
mod revision;
mod shutdown;
mod soft_limits;
