//! What the shim answers to the one who started it.

use serde::{Deserialize, Serialize};

use crate::GuardState;

/// One JSON line on the shim's standard output, when it is asked to reply. It closes that pipe afterwards; a
/// pipe that closes without a reply means that the shim has ended without doing anything, or that it died.
///
/// ```
/// use fastflow_shim::Reply;
///
/// let line = r#"{"reply":"exec_failed","errno":2,"message":"No such file or directory"}"#;
/// assert!(matches!(serde_json::from_str(line).unwrap(), Reply::ExecFailed { errno: Some(2), .. }));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// The program runs.
    Started {
        /// The shim: what to signal.
        pid: u32,
        /// When the shim started, in clock ticks since boot.
        start_time_ticks: u64,
        /// The boot that both are of.
        boot_id: String,
        /// The program.
        program_pid: u32,
    },
    /// The attempt was started before, or must never start. Nothing was done.
    Refused {
        /// What the guard says.
        guard: GuardState,
    },
    /// The program could not be started. The exit record says the same.
    ExecFailed {
        /// The kernel's reason, where it was the kernel's.
        errno: Option<i32>,
        /// What failed.
        message: String,
    },
    /// The order cannot be carried out. Nothing was done.
    BadOrder {
        /// The kernel's reason, where the order is right and the machine did not allow it.
        #[serde(default)]
        errno: Option<i32>,
        /// What is wrong with it.
        message: String,
    },
}
