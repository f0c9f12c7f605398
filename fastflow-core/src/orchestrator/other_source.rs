//! What is said where two sources of pipelines share one data directory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::life::Task;
use crate::{Clock, HostInfo, Timestamp, host::Ports, hosting::HostPlace};

/// How long it is looked which folders two sources are: the file system of one may not answer.
const COMPARE_LIMIT: Duration = Duration::from_secs(30);

/// Says once of each host that its pipelines come from somewhere else than those of this orchestrator, which waits beside
/// it. A rolling deployment may want that; by mistake, schedules would be missed without a word.
#[derive(Debug, Default)]
pub(super) struct OtherSource {
    /// The process that hosted when it was looked last, and since when.
    seen: Option<(u32, Timestamp)>,
    /// Says it, beside whatever else there is to do: nobody waits for a file system that does not answer.
    comparing: Option<Task>,
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
        let sources = Sources { host, own, data: ports.data.root().to_owned() };
        self.comparing = Some(Task::spawn(sources.compare(Arc::clone(&ports.clock))));
    }
}

/// Those of one data directory.
struct Sources {
    host: HostInfo,
    own: String,
    data: PathBuf,
}

impl Sources {
    async fn compare(self, clock: Arc<dyn Clock>) {
        let compared =
            tokio::task::spawn_blocking(move || self.host.has_other_source(Some(&self.own)).then_some(self));
        tokio::select! {
            compared = compared => {
                if let Ok(Some(sources)) = compared {
                    sources.warn();
                }
            }
            () = clock.sleep(COMPARE_LIMIT) => {
                tracing::debug!("it cannot be found out now whether the process that hosts has other pipelines");
            }
        }
    }

    fn warn(&self) {
        tracing::warn!(
            pid = self.host.pid,
            its_source = self.host.source.as_deref(),
            own_source = self.own,
            data_directory = %self.data.display(),
            "another process hosts this data directory for another source of pipelines: the schedules of that source \
             start, those of this one do not; give each source a data directory of its own"
        );
    }
}
