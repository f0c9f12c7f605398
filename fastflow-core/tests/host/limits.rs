//! What programs may use, and what they leave running.

use std::time::Duration;

use fastflow_core::{
    Orchestrator,
    journal::LogStream,
    run::{Decision, Exit, Failure, SoftLimit, Status},
    testing::tool,
};

use crate::kit::{Place, attempts, lines, notes, processes_of, run, until};

/// Whether this machine lets the process executor keep limits. If not, it must refuse them by name.
async fn can(flow: &Orchestrator, pipeline: &str, field: &str) -> bool {
    match flow.submit(pipeline).await {
        Ok(accepted) => {
            flow.runs().cancel(accepted.id).await.unwrap();
            true
        }
        Err(error) => {
            assert!(error.chain().contains(field), "{error:?}");
            tool::require("cgroups", "they cannot be made here, or not by this user");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_needs_too_much_memory_ends_as_out_of_memory() {
    let place = Place::new();
    place
        .pipeline("greedy", "print('begin')\nx = []\nwhile True: x.append(bytearray(1 << 20))\n")
        .file("greedy/pipeline.json", r#"{"mem_hard_limit": "64m"}"#);
    let flow = place.start().await;
    if !can(&flow, "greedy", "mem_hard_limit").await {
        return;
    }
    let done = run(&flow, "greedy").await;
    assert_eq!(done.failure(), Some(&Failure::Exit(Exit::OutOfMemory)));
    let report = attempts(&flow, done.id).await.remove(0).report.unwrap();
    assert!(report.oom_kills >= 1, "{report:?}");
    assert!(report.peak_memory_bytes.unwrap() <= 65 << 20, "{report:?}");
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["begin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_no_more_processor_than_it_may() {
    let place = Place::new();
    place
        .pipeline("busy", "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n")
        .file("busy/pipeline.json", r#"{"cpu_hard_limit": 0.2}"#);
    let flow = place.start().await;
    if !can(&flow, "busy", "cpu_hard_limit").await {
        return;
    }
    let done = run(&flow, "busy").await;
    assert_eq!(done.status(), Status::Success);
    let report = attempts(&flow, done.id).await.remove(0).report.unwrap();
    let share = report.cpu_time.unwrap().as_secs_f64() / report.duration.as_secs_f64();
    assert!(share < 0.35, "{share} of a core: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_gets_more_memory_after_one_that_ran_out_of_it_up_to_the_ceiling() {
    let place = Place::new();
    // The first has 64 MiB, the second could have 128 MiB, and the ceiling is below that.
    place
        .pipeline("growing", "print('begin')\nblock = bytearray(90 << 20)\nfor i in range(0, len(block), 4096): block[i] = 1\n")
        .file(
            "growing/pipeline.json",
            r#"{"mem_hard_limit": "64m", "retry_attempts": 2, "retry_memory": {"factor": 2, "max": "120m"},
                "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
        )
        .pipeline("greedy", "x = []\nwhile True: x.append(bytearray(1 << 20))\n")
        .file(
            "greedy/pipeline.json",
            r#"{"mem_hard_limit": "64m", "retry_attempts": 2, "retry_memory": {"factor": 1.5, "max": "120m"},
                "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
        );
    let flow = place.start().await;
    if !can(&flow, "growing", "mem_hard_limit").await {
        return;
    }
    let more = async |run| {
        let notes = notes(&place.data(), run).await.into_iter();
        let more = |note: fastflow_core::run::Note| match note.decision {
            Decision::MoreMemory { bytes } => Some((note.attempt, bytes >> 20)),
            _ => None,
        };
        notes.filter_map(more).collect::<Vec<_>>()
    };
    let done = run(&flow, "growing").await;
    assert_eq!((done.status(), done.attempt), (Status::Success, 2), "{done:?}");
    assert_eq!(more(done.id).await, [(2, 120)]);
    let done = run(&flow, "greedy").await;
    assert_eq!((done.failure(), done.attempt), (Some(&Failure::Exit(Exit::OutOfMemory)), 3));
    assert_eq!(more(done.id).await, [(2, 96), (3, 120)]);
    let peaks: Vec<u64> = attempts(&flow, done.id)
        .await
        .into_iter()
        .map(|attempt| attempt.report.unwrap().peak_memory_bytes.unwrap() >> 20)
        .collect();
    let near = |peak: u64, limit: u64| peak <= limit && peak > limit - 16;
    assert!(near(peaks[0], 64) && near(peaks[1], 96) && near(peaks[2], 120), "{peaks:?} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_held_back_at_its_limit_is_noted_once() {
    let place = Place::new();
    place
        .pipeline("busy", "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end: pass\n")
        .file("busy/pipeline.json", r#"{"cpu_hard_limit": 0.1}"#)
        .pipeline("idle", "import time\ntime.sleep(3)\n")
        .file("idle/pipeline.json", r#"{"cpu_hard_limit": 1}"#);
    let flow = place.start().await;
    if !can(&flow, "busy", "cpu_hard_limit").await {
        return;
    }
    let done = run(&flow, "busy").await;
    let noted: Vec<Decision> =
        notes(&place.data(), done.id).await.into_iter().map(|note| note.decision).collect();
    let [Decision::SoftLimit { limit: SoftLimit::Throttling, used, allowed: 500 }] = noted.as_slice() else {
        panic!("{noted:?}")
    };
    assert!((501..=1000).contains(used), "{used}");
    let done = run(&flow, "idle").await;
    assert!(notes(&place.data(), done.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_forks_without_end_is_held_and_gone_at_its_end() {
    let place = Place::new();
    place
        .pipeline(
            "bomb",
            "import os, sys, time\nheld = 0\nfor _ in range(200):\n    try:\n        if os.fork() == 0:\n            time.sleep(600)\n    except OSError:\n        held += 1\nprint('held', held > 100)\n",
        )
        .file("bomb/pipeline.json", r#"{"max_processes": 40}"#);
    let flow = place.start().await;
    if !can(&flow, "bomb", "max_processes").await {
        return;
    }
    let done = run(&flow, "bomb").await;
    assert_eq!(done.status(), Status::Success);
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["held True"]);
    until("its processes to be gone", || async { processes_of(&done.id.to_string()).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_a_program_leaves_do_not_outlive_it() {
    let place = Place::new();
    place.pipeline(
        "daemons",
        "import os, signal, sys, time\n\
         for _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork(): os._exit(0)\n        \
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n        signal.signal(signal.SIGHUP, signal.SIG_IGN)\n        \
         os.close(0)\n        open(os.environ['TMP_DIR'] + '/daemons', 'a').write('x')\n        time.sleep(600)\n        os._exit(0)\n\
         while len(open(os.environ['TMP_DIR'] + '/daemons', 'a+').read() or open(os.environ['TMP_DIR'] + '/daemons').read()) < 3: time.sleep(0.01)\n\
         print('main is done')\n",
    );
    let flow = place.start().await;
    let done = run(&flow, place.ask("daemons")).await;
    assert_eq!(done.status(), Status::Success);
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["main is done"]);
    until("its daemons to be gone", || async { processes_of(&done.id.to_string()).is_empty() }).await;
    let took = done.finished_at.unwrap().duration_since(done.started_at.unwrap());
    assert!(Duration::try_from(took).unwrap() < Duration::from_mins(1), "daemons were not waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_over_its_limit_keeps_its_beginning_and_its_end_and_says_so() {
    let place = Place::new();
    place
        .pipeline("loud", "for i in range(20_000): print(f'line {i:06}', 'x' * 50)")
        .file("loud/pipeline.json", r#"{"log_max_size": "256k"}"#);
    let flow = place.start().await;
    let done = run(&flow, "loud").await;
    assert_eq!(done.status(), Status::Success);
    let report = attempts(&flow, done.id).await.remove(0).report.unwrap();
    assert!(!report.log.complete && report.log.dropped_bytes > 0, "{report:?}");
    let out = lines(&flow, done.id, LogStream::Out).await;
    assert!(
        out[0].starts_with("line 000000") && out.last().unwrap().starts_with("line 019999"),
        "{:?}",
        out.last()
    );
    let cut = lines(&flow, done.id, LogStream::Truncated).await;
    assert!(cut.last().is_some_and(|last| last.contains("missing")), "{cut:?}");
}
