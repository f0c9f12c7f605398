//! What is left after many runs.

use std::fs;

use super::{bench::Bench, outside::processes};
use crate::run::Exit;

/// Runs cost nothing that stays: no descriptor, no process, no zombie, nothing in the list.
///
/// Kills: a descriptor kept for each attempt; children that nobody waits for; remove that forgets something.
pub async fn a_hundred_runs_leave_nothing_behind(bench: &Bench<'_>) {
    // What is made once is made before.
    bench.run("exit 0").await;
    let before = descriptors();
    let rounds = bench.rounds(100);
    // Tests of the same process that are no cases, and runtimes of cases that wait, may open some meanwhile: half of
    // what one that is kept for each run comes to.
    let slack = usize::try_from(rounds / 2).expect("a small number");
    for _ in 0..rounds {
        let spec = bench.spec("exit 1");
        assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(1));
        assert_eq!(processes(&spec), Vec::<u32>::new());
    }
    bench.until("descriptors are given back", || descriptors() <= before + slack).await;
    bench.until("no zombie is left", || zombies() == 0).await;
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("the own descriptors").count()
}

/// Children of this process that have ended and that it has not waited for.
fn zombies() -> usize {
    let pids = fs::read_dir("/proc").expect("the processes").flatten();
    let stats = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| fastflow_shim::proc::Stat::read(pid).ok());
    stats.filter(|stat| stat.parent == std::process::id() && stat.is_zombie()).count()
}
