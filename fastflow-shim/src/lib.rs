//! The files an attempt leaves behind, and the order it starts from.
//!
//! The executable of this package is the first process of every attempt. It reads one [`Order`], takes the
//! run directory's [`Guard`] so that user code starts at most once, runs the program, and writes
//! the log, the usage samples and at last the [`ExitRecord`]. This library is what it and
//! its readers share: the formats, and the few facts of Linux by which a process is told from another.

pub mod clock;
pub mod exit;
pub mod guard;
pub mod layout;
pub mod mask;
pub mod order;
pub mod proc;
pub mod record;
pub mod regular;
pub mod reply;
pub mod secret;
pub mod usage;

pub use exit::{ExitRecord, LogSummary, Outcome, StopCause};
pub use guard::{Guard, GuardState};
pub use jiff::Timestamp;
pub use order::{LogLimits, MaskPolicy, Order, OrderError, Rlimits, SecretFiles, UsagePolicy};
pub use record::{LogRecord, Stream};
pub use reply::Reply;
pub use secret::Secret;
pub use usage::{SoftLimits, UsageRecord};
