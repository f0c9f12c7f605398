//! One run, from submission to its end.

use std::{collections::BTreeMap, time::Duration};

use fastflow_core::{
    PipelineName, Preheat, Submission,
    journal::{LogStream, Offset, UsageSample},
    orchestrator::Rerun,
    run::{AttemptEnd, Exit, Failure, Origin, Status},
    testing::tool,
};
use futures::TryStreamExt;

use crate::kit::{Place, attempt, attempts, ended, lines, run, started, variable, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_its_output_its_usage_and_what_it_cost() {
    let place = Place::new();
    place.pipeline(
        "hello",
        "import sys, time\nprint('hello')\nprint('oh', file=sys.stderr)\nx = bytearray(30_000_000)\n\
         end = time.time() + 1.3\nwhile time.time() < end: pass\nprint('bye')\n",
    );
    let flow = started(place.builder().preheat(Preheat::Off)).await;
    let accepted = flow.submit("hello").await.unwrap();
    assert_eq!((accepted.status(), accepted.attempt), (Status::Pending, 0));
    let done = ended(&flow, accepted.id).await;
    assert_eq!(done.status(), Status::Success, "{done:?}");
    assert_eq!(lines(&flow, done.id, LogStream::Out).await, ["hello", "bye"]);
    assert_eq!(lines(&flow, done.id, LogStream::Err).await, ["oh"]);

    let attempts = attempts(&flow, done.id).await;
    assert_eq!((attempts.len(), &attempts[0].end), (1, &Some(AttemptEnd::Succeeded)));
    let report = attempts[0].report.as_ref().unwrap();
    assert_eq!((report.exit, report.stopped_by, report.oom_kills), (Exit::Code(0), None, 0));
    assert!(report.duration >= Duration::from_millis(1300), "{report:?}");
    assert!(report.cpu_time.unwrap() >= Duration::from_millis(50), "{report:?}");
    assert!(report.peak_memory_bytes.unwrap() >= 30_000_000, "{report:?}");
    assert!(report.log.complete && report.log.dropped_bytes == 0, "{report:?}");
    assert!(done.created_at <= attempts[0].claimed_at && attempts[0].claimed_at <= done.started_at.unwrap());
    assert!(done.started_at <= done.finished_at);
    assert!(attempts[0].handle.is_some());
    let setup = attempts[0].setup.as_ref().unwrap();
    if tool::uv().is_some() {
        let environment = setup.environment.as_ref().unwrap();
        assert!(environment.built && environment.python_version.starts_with('3'), "{environment:?}");
        assert!(setup.duration > Duration::ZERO);
    }
    let usage =
        flow.runs().usage(attempt(done.id, 1), Offset::START).try_collect::<Vec<(Offset, UsageSample)>>();
    let usage = within("the usage to end", usage).await.unwrap();
    let most = usage.iter().map(|(_, sample)| sample.memory_bytes).max();
    assert!(most >= Some(30_000_000), "{usage:?}");

    let again = run(&flow, "hello").await;
    let setup = self::attempts(&flow, again.id).await[0].setup.clone().unwrap();
    assert!(!setup.environment.unwrap().built, "the second run found the environment");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_end_has_its_own_reason() {
    let place = Place::new();
    place
        .pipeline("zero", "import os; os._exit(0)")
        .pipeline("three", "raise SystemExit(3)")
        .pipeline("traceback", "def f():\n    raise ValueError('no such month')\nf()\n")
        .pipeline("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        .pipeline("segfault", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        .pipeline("shell", "raise SystemExit(127)")
        .pipeline("syntax", "def (:\n")
        .pipeline("wrapped", "raise SystemExit(256)")
        .pipeline("input", "try:\n    input()\nexcept EOFError:\n    raise SystemExit(9)\n");
    let flow = place.start().await;
    for (name, exit) in [
        ("zero", Exit::Code(0)),
        ("three", Exit::Code(3)),
        ("traceback", Exit::Code(1)),
        ("killed", Exit::Signal(9)),
        ("segfault", Exit::Signal(11)),
        ("shell", Exit::Code(127)),
        ("syntax", Exit::Code(1)),
        ("wrapped", Exit::Code(0)),
        ("input", Exit::Code(9)),
    ] {
        let done = run(&flow, name).await;
        match exit {
            Exit::Code(0) => assert_eq!(done.status(), Status::Success, "{name}: {done:?}"),
            exit => assert_eq!(done.failure(), Some(&Failure::Exit(exit)), "{name}"),
        }
        if name == "traceback" {
            let said = lines(&flow, done.id, LogStream::Err).await.join("\n");
            assert!(
                said.contains("ValueError: no such month") && said.contains("main.py\", line 2"),
                "{said}"
            );
        }
    }
}

/// The whole environment of a program, as it sees it.
const ENVIRONMENT: &str = "import json, os\nprint(json.dumps(dict(os.environ)))";

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sees_its_parameters_and_nothing_of_the_host() {
    const CANARY: &str = "CARGO_PKG_NAME";
    let place = Place::new();
    place.pipeline("env", ENVIRONMENT).file(
        "env/pipeline.json",
        r#"{"default_env": {"A": "default", "B": "default", "LANG": "de_DE.UTF-8"}}"#,
    );
    assert!(variable(CANARY).is_some(), "the host has a variable that the program must not see");
    let flow = place.start().await;
    let what = || Submission::new("env").parameter("B", "mine").parameter("C", "a=b\n\"ü\"");
    let done = run(&flow, what()).await;
    let seen = lines(&flow, done.id, LogStream::Out).await.concat();
    let seen: BTreeMap<String, String> = serde_json::from_str(&seen).unwrap();
    let get = |name: &str| seen.get(name).map(String::as_str);
    assert_eq!((get("A"), get("B"), get("C")), (Some("default"), Some("mine"), Some("a=b\n\"ü\"")));
    assert_eq!(get("LANG"), Some("de_DE.UTF-8"));
    assert_eq!(get("FASTFLOW_PIPELINE"), Some("env"));
    assert_eq!(get("FASTFLOW_RUN_ID"), Some(done.id.to_string().as_str()));
    assert_eq!(get("FASTFLOW_IDEMPOTENCY_KEY"), Some(done.id.to_string().as_str()));
    assert_eq!(get("FASTFLOW_ATTEMPT"), Some("1"));
    let known = [
        "A",
        "B",
        "C",
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "VIRTUAL_ENV",
        "PYTHONUNBUFFERED",
    ];
    let strange: Vec<_> = seen
        .keys()
        .filter(|name| !known.contains(&name.as_str()) && !name.starts_with("FASTFLOW_"))
        .collect();
    assert_eq!(strange, Vec::<&String>::new());
    flow.shutdown(fastflow_core::Shutdown::Detach).await.unwrap();

    // The same with a host that gives it on purpose: the test can see it.
    let flow = started(place.builder().inherit_env([CANARY])).await;
    let done = run(&flow, what()).await;
    assert!(lines(&flow, done.id, LogStream::Out).await.concat().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_and_daily_statistics_say_what_happened() {
    let place = Place::new();
    place
        .pipeline("good", "pass")
        .pipeline("bad", "raise SystemExit(1)")
        .pipeline("long", "import time; time.sleep(600)");
    let flow = place.start().await;
    for _ in 0..3 {
        run(&flow, "good").await;
    }
    for _ in 0..2 {
        run(&flow, "bad").await;
    }
    let long = flow.submit("long").await.unwrap();
    flow.runs().cancel(long.id).await.unwrap();
    let long = ended(&flow, long.id).await;
    assert_eq!(long.status(), Status::Cancelled);
    let expected = [("bad", [0, 2, 0]), ("good", [3, 0, 0]), ("long", [0, 0, 1])];
    for restarted in [false, true] {
        let flow = if restarted {
            flow.shutdown(fastflow_core::Shutdown::Detach).await.unwrap();
            place.start().await
        } else {
            flow.clone()
        };
        let infos = flow.pipelines().list().await.unwrap();
        for (info, (name, counts)) in infos.iter().zip(expected) {
            let of = |c: &fastflow_core::store::Counters| [c.succeeded, c.failed, c.cancelled];
            assert_eq!((info.name.as_str(), of(&info.counters)), (name, counts));
            assert!(info.present && info.last_submitted_at.is_some());
            let name: PipelineName = name.parse().unwrap();
            let days = flow.pipelines().daily_statistics(&name, 7).await.unwrap();
            let sum = days.iter().fold([0; 3], |sum, day| {
                let counts = of(&day.counters);
                [sum[0] + counts[0], sum[1] + counts[1], sum[2] + counts[2]]
            });
            assert_eq!(sum, counts, "{name}: {days:?}");
            assert!(name.as_str() == "long" || days.iter().map(|day| day.run_micros).sum::<u64>() > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_says_what_it_repeats() {
    let place = Place::new();
    place.pipeline("env", ENVIRONMENT);
    let flow = place.start().await;
    let first = run(&flow, Submission::new("env").parameter("MONTH", "2026-11").priority(7)).await;
    let second = flow.runs().rerun(first.id, Rerun::SameRevision).await.unwrap();
    assert_eq!(second.origin, Origin::Rerun { of: first.id, scheduled_for: None, schedule: None });
    assert_eq!((second.priority, &second.parameters), (7, &first.parameters));
    assert_eq!(ended(&flow, second.id).await.status(), Status::Success);
    assert!(lines(&flow, second.id, LogStream::Out).await.concat().contains("2026-11"));
}
