//! Death while a host drains.

use std::{fs, path::Path, time::Duration};

use fastflow_core::{
    Clock, Shutdown, Submission, SystemClock,
    run::Status,
    store::RunQuery,
    testing::torture::{Books, Chance, seed},
};

use crate::{
    host,
    kit::{Place, until, within},
};

const RUNS: usize = 3;
const ROUNDS: u64 = 4;
/// Does not listen, and ends by itself in the end.
const DEAF: &str = r"
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ['ROOT'] + '/ready-' + os.environ['FASTFLOW_RUN_ID'], 'w').write('x')
time.sleep(4)
print('done')
";

/// The host that is killed while it drains.
pub(crate) async fn drain(root: &Path) {
    let flow = host::builder(root).build().await.unwrap();
    flow.start().await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let what = Submission::new("deaf").parameter("ROOT", root.display().to_string());
        runs.push(flow.submit(what).await.unwrap().id);
    }
    until("the programs to run", || async {
        runs.iter().all(|run| root.join(format!("ready-{run}")).exists())
    })
    .await;
    fs::write(root.join("draining"), "x").unwrap();
    let how = Shutdown::Drain { patience: Duration::from_millis(100), grace: Duration::from_millis(600) };
    flow.shutdown(how).await.unwrap();
    fs::write(root.join("drained"), "x").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_while_it_drains_leaves_every_run_with_a_true_end() {
    let mut chance = Chance::new(seed());
    let clock = SystemClock::new();
    for _ in 0..ROUNDS {
        let place = Place::new();
        let root = place.root().canonicalize().unwrap();
        place.pipeline("deaf", DEAF).file("deaf/pipeline.json", r#"{"stop_grace": 1, "retry_attempts": 2}"#);
        let mut host = host::start("drain", &root);
        host.until_there(&root.join("draining")).await;
        clock.sleep(chance.moment(Duration::from_millis(20), Duration::from_secs(1))).await;
        host.kill(true);
        // The next one only has to be there.
        let flow = host::builder(&root).build().await.unwrap();
        flow.start().await.unwrap();
        for run in flow.runs().list(&RunQuery::default()).await.unwrap().items {
            within("a run to end", flow.runs().wait(run.id)).await.unwrap();
        }
        let how = Shutdown::Drain { patience: Duration::from_secs(20), grace: Duration::ZERO };
        flow.shutdown(how).await.unwrap();
        let books = Books::open(&root).await;
        assert_eq!(books.runs.len(), RUNS);
        for run in &books.runs {
            let stopped =
                books.events.iter().any(|event| event.run == run.id && event.name == "stop_requested");
            let expected = if stopped { Status::Cancelled } else { Status::Success };
            assert_eq!((run.status(), run.attempt), (expected, 1), "{run:?}");
        }
        books.check_machine(&root);
    }
}
