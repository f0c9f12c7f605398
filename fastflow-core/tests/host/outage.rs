//! One executor of two does not answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, Error, ErrorKind, OwnerId, Result, SystemClock,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, ExecutionHandle, Executor, Health, ProcessConfig,
        ProcessExecutor, Reattached, Start,
    },
    orchestrator::Waiting,
    run::Status,
};
use tokio::sync::watch;

use crate::kit::{Place, attempts, clock, count, ended, run, started, within_time};

/// A runtime that can be gone: then it starts nothing, and whoever asks it waits until it is back.
#[derive(Debug)]
struct Absent {
    inner: ProcessExecutor,
    is_up: watch::Receiver<bool>,
    questions: Arc<AtomicU32>,
}

#[async_trait]
impl Executor for Absent {
    fn kind(&self) -> &'static str {
        "absent"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Result<()> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let mut is_up = self.is_up.clone();
        is_up.wait_for(|is_up| *is_up).await.unwrap();
        self.inner.probe().await
    }

    fn health(&self) -> Health {
        if *self.is_up.borrow() {
            return Health::Up;
        }
        let now = SystemClock::new().now();
        Health::Down { since: now, retry_at: now, reason: "it is gone".to_owned() }
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        if !*self.is_up.borrow() {
            return Err(Error::new(ErrorKind::Unavailable, "it is gone"));
        }
        self.inner.start(spec).await
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        self.inner.list(owner).await
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        self.inner.reattach(attempt).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_wait_for_their_executor_while_another_one_is_up() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let process = |dir| ProcessExecutor::new(&ProcessConfig::new(place.root().join(dir)), clock()).unwrap();
    let (up, is_up) = watch::channel(true);
    let questions = Arc::new(AtomicU32::new(0));
    let absent = Absent { inner: process("absent"), is_up, questions: Arc::clone(&questions) };
    let builder = place.builder().executor("here", process("here")).executor("absent", absent);
    let flow = started(builder.max_concurrent_runs(count(1))).await;
    up.send_replace(false);
    questions.store(0, Ordering::SeqCst);

    let mut waiting = Vec::new();
    for _ in 0..3 {
        let wanted = place.ask("hello").executor("absent".parse().unwrap()).priority(100);
        waiting.push(flow.submit(wanted).await.unwrap().id);
    }
    // Each of them is claimed past those that wait, and so the dispatcher looks at them several times.
    for _ in 0..5 {
        assert_eq!(run(&flow, "hello").await.status(), Status::Success);
    }
    for id in &waiting {
        let Some(Waiting::Executor { executor, reason, .. }) = flow.runs().waiting(*id).await.unwrap() else {
            panic!("it does not say why it waits");
        };
        assert_eq!((executor.as_str(), reason.as_str()), ("absent", "it is gone"));
        assert_eq!(flow.runs().get(*id).await.unwrap().attempt, 0);
    }
    assert!(questions.load(Ordering::SeqCst) <= 1, "nobody asks twice before there is an answer");

    up.send_replace(true);
    // Less than what the dispatcher sleeps by itself: the answer wakes it.
    within_time("runs whose executor is back", Duration::from_secs(20), async {
        for id in &waiting {
            let done = ended(&flow, *id).await;
            assert_eq!((done.status(), done.attempt), (Status::Success, 1), "{done:?}");
            assert_eq!(attempts(&flow, *id).await.len(), 1);
        }
    })
    .await;
}
