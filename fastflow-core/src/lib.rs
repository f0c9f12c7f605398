//! Runs folders of Python durably inside one process.

pub mod clock;
pub mod entropy;
pub mod environment;
pub mod error;
pub mod id;
pub mod pipeline;
pub mod source;

pub use clock::{Clock, SystemClock, Timestamp};
pub use entropy::{Entropy, OsEntropy};
pub use error::{Error, ErrorKind, Result};
pub use id::{AttemptId, ExecutorName, OwnerId, PipelineName, RunId};
