//! Runs folders of Python durably inside one process.

pub mod clock;
pub mod entropy;
pub mod environment;
pub mod error;
pub mod executor;
pub mod id;
pub mod journal;
pub mod layout;
pub mod pipeline;
pub mod run;
pub mod shim;
pub mod source;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, SystemClock, Timestamp};
pub use entropy::{Entropy, OsEntropy};
pub use error::{Error, ErrorKind, Result};
pub use id::{AttemptId, ExecutorName, OwnerId, PipelineName, RunId};
