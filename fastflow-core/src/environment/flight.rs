//! One build for all who wait for it.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use tokio::{sync::watch, task::JoinHandle};

use super::{Environment, EnvironmentFailure, EnvironmentFailureKind, SetupLog};

/// The most lines of one build that a late listener still hears.
const LINES_MAX: usize = 10_000;

pub(super) type Outcome = Result<Environment, EnvironmentFailure>;

/// The builds that are going on in this process, by what they build.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Flight>>);

struct Flight {
    outcome: WeakShared<BoxFuture<'static, Outcome>>,
    lines: Arc<Lines>,
}

impl Flights {
    /// Waits for the build of `key`, which is started if nobody has. All its lines go to `log`.
    ///
    /// # Cancel safety
    ///
    /// The build is aborted when the last one stops waiting.
    pub(super) async fn join<F>(
        &self,
        key: String,
        log: &dyn SetupLog,
        build: impl FnOnce(Arc<Lines>) -> F + Send,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (outcome, lines, is_first) = self.board(key, build);
        let mut outcome = pin!(outcome);
        let mut told = lines.count.subscribe();
        let mut heard = 0;
        // Who comes late hears at once what was said before: there may be nothing new for long.
        lines.tell(&mut heard, log);
        loop {
            tokio::select! {
                ended = &mut outcome => {
                    lines.tell(&mut heard, log);
                    return ended.map(|environment| Environment {
                        built: environment.built && is_first,
                        ..environment
                    });
                }
                _ = told.changed() => lines.tell(&mut heard, log),
            }
        }
    }

    fn board<F>(
        &self,
        key: String,
        build: impl FnOnce(Arc<Lines>) -> F,
    ) -> (Shared<BoxFuture<'static, Outcome>>, Arc<Lines>, bool)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key)
            && let Some(outcome) = flight.outcome.upgrade()
            && outcome.peek().is_none()
        {
            return (outcome, Arc::clone(&flight.lines), false);
        }
        flights.retain(|_, flight| flight.outcome.upgrade().is_some_and(|outcome| outcome.peek().is_none()));
        let lines = Arc::new(Lines::default());
        let outcome = Task(tokio::spawn(build(Arc::clone(&lines)))).boxed().shared();
        if let Some(weak) = outcome.downgrade() {
            flights.insert(key, Flight { outcome: weak, lines: Arc::clone(&lines) });
        }
        (outcome, lines, true)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// A task that ends with this value.
struct Task(JoinHandle<Outcome>);

impl Future for Task {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.poll_unpin(cx).map(|joined| {
            joined.unwrap_or_else(|error| {
                let message = format!("the build did not end by itself: {error}");
                Err(EnvironmentFailure::new(EnvironmentFailureKind::Internal, message))
            })
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a build says, for everybody who waits for it, also from later on.
#[derive(Debug)]
pub(super) struct Lines {
    said: Mutex<Vec<Arc<str>>>,
    count: watch::Sender<usize>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { said: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl SetupLog for Lines {
    fn line(&self, text: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.len() {
            LINES_MAX.. => return,
            length if length + 1 == LINES_MAX => said.push("[further lines are left out]".into()),
            _ => said.push(text.into()),
        }
        self.count.send_replace(said.len());
    }
}

impl Lines {
    /// Tells `log` what it has not heard yet.
    fn tell(&self, heard: &mut usize, log: &dyn SetupLog) {
        let new: Vec<Arc<str>> = {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said[*heard..].to_vec()
        };
        *heard += new.len();
        for line in &new {
            log.line(line);
        }
    }
}
