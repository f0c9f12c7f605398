//! More memory for an attempt, after others of its run have run out of it.

use super::{Ports, backoff::Backoff, notes};
use crate::{
    executor::AttemptSpec,
    pipeline::ByteSize,
    run::{AttemptEnd, Decision, Exit, Failure, Run},
};

/// Raises the memory limit of an attempt as its policy says, and notes it.
pub(super) async fn raise(ports: &Ports, run: &Run, spec: &mut AttemptSpec) {
    let policy = &run.spec.pipeline.definition.retry;
    let Some(base) = spec.limits.memory_bytes.filter(|_| policy.memory.is_some() && run.failed_attempts > 0)
    else {
        return;
    };
    let ByteSize(bytes) = policy.memory_limit(ByteSize(base), ran_out(ports, run).await);
    if bytes > base {
        spec.limits.memory_bytes = Some(bytes);
        notes::keep(ports, run, Decision::MoreMemory { bytes }).await;
    }
}

/// How many attempts of a run have run out of memory.
async fn ran_out(ports: &Ports, run: &Run) -> u32 {
    let out_of_memory = AttemptEnd::Failed(Failure::Exit(Exit::OutOfMemory));
    let mut backoff = Backoff::new();
    loop {
        match ports.store.attempts(run.id).await {
            Ok(attempts) => {
                let ends =
                    attempts.into_iter().filter(|attempt| attempt.end.as_ref() == Some(&out_of_memory));
                return u32::try_from(ends.count()).unwrap_or(u32::MAX);
            }
            Err(error) if error.is_transient() => tracing::warn!(%error, "the store cannot be read now"),
            Err(error) => {
                // Whatever it is, it keeps the attempt's end from being recorded, too.
                tracing::error!(%error, "the attempts of a run cannot be read");
                return 0;
            }
        }
        backoff.wait(&*ports.clock).await;
    }
}
