//! Behind a filter such as `docker-socket-proxy`: what has to be let through, and what is said when something is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod filter;
mod life;
mod socket;

use std::time::Duration;

use fastflow_core::{
    ErrorKind,
    executor::{Executor as _, Health},
    run::Exit,
};

use hyper::Method;

use self::{
    filter::Filter,
    life::{Life, started},
};

/// The least that has to be set to 1.
const LEAST: [&str; 6] = ["CONTAINERS", "IMAGES", "INFO", "NETWORKS", "POST", "VERSION"];
/// What `docker-socket-proxy` has: 10 minutes.
const PATIENCE: Duration = Duration::from_mins(10);
/// A patience so short that no wait for a container goes by without it.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// More than the failures in a row after which an engine is left alone.
const MANY: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_least_set_is_enough() {
    let Some(life) = Life::new() else { return };
    let filter = Filter::start(&life.engine, &LEAST, PATIENCE).await;
    life.live(&life.executor(filter.address()), &life.executor(filter.address())).await.unwrap();
    let asked = filter.asked();
    assert!(asked.iter().all(|asked| asked.passed), "{asked:?}");
    // Nothing is watched but single containers: events of the whole machine are nobody's here.
    assert!(asked.iter().all(|asked| !asked.path.contains("/events")), "{asked:?}");
    assert!(asked.iter().any(|asked| asked.method == Method::DELETE), "{asked:?}");
    life.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_missing_is_named_and_nothing_is_left() {
    let Some(life) = Life::new() else { return };
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
    life.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_is_missing() {
    let Some(life) = Life::new() else { return };
    for missing in LEAST {
        let others: Vec<_> = LEAST.into_iter().filter(|variable| *variable != missing).collect();
        let filter = Filter::start(&life.engine, &others, PATIENCE).await;
        let error = life.executor(filter.address()).start(life.spec("exit 0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{missing}: {error:?}");
        assert!(error.chain().contains(&format!("{missing}=1")), "{missing}: {error:?}");
        assert!(life.is_over().await, "{missing}");
    }
    life.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_change_no_outcome() {
    let Some(life) = Life::new() else { return };
    let filter = Filter::start(&life.engine, &LEAST, IMPATIENCE).await;
    let executor = life.executor(filter.address());
    let mut waiting = Vec::new();
    for number in 0..MANY {
        // They go on until a file appears, so that all waits are cut together, and more than once.
        let spec = life.spec(&format!("until [ -e go ]; do sleep 0.1; done; exit {number}"));
        let go = spec.run_dir.join("go");
        waiting.push((number, go, started(executor.start(spec).await.unwrap())));
    }
    let waits = futures::future::join_all(waiting.iter().map(|(_, _, execution)| execution.wait()));
    let meanwhile = async {
        while filter.cut() < 3 * MANY {
            // An engine that was taken for one that does not answer would start nothing.
            assert_eq!(life.run(&executor, "exit 0").await.unwrap(), Exit::Code(0));
            assert_eq!(executor.health(), Health::Up);
        }
        for (_, go, _) in &waiting {
            std::fs::write(go, "").unwrap();
        }
    };
    let (ends, ()) = tokio::join!(waits, meanwhile);
    for ((number, _, execution), end) in waiting.iter().zip(ends) {
        let fastflow_core::executor::Ended::Exited(report) = end.unwrap() else { panic!("not an end") };
        assert_eq!(report.exit, Exit::Code(i32::try_from(*number).unwrap()));
        execution.remove().await.unwrap();
    }
    life.live(&executor, &executor).await.unwrap();
    life.clear().await;
}
