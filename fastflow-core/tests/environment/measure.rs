//! Numbers, printed. Run with `--ignored --nocapture`; nothing else on the machine, `--release`.

use std::{process::Command, time::Duration};

use fastflow_core::{Clock, SystemClock, pipeline::DependencySource};

use crate::lab::{Lab, environments, prepare, request, requirements};

const WARM_CALLS: usize = 2_000;
const STARTS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn warm_and_cold() {
    let Some(lab) = Lab::new() else { return };
    let clock = SystemClock::new();
    let builder = environments(lab.online());
    let none = request(&lab.pipeline("none", &[("main.py", "pass\n")]), DependencySource::None);
    let mut last = None;
    for (name, text) in [("empty", None), ("six", Some("six\n")), ("numpy", Some("numpy\n"))] {
        let request = match text {
            Some(text) => requirements(&lab.pipeline(name, &[("requirements.txt", text)])),
            None => none.clone(),
        };
        let began = clock.elapsed();
        last = Some((prepare(&builder, &request).await.unwrap(), request));
        println!("cold {name}: {:?}", clock.elapsed().saturating_sub(began));
        let began = clock.elapsed();
        prepare(&environments(lab.online()), &last.as_ref().unwrap().1).await.unwrap();
        println!("known {name}, new process: {:?}", clock.elapsed().saturating_sub(began));
    }
    let (environment, request) = last.unwrap();
    let mut warm = Vec::new();
    for _ in 0..WARM_CALLS {
        let began = clock.elapsed();
        prepare(&builder, &request).await.unwrap();
        warm.push(clock.elapsed().saturating_sub(began));
    }
    println!("warm prepare: median {:?}, p99 {:?}", at(&mut warm, 50), at(&mut warm, 99));

    let script = request.folder.join("main.py");
    std::fs::write(&script, "pass\n").unwrap();
    let base = environment.python.canonicalize().unwrap();
    for (name, python) in [("plain interpreter", &base), ("environment", &environment.python)] {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let began = clock.elapsed();
            assert!(Command::new(python).arg(&script).status().unwrap().success());
            starts.push(clock.elapsed().saturating_sub(began));
        }
        println!("start of the {name}: median {:?}", at(&mut starts, 50));
    }
}

fn at(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[values.len() * percent / 100]
}
