//! Tells whoever watches what happens to the source.

use futures::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::source::SourceEvent;

/// How many events a slow watcher may be behind before it loses the oldest.
const MAX_BEHIND: usize = 1024;

/// The watchers of a source.
#[derive(Debug)]
pub(crate) struct SourceEvents(broadcast::Sender<SourceEvent>);

impl Default for SourceEvents {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BEHIND))
    }
}

impl SourceEvents {
    /// Tells those who watch now. Never blocks.
    pub(crate) fn tell(&self, event: SourceEvent) {
        // An error means that nobody watches.
        let _ = self.0.send(event);
    }

    /// What happens from now on.
    pub(crate) fn watch(&self) -> impl Stream<Item = SourceEvent> + Send + use<> {
        stream::unfold(self.0.subscribe(), |mut events| async move {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((event, events)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    }
}
