//! Runs folders of Python durably inside one process.
//!
//! A pipeline is a folder with a `main.py`. A host program gives an [`Orchestrator`] a folder of pipelines, and
//! each of their runs gets its own environment, its own copy of the code, live logs and usage, limits, retries,
//! and a life that does not depend on the host's: kill the host at any instruction, and the next one picks the
//! runs up with nothing lost and nothing doubled.
//!
//! ```no_run
//! use fastflow_core::Orchestrator;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> fastflow_core::Result<()> {
//! let flow = Orchestrator::builder("./var").pipelines("./pipelines").build().await?;
//! flow.start().await?;
//! let run = flow.submit("hello").await?;
//! let run = flow.runs().wait(run.id).await?;
//! println!("{} {}", run.pipeline(), run.status());
//! # Ok(())
//! # }
//! ```
//!
//! # Five concepts
//!
//! A **pipeline** is defined ([`pipeline`]), a **run** is one execution of it ([`mod@run`]), an **attempt** is one
//! try of a run, an **executor** starts attempts in sandboxes ([`executor`]), a **journal** holds what they said
//! ([`journal`]).
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `sqlite` | yes | [`store::SqliteStore`](store), the store that needs nothing installed |
//! | `git` | no | [`source::GitSource`](source): pipelines from a repository |
//! | `test-kit` | no | a clock that is moved by hand, a store in memory, and the conformance suites for executors and stores of your own |
//! | `testing` | no | the same, and what the tests of this crate need beside it: hosts that are killed, simulated time, servers of git |

// In the order of reading: the ground, the model, the ports, what flows, the host, the facade.
pub mod clock;
mod durable;
pub mod entropy;
pub mod error;
mod hex;
pub mod id;
mod process_group;
mod removal;

pub mod pipeline;
pub mod run;
pub mod schedule;

pub mod environment;
pub mod executor;
pub mod secret;
pub mod shim;
pub mod source;
pub mod store;

pub mod journal;

mod code;
mod host;
pub mod hosting;
pub mod layout;

pub mod builder;
pub mod orchestrator;
mod submission;

#[cfg(feature = "test-kit")]
pub mod testing;

pub use builder::OrchestratorBuilder;
pub use clock::{Clock, SystemClock, Timestamp};
pub use code::Code;
pub use entropy::{Entropy, OsEntropy};
pub use error::{Error, ErrorKind, Result};
pub use host::{AuditPolicy, Preheat, Retention, dispatcher::Shutdown};
pub use hosting::{HostInfo, Hosting};
pub use id::{AttemptId, ExecutorName, OwnerId, PipelineName, RunId};
pub use orchestrator::Orchestrator;
pub use schedule::ScheduleId;
pub use submission::Submission;
