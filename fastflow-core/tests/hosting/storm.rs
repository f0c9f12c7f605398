//! Four processes that all submit, and whose host is killed again and again.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use fastflow_core::{
    Clock as _, Hosting, RunId, Shutdown, SystemClock,
    run::{IdempotencyKey, Status},
    store::RunQuery,
    testing::torture::{Books, HostProcess},
};

use crate::{
    kit::{Place, until, within},
    process::hosts,
    role::{self, sign},
};

const PROCESSES: usize = 4;
const KILLS: usize = 8;
/// A process that hosts is killed after so long, each time a little later.
const SHORTEST_OFFICE: Duration = Duration::from_millis(200);
/// The next one hosts so soon.
const TAKE_OVER: Duration = Duration::from_secs(2);

/// Says which run it is, once, and sleeps.
pub(crate) const ONCE: &str = "
import os, time
with open(os.path.join(os.environ['TMP_DIR'], 'ran-' + os.environ['KEY']), 'a') as file:
    file.write(os.environ['FASTFLOW_RUN_ID'] + '\\n')
time.sleep(float(os.environ['SECONDS']))
";

#[tokio::test(flavor = "multi_thread")]
async fn of_four_processes_one_hosts_and_another_one_when_it_is_killed() {
    let place = Place::new();
    let root = place.root().canonicalize().unwrap();
    place.pipeline("once", ONCE);
    let clock = SystemClock::new();
    let mut workers: Vec<HostProcess> = (0..PROCESSES).map(|_| role::start("worker", &root)).collect();
    for worker in &mut workers {
        let started = sign(&root, "started", worker.id());
        worker.until_there(&started).await;
    }
    let mut took = Vec::new();
    for kill in 0..KILLS {
        let host = the_host(&root, &workers).await;
        clock.sleep(SHORTEST_OFFICE + Duration::from_millis(150) * u32::try_from(kill).unwrap()).await;
        let place_of_it = workers.iter().position(|worker| worker.id() == host).unwrap();
        workers.swap_remove(place_of_it).kill(false);
        let killed = clock.elapsed();
        the_host(&root, &workers).await;
        took.push(clock.elapsed().saturating_sub(killed));
        let mut next = role::start("worker", &root);
        next.until_there(&sign(&root, "started", next.id())).await;
        workers.push(next);
    }
    println!("taken over after {took:?}");
    assert!(took.iter().all(|took| *took < TAKE_OVER), "{took:?}");
    fs::write(root.join("stop"), "").unwrap();
    all_ended(&root).await;
    fs::write(root.join("over"), "").unwrap();
    for worker in workers {
        worker.ended(Duration::from_mins(1)).await;
    }
    check(&root).await;
}

/// Waits until one of them hosts. Never do two.
async fn the_host(root: &Path, workers: &[HostProcess]) -> u32 {
    let pids: Vec<u32> = workers.iter().map(HostProcess::id).collect();
    let clock = SystemClock::new();
    within("one to host", async {
        loop {
            match hosts(&root.join("data"), &pids)[..] {
                [] => clock.sleep(Duration::from_millis(2)).await,
                [host] => break host,
                ref several => panic!("several host: {several:?}"),
            }
        }
    })
    .await
}

/// Waits until nothing that was accepted is open any more, as the processes themselves do not know of each other.
async fn all_ended(root: &Path) {
    let flow = role::builder(root).hosting(Hosting::Never).build().await.unwrap();
    let mut query = RunQuery::default();
    query.statuses = vec![Status::Pending, Status::Running];
    until("all runs to end", || async { flow.runs().list(&query).await.unwrap().items.is_empty() }).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
}

/// Every accepted run is there, has ended well, and its program was executed once.
async fn check(root: &Path) {
    let books = Books::open(root).await;
    let keys: BTreeMap<String, RunId> = books
        .runs
        .iter()
        .map(|run| (run.key.as_ref().map(IdempotencyKey::as_str).unwrap().to_owned(), run.id))
        .collect();
    assert_eq!(keys.len(), books.runs.len(), "no key has two runs");
    let accepted = fs::read_to_string(root.join("accepted")).unwrap();
    let lines = accepted.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.split_once(' '));
    for (key, id) in lines.clone() {
        assert_eq!(keys.get(key).map(ToString::to_string).as_deref(), Some(id), "{key} was accepted");
    }
    for run in &books.runs {
        assert_eq!(run.status(), Status::Success, "{run:?}");
        assert_eq!(run.failed_attempts, 0, "{run:?}");
        let key = run.key.as_ref().unwrap().as_str();
        let witness = fs::read_to_string(root.join("tmp").join(format!("ran-{key}"))).unwrap();
        assert_eq!(witness, format!("{}\n", run.id), "its program was executed once");
    }
    books.check_machine(root);
    assert!(lines.count() > KILLS, "the processes did work");
}
