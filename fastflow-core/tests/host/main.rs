//! What an embedding program sees of the host, with real processes, files and SQLite.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancel;
mod capacity;
mod chain;
mod code;
mod daemon;
mod disk;
mod environment;
mod events;
mod explain;
mod health;
mod join;
mod kit;
#[path = "../environment/lab.rs"]
#[expect(dead_code, reason = "made for the tests of the builder, and not all of it is needed here")]
mod lab;
mod ledger;
mod life;
mod limits;
mod logs;
mod machine;
mod odd;
mod outage;
mod parameter;
mod preheat;
mod queue;
mod refusal;
mod retention;
mod retry;
mod revision;
mod schedule;
mod secret;
mod shutdown;
mod soft_limits;
mod stage;
mod watch;
