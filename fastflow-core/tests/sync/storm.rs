//! Many runs while the repository changes all the time: each sees one revision, from its first file to its last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fastflow_core::{Clock as _, Orchestrator, SystemClock, run::Status};
use tokio::task::JoinSet;

use crate::{
    kit::{ended, variable},
    place::{Place, sync},
};

const PIPELINES: usize = 20;
const FILES: usize = 10;
/// How long it lasts, unless `FASTFLOW_STORM_SECONDS` says otherwise.
const SECONDS: u64 = 60;

/// Reads its files slowly, and holds them against their sum.
const CHECK: &str = "
import hashlib, pathlib, time
here = pathlib.Path(__file__).parent
want = (here / 'sum.txt').read_text()
found = hashlib.sha256()
for number in range(10):
    found.update((here / 'data' / f'{number}.txt').read_bytes())
    time.sleep(0.01)
found.update((here / 'main.py').read_bytes())
assert found.hexdigest() == want, 'a mixture of revisions'
assert len(list((here / 'data').iterdir())) == 10, 'too many files'
print(want)
";

fn write(place: &Place, number: u64) -> String {
    use sha2::{Digest as _, Sha256};
    for pipeline in 0..PIPELINES {
        let mut sum = Sha256::new();
        for file in 0..FILES {
            let text = format!("{number} {pipeline} {file}\n").repeat(200);
            sum.update(&text);
            place.repository.write(&format!("p{pipeline}/data/{file}.txt"), text);
        }
        let program = format!("# {number}\n{CHECK}");
        sum.update(&program);
        place.repository.write(&format!("p{pipeline}/main.py"), program);
        place.repository.write(&format!("p{pipeline}/sum.txt"), hex(&sum.finalize()));
    }
    place.repository.commit(&number.to_string())
}

async fn run_again_and_again(flow: Orchestrator, name: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut commits = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let run = flow.submit(name.as_str()).await.unwrap();
        let run = ended(&flow, run.id).await;
        assert_eq!(run.status(), Status::Success, "{}: {:?}", run.id, run.state);
        commits.push(run.spec.provenance.as_ref().unwrap().commit.subject.clone());
    }
    commits
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_sees_exactly_one_revision_while_the_repository_changes_each_second() {
    let Some(place) = Place::new() else { return };
    let place = Arc::new(place);
    write(&place, 0);
    let flow = place.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut loops = JoinSet::new();
    for pipeline in 0..PIPELINES {
        loops.spawn(run_again_and_again(flow.clone(), format!("p{pipeline}"), Arc::clone(&stop)));
    }
    let seconds = variable("FASTFLOW_STORM_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let clock = SystemClock::new();
    let end = clock.elapsed() + Duration::from_secs(seconds);
    let shown = AtomicU64::new(0);
    let mut number = 0;
    while clock.elapsed() < end {
        let next = clock.elapsed() + Duration::from_secs(1);
        number += 1;
        let (writer, at) = (Arc::clone(&place), number);
        let commit = tokio::task::spawn_blocking(move || write(&writer, at)).await.unwrap();
        assert_eq!(sync(&flow).await.commit.unwrap().id.as_str(), commit);
        shown.fetch_add(1, Ordering::Relaxed);
        clock.sleep(next.saturating_sub(clock.elapsed())).await;
    }
    stop.store(true, Ordering::Release);
    let commits = loops.join_all().await;
    let runs: usize = commits.iter().map(Vec::len).sum();
    let different: std::collections::BTreeSet<&String> = commits.iter().flatten().collect();
    assert!(runs > PIPELINES && different.len() > 2, "{runs} runs of {} commits", different.len());
    for commits in &commits {
        let numbers: Vec<u64> = commits.iter().map(|subject| subject.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "an older commit came back: {numbers:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
