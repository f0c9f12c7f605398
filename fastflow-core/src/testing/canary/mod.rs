//! Secrets that nobody may find: real hosts give unique values to programs that do everything to let them out, and then
//! all that anybody else could read is searched for them. For any executor.
//!
//! The values come from the store, from somebody else, from sealed text of pipelines, from a token of Fernet, and from a
//! program while it runs; as variables and as files; of one line and of several. Programs say them in every encoding, in
//! pieces and amid garbage, leave them for others to read, crash with them in their last words, run into their time
//! limit, are cancelled and killed, lose what watches over them, and cannot be started at all. Their hosts are killed in
//! the middle of that, and the next ones go on.
//!
//! Meanwhile and afterwards every form of every value is looked for: in the store's file and its log, in all of the data
//! directory and of the executor's, in what hosts trace, say and show, in what is in memory, in the arguments and
//! variables of everybody but the program, and in what the runtime tells of its sandboxes. A value that is no secret and
//! goes the same ways has to be found wherever it can be, or the search proves nothing.
//!
//! `FASTFLOW_SEED` repeats the order of the runs and the moments of their ends, as far as the machine allows; the values
//! are new each time.
//!
//! ```no_run
//! # // The macro makes tests, which a documentation test cannot hold.
//! use std::path::Path;
//! use fastflow_core::{
//!     Orchestrator, OrchestratorBuilder,
//!     testing::{canary::CanaryFixture, torture::TortureFixture},
//! };
//!
//! struct Mine;
//!
//! #[async_trait::async_trait]
//! impl TortureFixture for Mine {
//!     fn name(&self) -> &'static str {
//!         "mine"
//!     }
//!     async fn builder(&self, stage: &Path) -> Option<OrchestratorBuilder> {
//!         // With an executor of mine; None where it cannot be had.
//!         Some(Orchestrator::builder(stage.join("data")).pipelines(stage.join("pipelines")))
//!     }
//! }
//!
//! impl CanaryFixture for Mine {}
//!
//! fastflow_core::executor_canary!(Mine);
//! # fn main() {}
//! ```

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a canary fails by a panic, and an error it does not expect is one"
)]

mod check;
mod container;
mod driver;
mod forms;
mod host;
mod memory;
mod plan;
mod processes;
mod search;
mod trouble;
mod values;
mod watch;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{driver::search_everywhere, host::play};
use super::torture::{Chance, TortureFixture};
use crate::OwnerId;

/// What the search needs to know of an executor, beside what a torture needs.
#[async_trait]
pub trait CanaryFixture: TortureFixture {
    /// All that the runtime tells of each sandbox that there is of this owner, and of what has happened to them, to whoever
    /// asks it past the executor. Asked for again and again while there are some. Empty where there is nobody to be asked.
    async fn views(&self, owner: &OwnerId) -> Vec<String> {
        let _ = owner;
        Vec::new()
    }

    /// Ends the sandbox in which this process of this machine is, past the executor, with the runtime's own tools. `false`
    /// where the runtime has no such thing, or the process is in no sandbox any more.
    async fn end_sandbox(&self, process: u32, how: SandboxEnd) -> bool {
        let _ = (process, how);
        false
    }

    /// For how long hosts live that are killed in the middle: the shortest time and the longest.
    fn lives(&self) -> (Duration, Duration) {
        (Duration::from_millis(600), Duration::from_secs(4))
    }
}

/// What a runtime's own tools do to a sandbox.
///
/// ```
/// use fastflow_core::testing::canary::SandboxEnd;
///
/// assert_ne!(SandboxEnd::Killed, SandboxEnd::Removed);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SandboxEnd {
    /// They kill it.
    Killed,
    /// They take it away, killing it first.
    Removed,
}

/// Makes the test of one executor: the search, and the host process that it starts and kills.
#[macro_export]
macro_rules! executor_canary {
    ($fixture:expr) => {
        /// Not a test of its own: what the search starts.
        #[::tokio::test(flavor = "multi_thread")]
        #[ignore = "the host process of other tests"]
        async fn as_a_host() {
            $crate::testing::canary::play(&$fixture).await;
        }

        #[::tokio::test(flavor = "multi_thread")]
        async fn no_secret_is_found_anywhere() {
            $crate::testing::canary::search_everywhere(
                &$fixture,
                ::std::concat!(::std::module_path!(), "::as_a_host"),
            )
            .await;
        }
    };
}
