//! What other processes write: their events become the signals that this one's own writes are, too.

use std::{num::NonZeroU32, sync::Arc};

use super::{Ports, backoff::Backoff};
use crate::{
    Result,
    source::Commit,
    store::{Event, EventId},
};

/// Events read from the store at once.
const BATCH: NonZeroU32 = NonZeroU32::new(256).expect("it is not 0");

/// Tells this process what others have written, until it is dropped.
pub(crate) async fn hear(ports: Arc<Ports>) {
    let mut backoff = Backoff::new();
    loop {
        let mut after = ports.store.written_elsewhere().await;
        // Whoever waits must be told, however long the store cannot be read.
        while let Err(error) = tell(&ports, &mut after).await {
            tracing::debug!(%error, "what other processes have written cannot be read now");
            backoff.wait(&*ports.clock).await;
        }
        backoff = Backoff::new();
        // There are no events of these.
        ports.signals.reschedule();
        ports.signals.publish_elsewhere();
    }
}

async fn tell(ports: &Ports, after: &mut EventId) -> Result<()> {
    loop {
        let events = ports.store.events(*after, BATCH).await?;
        for event in &events {
            heard(ports, event);
        }
        let Some(last) = events.last() else { return Ok(()) };
        *after = last.id;
    }
}

/// Some of them may be this process's own. To hear of those once more harms nobody.
fn heard(ports: &Ports, event: &Event) {
    ports.signals.moved(event.run, event.id);
    if event.is_queued() {
        ports.signals.queued(true);
    }
    if event.is_stop() {
        ports.signals.stop(event.run);
    }
}

/// Shows what the host publishes, until it is dropped.
pub(crate) async fn follow(ports: Arc<Ports>) {
    let mut backoff = Backoff::new();
    loop {
        match show(&ports).await {
            Ok(()) => {
                backoff = Backoff::new();
                ports.signals.published_elsewhere().await;
            }
            Err(error) => {
                tracing::debug!(%error, "what is published cannot be shown yet");
                backoff.wait(&*ports.clock).await;
            }
        }
    }
}

/// Shows the commit that the store has, if another one is shown. What has no commits shows by itself what there is.
async fn show(ports: &Ports) -> Result<()> {
    let Some(published) = ports.store.published().await? else { return Ok(()) };
    if shown(ports).await.as_ref() == Some(&published) {
        return Ok(());
    }
    ports.source.restore(&published).await
}

async fn shown(ports: &Ports) -> Option<Commit> {
    // One that shows nothing yet has an error instead.
    ports.source.catalog().await.ok()?.commit.clone()
}
