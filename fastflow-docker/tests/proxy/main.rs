//! Behind a filter such as `docker-socket-proxy`: what has to be let through, and what is said when something is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod filter;
mod life;
mod socket;

use std::{path::PathBuf, time::Duration};

use fastflow_core::{
    Clock as _, ErrorKind, Result, SystemClock,
    executor::{Ended, Execution, Executor, Health},
    run::Exit,
};

use hyper::Method;

use self::{
    filter::Filter,
    life::{Life, started, with_life},
};

/// The least that has to be set to 1.
const LEAST: [&str; 6] = ["CONTAINERS", "IMAGES", "INFO", "NETWORKS", "POST", "VERSION"];
/// What `docker-socket-proxy` has: 10 minutes.
const PATIENCE: Duration = Duration::from_mins(10);
/// A patience so short that no wait for a container goes by without it.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// More than the failures in a row after which an engine is left alone.
const MANY: usize = 8;
/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_least_set_is_enough() {
    with_life(async |life| {
        let filter = Filter::start(&life.engine, &LEAST, PATIENCE).await;
        life.live(&life.executor(filter.address()), &life.executor(filter.address())).await.unwrap();
        let asked = filter.asked();
        assert!(asked.iter().all(|asked| asked.passed), "{asked:?}");
        // Nothing is watched but single containers: events of the whole machine are nobody's here.
        assert!(asked.iter().all(|asked| !asked.path.contains("/events")), "{asked:?}");
        assert!(asked.iter().any(|asked| asked.method == Method::DELETE), "{asked:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_missing_is_named_and_nothing_is_left() {
    with_life(async |life| {
        for missing in LEAST {
            let others: Vec<_> = LEAST.into_iter().filter(|variable| *variable != missing).collect();
            let filter = Filter::start(&life.engine, &others, PATIENCE).await;
            let executor = life.executor(filter.address());
            let error = life.live(&executor, &executor).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{missing}: {error:?}");
            assert!(error.chain().contains(&format!("{missing}=1")), "{missing}: {error:?}");
            assert_eq!(executor.health(), Health::Up, "{missing}: an engine that refuses is there");
            assert!(life.is_over().await, "{missing}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_is_missing() {
    with_life(async |life| {
        for missing in LEAST {
            let others: Vec<_> = LEAST.into_iter().filter(|variable| *variable != missing).collect();
            let filter = Filter::start(&life.engine, &others, PATIENCE).await;
            let error = life.executor(filter.address()).start(life.spec("exit 0")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{missing}: {error:?}");
            assert!(error.chain().contains(&format!("{missing}=1")), "{missing}: {error:?}");
            assert!(life.is_over().await, "{missing}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_change_no_outcome() {
    with_life(async |life| {
        let filter = Filter::start(&life.engine, &LEAST, IMPATIENCE).await;
        let executor = life.executor(filter.address());
        let crowd = Crowd::new(life, &executor).await;
        let meanwhile = async {
            while filter.cut() < 3 * MANY {
                assert_eq!(life.run(&executor, "exit 0").await.unwrap(), Exit::Code(0));
            }
            crowd.let_go();
        };
        let (ends, ()) = tokio::join!(crowd.wait(), meanwhile);
        crowd.check(ends).await;
        life.live(&executor, &executor).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_all_cut_at_once_are_no_engine_that_is_down() {
    with_life(async |life| {
        let filter = Filter::start(&life.engine, &LEAST, PATIENCE).await;
        let executor = life.executor(filter.address());
        let crowd = Crowd::new(life, &executor).await;
        let waits = || filter.asked().iter().filter(|asked| asked.path.ends_with("/wait")).count();
        let meanwhile = async {
            until(|| waits() >= MANY).await;
            // Those whose answer has not begun are cut the next time.
            until(|| {
                filter.hang_up();
                assert_eq!(executor.health(), Health::Up);
                filter.cut() >= 3 * MANY
            })
            .await;
            crowd.let_go();
        };
        let (ends, ()) = tokio::join!(crowd.wait(), meanwhile);
        crowd.check(ends).await;
    })
    .await;
}

/// Looks until `condition` holds. A test that hangs is ended from outside.
async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        SystemClock::new().sleep(LOOK_INTERVAL).await;
    }
}

/// Attempts that go on until they are let go, all of them waited for at once.
struct Crowd(Vec<(PathBuf, Box<dyn Execution>)>);

impl Crowd {
    async fn new(life: &Life, executor: &dyn Executor) -> Self {
        let mut attempts = Vec::new();
        for number in 0..MANY {
            let spec = life.spec(&format!("until [ -e go ]; do sleep 0.1; done; exit {number}"));
            let go = spec.run_dir.join("go");
            attempts.push((go, started(executor.start(spec).await.unwrap())));
        }
        Self(attempts)
    }

    fn wait(&self) -> impl Future<Output = Vec<Result<Ended>>> {
        futures::future::join_all(self.0.iter().map(|(_, execution)| execution.wait()))
    }

    fn let_go(&self) {
        for (go, _) in &self.0 {
            std::fs::write(go, "").unwrap();
        }
    }

    /// Each has its own end, and is removed.
    async fn check(&self, ends: Vec<Result<Ended>>) {
        for (number, (end, (_, execution))) in ends.into_iter().zip(&self.0).enumerate() {
            let Ended::Exited(report) = end.unwrap() else { panic!("not an end") };
            assert_eq!(report.exit, Exit::Code(i32::try_from(number).unwrap()));
            execution.remove().await.unwrap();
        }
    }
}
