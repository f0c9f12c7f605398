//! Keeping notes about runs, and finding what was noted before.

use super::{Ports, backoff::Backoff};
use crate::run::{Decision, Note, Run};

/// Keeps a note about the newest attempt, however long the store takes none. One that comes too late is dropped: it is
/// for whoever has the run.
pub(super) async fn keep(ports: &Ports, run: &Run, decision: Decision) {
    let note = Note { at: ports.clock.now(), attempt: run.attempt, decision };
    let mut backoff = Backoff::new();
    while let Err(error) = ports.store.note(run.id, run.epoch, note.clone()).await {
        if !error.is_transient() {
            tracing::info!(%error, %note, "not noted");
            return;
        }
        tracing::error!(%error, "the store takes no notes now");
        backoff.wait(&*ports.clock).await;
    }
}

/// What was noted about a run, however long the store cannot be read. Nothing when it never will be.
pub(super) async fn of(ports: &Ports, run: &Run) -> Vec<Note> {
    let mut backoff = Backoff::new();
    loop {
        match ports.store.notes(run.id).await {
            Ok(notes) => return notes,
            Err(error) if error.is_transient() => tracing::warn!(%error, "the store cannot be read now"),
            Err(error) => {
                tracing::error!(%error, "the notes about a run cannot be read");
                return Vec::new();
            }
        }
        backoff.wait(&*ports.clock).await;
    }
}
