//! The same work for many pipelines, on a few threads.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use super::objects::{Budget, Objects};
use crate::{Error, ErrorKind, Result};

/// More threads than this wait for the disk.
const MAX_THREADS: usize = 8;

/// Does `work` for each of `tasks`, each thread with a handle of the repository of its own. The results are in the
/// order of the tasks. After an error no more tasks are begun.
pub(super) fn for_each<T: Sync, R: Send>(
    objects: Objects<'_>,
    tasks: &[T],
    work: impl Fn(Objects<'_>, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = processors.min(MAX_THREADS).min(tasks.len());
    if count == 0 {
        return Ok(Vec::new());
    }
    let shared = objects.repo.clone().into_sync();
    let budget: &Budget<'_> = objects.budget;
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || -> Result<Vec<(usize, R)>> {
        let repo = shared.to_thread_local();
        let objects = Objects { repo: &repo, budget };
        let mut results = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(index) else { break };
            let result = work(objects, task).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            results.push((index, result));
        }
        Ok(results)
    };
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(run)).collect();
        let mut all = Vec::with_capacity(tasks.len());
        let mut first = None;
        // All of them are waited for: a panic that nobody takes would go on here.
        for thread in threads {
            match thread.join() {
                Ok(Ok(mut results)) => all.append(&mut results),
                Ok(Err(error)) => first = first.or(Some(error)),
                Err(_) => first = first.or_else(|| Some(panicked())),
            }
        }
        first.map_or(Ok(all), Err)
    })?;
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "reading the repository panicked")
}
