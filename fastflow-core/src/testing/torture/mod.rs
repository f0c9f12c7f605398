//! Hosts that die at any moment: nothing is lost, nothing is doubled, nothing is pretended. For any executor.
//!
//! The driver is the test, and is never killed. It keeps the plan of what each run must come to, starts real hosts (the
//! test program again, see [`HostProcess`]), kills them at random moments, and at the end compares the store, the logs
//! and the machine with the plan and with witnesses that the programs left outside of everything that is tested.
//!
//! `FASTFLOW_SEED` repeats a plan and its kills, as far as the machine allows; `FASTFLOW_KILLS` sets how many.
//!
//! ```no_run
//! # // The macro makes tests, which a documentation test cannot hold.
//! use std::path::Path;
//! use fastflow_core::{Orchestrator, OrchestratorBuilder, testing::torture::TortureFixture};
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
//! fastflow_core::executor_torture!(Mine);
//! # fn main() {}
//! ```

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a torture fails by a panic, and an error it does not expect is one"
)]

mod books;
mod container;
mod driver;
mod machine;
mod monitor;
mod plan;
mod seed;
mod storm;
mod work;

use std::{path::Path, time::Duration};

use async_trait::async_trait;

pub use self::{
    books::Books,
    container::Containers,
    driver::{HostProcess, Part},
    seed::{Chance, seed},
    storm::storm,
    work::play,
};
pub(super) use self::{
    container::{ask, curl},
    storm::check_runtime,
};
use crate::{Clock as _, OrchestratorBuilder, OwnerId, SystemClock};

/// What the torture needs to know of an executor.
#[async_trait]
pub trait TortureFixture: Send + Sync {
    /// The name by which `FASTFLOW_REQUIRE` requires it.
    fn name(&self) -> &'static str;

    /// What hosts on the folder `stage` are made from, or `None` where there is no such executor: its pipelines are in
    /// `pipelines` and its data in `data`, and programs can write into `witness` and `said`, under the paths that these
    /// have here. Asked in the driver and in every host.
    async fn builder(&self, stage: &Path) -> Option<OrchestratorBuilder>;

    /// Further fields of every `pipeline.json`.
    fn settings(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }

    /// How hard it is tortured.
    fn storm(&self) -> Storm {
        Storm::default()
    }

    /// What watches over a program.
    fn monitor(&self) -> Monitor {
        Monitor::Parent
    }

    /// What the executor's runtime still has of the installation `owner` on `stage` when all its runs have ended, asked
    /// of the runtime itself. Asked again for some time while there is something.
    async fn left(&self, stage: &Path, owner: &OwnerId) -> Vec<String> {
        let _ = (stage, owner);
        Vec::new()
    }
}

/// How hard an executor is tortured.
///
/// ```
/// let storm = fastflow_core::testing::torture::Storm::default();
/// assert_eq!((storm.kills, storm.in_flight), (60, 10));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Storm {
    /// How often the host is killed, unless `FASTFLOW_KILLS` says otherwise.
    pub kills: u64,
    /// So many runs are kept in flight.
    pub in_flight: u32,
    /// The shortest life of a host. Early deaths are as likely as late ones, by orders of magnitude.
    pub shortest_life: Duration,
    /// The longest.
    pub longest_life: Duration,
    /// After the last kill, everything must have ended so soon.
    pub calm: Duration,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            kills: 60,
            in_flight: 10,
            shortest_life: Duration::from_millis(1),
            longest_life: Duration::from_secs(3),
            calm: Duration::from_mins(1),
        }
    }
}

/// What watches over a program, and who can kill it to make the program's end unknowable.
///
/// ```
/// use fastflow_core::testing::torture::Monitor;
///
/// assert_ne!(Monitor::Parent, Monitor::FirstProcess);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Monitor {
    /// The program's parent, which the program can kill.
    Parent,
    /// The first process of the program's own namespace, which the kernel shields from everybody within. The host
    /// process kills it, so hosts must see the processes of sandboxes.
    FirstProcess,
}

/// Makes the tests of one executor: its storm, and the host process that the storm starts and kills.
#[macro_export]
macro_rules! executor_torture {
    ($fixture:expr) => {
        /// Not a test of its own: what the driver starts.
        #[::tokio::test(flavor = "multi_thread")]
        #[ignore = "the host process of other tests"]
        async fn as_a_host() {
            $crate::testing::torture::play(&$fixture).await;
        }

        #[::tokio::test(flavor = "multi_thread")]
        async fn sixty_kills_lose_nothing_and_double_nothing() {
            $crate::testing::torture::storm(&$fixture, ::std::concat!(::std::module_path!(), "::as_a_host"))
                .await;
        }
    };
}

/// Waits for `future`, and fails when it takes longer than it should.
async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        output = future => output,
        () = clock.sleep(limit) => panic!("waited {limit:?} in vain for {what}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is configured by the one who starts it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
