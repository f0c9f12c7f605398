//! Whether this one hosts the database, and what the others do.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::{Shared, SqliteStore, lock::Patience};
use crate::{
    Result, Timestamp,
    hosting::{HostInfo, HostPlace},
    store::EventId,
};

/// What a store that is open may be to the others that have the same database open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Guest,
    Host { since: Timestamp },
}

impl SqliteStore {
    pub(super) async fn become_host(&self, patience: Patience, source: Option<&str>) -> Result<()> {
        let _alone = self.shared.settling.lock().await;
        // It lets go of the lock at its end, and would do so before this has taken it.
        if self.commands.is_closed() {
            return Err(self.closed());
        }
        if *self.shared.role.borrow() != Role::Guest {
            return Ok(());
        }
        tokio::select! {
            taken = self.shared.host.take(&*self.clock, patience, source) => {
                let since = taken?;
                self.shared.role.send_replace(Role::Host { since });
                Ok(())
            }
            () = self.commands.closed() => Err(self.closed()),
        }
    }

    pub(super) async fn who_hosts(&self) -> Result<Option<HostInfo>> {
        if let Role::Host { since } = *self.shared.role.borrow() {
            let host = HostInfo::new(std::process::id(), since, HostPlace::Here);
            return Ok(Some(host.of_source(self.shared.host.noted_source())));
        }
        let holder = self.shared.host.holder(&*self.clock).await?;
        Ok(holder
            .map(|owner| HostInfo::new(owner.pid, owner.since, HostPlace::Elsewhere).of_source(owner.source)))
    }
}

impl Shared {
    /// Lets another one host. Fine when this one does not.
    pub(super) async fn step_down(&self) {
        let _alone = self.settling.lock().await;
        if *self.role.borrow() != Role::Guest {
            self.role.send_replace(Role::Guest);
            self.host.release();
        }
    }

    /// Waits until others have written, and says after which event.
    pub(super) async fn written_elsewhere(&self) -> EventId {
        let mut elsewhere = self.elsewhere.subscribe();
        loop {
            let mut after = None;
            self.elsewhere.send_if_modified(|kept| {
                after = kept.take();
                false
            });
            if let Some(after) = after {
                return after;
            }
            // What came since the subscription is told at once. The sender lives as long as this.
            let _ = elsewhere.changed().await;
        }
    }

    /// What a child of this process inherits, and keeps locked for as long as it has it open.
    pub(super) fn locks(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.gate.as_fd(), self.host.as_fd()]
    }
}
