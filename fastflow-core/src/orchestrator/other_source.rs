//! What is said where two sources of pipelines share one data directory.

use std::sync::Arc;

use crate::{HostInfo, Timestamp, host::Ports, hosting::HostPlace};

/// Says once of each host that its pipelines come from somewhere else than those of this orchestrator, which waits beside
/// it. A rolling deployment may want that; by mistake, schedules would be missed without a word.
#[derive(Debug, Default)]
pub(super) struct OtherSource {
    /// The process that hosted when it was looked last, and since when.
    seen: Option<(u32, Timestamp)>,
}

impl OtherSource {
    /// Looks who hosts now.
    pub(super) async fn look(&mut self, ports: &Arc<Ports>) {
        let Some(own) = ports.source.origin() else { return };
        let host = match ports.store.hosted_by().await {
            Ok(Some(host)) if host.place == HostPlace::Elsewhere => host,
            // Who has just let go, or has not said yet who it is, is none to speak of.
            Ok(_) => return,
            Err(error) => return tracing::debug!(%error, "it cannot be found out now which process hosts"),
        };
        if self.seen.replace((host.pid, host.since)) == Some((host.pid, host.since)) {
            return;
        }
        // Finding where folders really are may take long.
        let compared =
            tokio::task::spawn_blocking(move || host.has_other_source(Some(&own)).then_some((host, own)));
        if let Ok(Some((host, own))) = compared.await {
            warn(ports, &host, &own);
        }
    }
}

fn warn(ports: &Ports, host: &HostInfo, own: &str) {
    tracing::warn!(
        pid = host.pid,
        its_source = host.source.as_deref(),
        own_source = own,
        data_directory = %ports.data.root().display(),
        "another process hosts this data directory for another source of pipelines: the schedules of that source start, \
         those of this one do not; give each source a data directory of its own"
    );
}
