//! Programs that end with us, and all that they have started with them.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// Kills a child's whole process group unless it has ended.
pub(crate) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group of a child that leads one.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// It has ended: its number may be another one's.
    pub(crate) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may just have ended; then there is nobody to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
