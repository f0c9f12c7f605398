//! What a start costs above the same program started directly. Run with
//! `cargo test --release --test process_executor -- --ignored --nocapture what_a_start_costs`.

use std::{process::Command, sync::Arc, time::Duration};

use fastflow_core::{
    Clock, SystemClock,
    executor::{AttemptSpec, Executor, ProcessConfig, ProcessExecutor, Start, process::CgroupMode},
};

const ROUNDS: u64 = 200;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_a_start_costs() {
    let clock = SystemClock::new();
    let mut direct = Vec::new();
    for _ in 0..ROUNDS {
        let began = clock.elapsed();
        Command::new("/bin/true").status().unwrap();
        direct.push(clock.elapsed().saturating_sub(began));
    }
    let direct = median(direct);
    println!("fork, exec, end: {direct:?}");
    for mode in [CgroupMode::Off, CgroupMode::Auto] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ProcessConfig::new(dir.path().join("state"));
        config.cgroups = mode;
        let executor = ProcessExecutor::new(&config, Arc::new(clock)).unwrap();
        let (mut started, mut ended, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..ROUNDS {
            let attempt = format!("019aa2f0-7c3c-7def-8000-{number:012x}-1").parse().unwrap();
            let run_dir = dir.path().join(number.to_string());
            std::fs::create_dir(&run_dir).unwrap();
            let argv = vec!["/bin/true".to_owned()];
            let spec = AttemptSpec::new(attempt, "measure".parse().unwrap(), argv, run_dir);
            let began = clock.elapsed();
            let Start::Started(execution) = executor.start(spec).await.unwrap() else {
                panic!("not started")
            };
            started.push(clock.elapsed().saturating_sub(began));
            execution.wait().await.unwrap();
            ended.push(clock.elapsed().saturating_sub(began));
            execution.remove().await.unwrap();
            removed.push(clock.elapsed().saturating_sub(began));
        }
        let (started, ended, removed) = (median(started), median(ended), median(removed));
        println!("{mode:?}: started after {started:?}, ended after {ended:?}, removed after {removed:?}");
        println!("{mode:?}: {:?} above the direct way until the end", ended.saturating_sub(direct));
    }
}
