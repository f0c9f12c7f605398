//! The names of the files in an attempt's run directory.

/// Who started the attempt, or that nobody may: [`Guard`](crate::Guard).
pub const GUARD: &str = "guard.json";

/// What the program wrote, one [`LogRecord`](crate::LogRecord) a line.
pub const LOG: &str = "log.ndjson";

/// The newest records of a log that has outgrown its limit, while the attempt lives. They are appended to
/// [`LOG`] and removed at its end, so a reader finds them only after the shim itself was killed.
pub const LOG_TAIL: [&str; 2] = ["log.tail.0", "log.tail.1"];

/// CPU and memory over time, one [`UsageRecord`](crate::UsageRecord) a line.
pub const USAGE: &str = "usage.ndjson";

/// How the attempt ended: [`ExitRecord`](crate::ExitRecord). Whoever sees it sees all of it, and finds the
/// other files complete.
pub const EXIT: &str = "exit.json";

/// Room kept on the disk for [`EXIT`], so that a full disk cannot hide how an attempt ended.
pub const EXIT_RESERVE: &str = "exit.json.reserved";

/// The usual name of an order that is handed over as a file.
pub const ORDER: &str = "order.json";

/// The usual name of a [`Reply`](crate::Reply) that is given as a file.
pub const REPLY: &str = "reply.json";
