//! How attempts start, and that they start once.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use super::{
    bench::{Bench, exit, file, lines, reference},
    secrets::{entrust, word},
};
use crate::{
    Clock as _, ErrorKind,
    executor::{AttemptSpec, Executor, Network, Reattached, Start},
    run::Exit,
};

/// A program that leaves one line for each time it is started.
const WITNESS: &str = "echo started >> witness";

/// An attempt that was started is never started again: not while it runs, not after its end.
///
/// Kills: guard ignored.
pub async fn the_same_attempt_cannot_start_twice(bench: &Bench<'_>) {
    let spec = bench.spec(&format!("{WITNESS}; sleep 0.2"));
    let execution = bench.start(&spec).await;
    let is_refused = |executor: Arc<dyn Executor>| {
        let spec = spec.clone();
        async move { executor.start(spec).await.unwrap_err().kind() }
    };
    assert_eq!(is_refused(Arc::clone(bench.executor())).await, ErrorKind::AlreadyExists);
    assert_eq!(exit(execution.wait().await), Exit::Code(0));
    assert_eq!(is_refused(Arc::clone(bench.executor())).await, ErrorKind::AlreadyExists);
    bench.watch().await;
    assert_eq!(lines(&spec, "witness"), 1);
}

/// Of many starts of one attempt at one time, one wins, and all others are told.
///
/// Kills: look first and start afterwards.
pub async fn sixteen_starts_at_once_run_once(bench: &Bench<'_>) {
    let spec = bench.spec(&format!("{WITNESS}; sleep 0.3"));
    let starts = (0..16).map(|_| {
        let (executor, spec) = (Arc::clone(bench.executor()), spec.clone());
        tokio::spawn(async move { executor.start(spec).await })
    });
    let mut winners = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        match start.await.expect("no panic") {
            Ok(Start::Started(execution)) => winners.push(execution),
            Ok(Start::Failed(failure)) => panic!("{failure:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(exit(winners[0].wait().await), Exit::Code(0));
    bench.watch().await;
    assert_eq!(lines(&spec, "witness"), 1);
    let listed = bench.executor().list(bench.owner()).await.unwrap();
    assert_eq!(listed, [winners[0].handle().clone()], "the losers take nothing from the winner");
}

/// Whenever a start is dropped, the attempt either never runs, or is found.
///
/// Kills: the record of an attempt written after its start.
pub async fn dropping_a_start_leaves_nothing_untracked(bench: &Bench<'_>) {
    for moment in moments(bench).await {
        let spec = bench.spec(&format!("{WITNESS}; exec sleep 1000"));
        tokio::select! {
            biased;
            started = bench.executor().start(spec.clone()) => drop(started),
            () = bench.clock().sleep(moment) => {}
        }
        settles(bench, &spec).await;
    }
}

/// Moments of a start, from its very beginning until after its end.
async fn moments(bench: &Bench<'_>) -> impl Iterator<Item = Duration> {
    let spec = bench.spec("exit 0");
    let began = bench.clock().elapsed();
    let execution = bench.start(&spec).await;
    let usual = bench.clock().elapsed().saturating_sub(began).max(Duration::from_millis(6));
    execution.remove().await.expect("removed");
    let rounds = bench.rounds(24);
    (0..rounds).map(move |round| usual * 3 / 2 * round / rounds)
}

/// What `reattach` says of an attempt whose start is on its way is true, and stays true.
async fn settles(bench: &Bench<'_>, spec: &AttemptSpec) {
    match bench.executor().reattach(&reference(spec, None)).await.unwrap() {
        Reattached::NeverStarted => {
            assert!(bench.executor().start(spec.clone()).await.is_err());
            assert_eq!(lines(spec, "witness"), 0);
            bench.is_silent(spec).await;
        }
        Reattached::Found(execution) => {
            let listed = bench.executor().list(bench.owner()).await.unwrap();
            assert!(listed.contains(execution.handle()), "what runs is listed");
            bench.until("the program runs", || lines(spec, "witness") == 1).await;
            execution.remove().await.unwrap();
            bench.is_silent(spec).await;
            assert_eq!(lines(spec, "witness"), 1);
        }
        Reattached::Lost(cause) => panic!("lost: {cause:?}"),
    }
}

/// An attempt that was found never to have started can never be started afterwards.
///
/// Kills: `reattach` that only looks and does not fence.
pub async fn reattach_before_start_fences(bench: &Bench<'_>) {
    let spec = bench.spec(WITNESS);
    let reattached = bench.executor().reattach(&reference(&spec, None)).await.unwrap();
    assert!(matches!(reattached, Reattached::NeverStarted), "{reattached:?}");
    for executor in [&**bench.executor(), bench.other()] {
        assert!(executor.start(spec.clone()).await.is_err(), "a late start is refused");
    }
    bench.watch().await;
    assert_eq!(lines(&spec, "witness"), 0);
    bench.is_silent(&spec).await;
    assert!(bench.executor().list(bench.owner()).await.unwrap().is_empty());
}

/// A start and a fence at the same time: one wins, and both know which.
///
/// Kills: a fence that looks first and is written afterwards.
pub async fn a_fence_and_a_start_at_once_agree(bench: &Bench<'_>) {
    for moment in moments(bench).await {
        let spec = bench.spec(&format!("{WITNESS}; exec sleep 1000"));
        let (executor, late) = (Arc::clone(bench.executor()), spec.clone());
        let start = tokio::spawn(async move { executor.start(late).await });
        bench.clock().sleep(moment).await;
        let reattached = bench.other().reattach(&reference(&spec, None)).await.unwrap();
        let started = start.await.expect("no panic");
        match (reattached, started) {
            (Reattached::NeverStarted, Err(_)) => {
                assert_eq!(lines(&spec, "witness"), 0);
                bench.is_silent(&spec).await;
            }
            (Reattached::Found(found), Ok(Start::Started(execution))) => {
                assert_eq!(found.handle(), execution.handle());
                found.remove().await.unwrap();
            }
            other => panic!("after {moment:?}: {other:?}"),
        }
    }
}

/// What the executor cannot keep is refused with the name of the field, and nothing has happened.
///
/// Kills: requirements not checked; limits ignored.
pub async fn unmet_requirements_are_refused_before_any_effect(bench: &Bench<'_>) {
    let can = bench.executor().capabilities();
    let mut unmet: BTreeMap<&str, AttemptSpec> = BTreeMap::new();
    if !can.images {
        unmet.entry("image").or_insert(bench.spec(WITNESS)).image = Some("worker:1".parse().unwrap());
    }
    if !can.network {
        unmet.entry("network").or_insert(bench.spec(WITNESS)).network = Network::None;
    }
    if !can.cpu_limit {
        unmet.entry("cpu_hard_limit").or_insert(bench.spec(WITNESS)).limits.cpu_millis = Some(1000);
    }
    if !can.memory_limit {
        unmet.entry("mem_hard_limit").or_insert(bench.spec(WITNESS)).limits.memory_bytes = Some(1 << 28);
    }
    if !can.process_limit {
        unmet.entry("max_processes").or_insert(bench.spec(WITNESS)).limits.max_processes = Some(64);
    }
    if !can.output {
        unmet.entry("cpu_soft_limit").or_insert(bench.spec(WITNESS)).limits.soft_cpu_millis = Some(1000);
        unmet.entry("mem_soft_limit").or_insert(bench.spec(WITNESS)).limits.soft_memory_bytes = Some(1 << 28);
    }
    if !can.secrets {
        entrust(unmet.entry("secrets").or_insert(bench.spec(WITNESS)), &word(bench));
    }
    for (field, spec) in unmet {
        let error = bench.executor().start(spec.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.context().any(|(_, value)| value == field), "{error} names {field}");
        assert_eq!(lines(&spec, "witness"), 0);
        assert!(bench.executor().list(bench.owner()).await.unwrap().is_empty());
        let left: Vec<_> =
            fs::read_dir(&spec.run_dir).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["work"]);
    }
}

/// Arguments are words of bytes, and nobody splits, joins or expands them.
///
/// Kills: the command line built by a shell.
pub async fn arguments_arrive_unchanged(bench: &Bench<'_>) {
    let words = ["", " two  words ", "'\"\\$HOME`id`", "line\nbreak", "*", "--", "é🦀"];
    let mut spec = bench.spec(r#"for word in "$@"; do printf '%s\0' "$word" >> words; done"#);
    spec.argv.extend(words.map(str::to_owned));
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    assert_eq!(
        fs::read_to_string(file(&spec, "words")).unwrap(),
        words.map(|word| format!("{word}\0")).concat()
    );
}

/// The program sees the variables it was given, and none of the host's.
///
/// Kills: the host's environment passed on.
pub async fn the_environment_is_exactly_what_was_given(bench: &Bench<'_>) {
    let mut spec = bench.spec("cat /proc/$$/environ > environment");
    spec.env.insert("PLAIN".to_owned(), "value".to_owned());
    spec.env.insert("ODD".to_owned(), "a=b \"c\"\n$d é".to_owned());
    spec.env.insert("EMPTY".to_owned(), String::new());
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    let seen = fs::read_to_string(file(&spec, "environment")).unwrap();
    let seen: BTreeMap<String, String> = seen
        .split_terminator('\0')
        .map(|entry| entry.split_once('=').expect("a name and a value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(seen, spec.env);
}

/// A program finds its files where it is.
///
/// Kills: working directory ignored.
pub async fn the_program_starts_in_its_working_directory(bench: &Bench<'_>) {
    let spec = bench.spec("cat input > output");
    fs::write(file(&spec, "input"), "here").unwrap();
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    assert_eq!(fs::read_to_string(file(&spec, "output")).unwrap(), "here");
}

/// What is in the run directory lies for the program where the executor says, and what lies there is the same file.
///
/// Kills: a path of this machine said to be that of the sandbox.
pub async fn the_program_finds_its_files_where_the_executor_says(bench: &Bench<'_>) {
    let mut spec = bench.spec(r#"cat "$1" > "$2" && pwd -P >> place"#);
    fs::write(file(&spec, "input"), "here").unwrap();
    let names = ["input", "output"].map(|name| bench.inside(&spec, &file(&spec, name)));
    spec.argv.extend(names);
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    assert_eq!(fs::read_to_string(file(&spec, "output")).unwrap(), "here");
    let place = fs::read_to_string(file(&spec, "place")).unwrap();
    assert_eq!(place.trim_end(), bench.inside(&spec, &spec.working_dir.canonicalize().unwrap()));
}

/// Whoever reads from standard input gets its end at once, and does not hang.
///
/// Kills: standard input of the host, or a pipe that nobody closes.
pub async fn standard_input_is_at_its_end(bench: &Bench<'_>) {
    let spec = bench.spec("cat > input && echo done > witness");
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    assert_eq!((lines(&spec, "input"), lines(&spec, "witness")), (0, 1));
}

/// Many attempts at one time do not get into each other's way.
///
/// Kills: state shared between attempts.
pub async fn thirty_two_at_once(bench: &Bench<'_>) {
    let attempts = (0..32).map(|number| {
        let (executor, spec) =
            (Arc::clone(bench.executor()), bench.spec(&format!("echo {number}; exit {number}")));
        tokio::spawn(async move {
            match executor.start(spec.clone()).await {
                Ok(Start::Started(execution)) => {
                    let exit = exit(execution.wait().await);
                    execution.remove().await.expect("removed");
                    (number, exit, spec)
                }
                other => panic!("{other:?}"),
            }
        })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        let (number, exit, spec) = attempt.await.expect("no panic");
        assert_eq!(exit, Exit::Code(number));
        let log = bench.log(&spec).await;
        assert_eq!(log.iter().map(|line| line.text()).collect::<Vec<_>>(), [number.to_string()]);
    }
    assert!(bench.executor().list(bench.owner()).await.unwrap().is_empty());
}
