//! Following a journal while it is being written.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;

use super::{Batch, Journal, Offset, Record, read::Source};
use crate::{Clock, Error, Result};

/// The shortest wait for more. Anything new brings the wait back to it.
const POLL_MIN: Duration = Duration::from_millis(5);

/// The longest wait for more. An idle follower costs five system calls a second.
const POLL_MAX: Duration = Duration::from_millis(200);

/// Reads a journal to its end, waits, and reads on, until its writer has ended and all of it is read.
///
/// It holds one buffer and one file descriptor, however far it lags behind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> fastflow_core::Result<()> {
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, journal::{Follower, Journal, LogLine, Offset}};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("log"), b"{\"t\":\"2026-11-20T20:06:16Z\",\"s\":\"out\",\"m\":\"hi\"}\n")?;
/// let journal = Journal::<LogLine>::new(dir.path().join("log"));
/// let writer_has_ended = std::future::ready(());
/// let mut log = Follower::new(journal, Offset::START, Arc::new(SystemClock::new()), writer_has_ended);
/// while let Some(batch) = log.next_batch().await? {
///     for (_after, line) in batch.records {
///         assert_eq!(line.text(), "hi");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Follower<T> {
    journal: Journal<T>,
    clock: Arc<dyn Clock>,
    source: Option<Source>,
    position: Offset,
    wait: Duration,
    broken: Option<Error>,
    /// Resolves when the writer has ended; `None` once it has.
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T: Record> Follower<T> {
    /// Follows `journal` from `from` on, until `ended` resolves and everything written up to then is read.
    /// A file that does not exist is waited for.
    pub fn new(
        journal: Journal<T>,
        from: Offset,
        clock: Arc<dyn Clock>,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = Some(Box::pin(ended));
        Self { journal, clock, source: None, position: from, wait: POLL_MIN, broken: None, ended }
    }

    /// The position after everything that [`next_batch`](Self::next_batch) has given.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The next records, at least one; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`], but for a missing file. After `Corrupt` the next call goes on behind the broken
    /// record.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: a dropped call has consumed nothing.
    pub async fn next_batch(&mut self) -> Result<Option<Batch<T>>> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        loop {
            // Whether the writer has ended is asked before reading: what it wrote before its end is then seen.
            let over = self.has_ended().await;
            match self.read().await {
                Ok(Some(batch)) => {
                    self.wait = POLL_MIN;
                    // A long catch-up gives way to others between batches.
                    tokio::task::consume_budget().await;
                    return Ok(Some(batch));
                }
                Ok(None) if over => return Ok(None),
                Ok(None) => self.pause().await,
                Err(error) => return Err(self.journal.describe(self.position, error)),
            }
        }
    }

    /// The batches as a stream. It goes on after an error, which `Corrupt` allows; whoever gets another one
    /// should drop it.
    pub fn into_stream(self) -> impl Stream<Item = Result<Batch<T>>> + Send {
        futures::stream::unfold(self, |mut follower| async move {
            follower.next_batch().await.transpose().map(|batch| (batch, follower))
        })
    }

    async fn read(&mut self) -> Result<Option<Batch<T>>> {
        if self.source.is_none() {
            match Source::open(self.journal.path()) {
                Ok(source) => {
                    source.check(self.position)?;
                    self.source = Some(source);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(source) = &mut self.source else { return Ok(None) };
        let mut position = self.position;
        let (batch, stopped) = source.batch(&mut position).await?;
        let begin = self.position;
        self.position = position;
        match stopped {
            Some(error) if batch.records.is_empty() => Err(error),
            Some(error) => {
                self.broken = Some(self.journal.describe(batch.end, error));
                Ok(Some(batch))
            }
            None if position == begin => Ok(None),
            None => Ok(Some(batch)),
        }
    }

    async fn has_ended(&mut self) -> bool {
        let Some(ended) = &mut self.ended else { return true };
        let over = futures::poll!(ended.as_mut()).is_ready();
        if over {
            self.ended = None;
        }
        over
    }

    /// Waits a while, and less when the writer ends.
    async fn pause(&mut self) {
        let wait = self.wait;
        self.wait = (wait * 2).min(POLL_MAX);
        let Some(ended) = &mut self.ended else { return };
        tokio::select! {
            () = ended.as_mut() => self.ended = None,
            () = self.clock.sleep(wait) => {}
        }
    }
}

impl<T> fmt::Debug for Follower<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("journal", &self.journal.path)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
