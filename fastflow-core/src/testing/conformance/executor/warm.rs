//! Sandboxes that are made before they are needed.

use std::{fs, path::PathBuf};

use super::{
    bench::{Bench, exit, file, given, lines, seen_environment},
    fixture::Interference,
    outside::{processes, strangers_that_know},
    secrets::{entrust, give, word},
};
use crate::{
    run::Exit,
    secret::{Secret, SecretName},
};

/// A program that shows what it was given, and ends in a way of its own.
const SHOWS: &str = r#"echo started >> witness; cat /proc/$$/environ > environment; echo "$1"; exit 7"#;

/// A program that shows its secrets.
const ENTRUSTED: &str = r#"
    cat /proc/$$/environ > environment; ls -A "$FASTFLOW_SECRETS_DIR" > found
    cat "$FASTFLOW_SECRETS_DIR"/* >> found; exit 7"#;

/// A sandbox that waited serves one attempt as any other would, and is gone after it.
///
/// Kills: a sandbox made anew although one waits; one that is put back after its use; a program that gets what its
/// sandbox was made with.
pub async fn a_warm_sandbox_is_used_once(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) {
        return;
    }
    let waiting = bench.keep_warm(&**bench.executor(), &bench.spec("exit 1"), 1).await;
    let mut spec = bench.spec(SHOWS);
    spec.argv.push("word".to_owned());
    let execution = bench.start(&spec).await;
    assert_eq!(*execution.handle().native_id, *waiting[0]);
    assert_eq!(exit(execution.wait().await), Exit::Code(7));
    assert_eq!(seen_environment(&spec), given(&spec));
    assert_eq!(lines(&spec, "witness"), 1);
    if bench.executor().capabilities().output {
        let log = bench.log(&spec).await;
        assert_eq!(log.iter().map(|line| line.text()).collect::<Vec<_>>(), ["word"]);
    }
    execution.remove().await.unwrap();
    assert_eq!(bench.fixture().sandboxes(bench.owner()).await, Vec::<String>::new());

    let next = bench.spec(SHOWS);
    let execution = bench.start(&next).await;
    assert_ne!(*execution.handle().native_id, *waiting[0]);
    assert_eq!((exit(execution.wait().await), lines(&next, "witness")), (Exit::Code(7), 1));
}

/// A sandbox that waits runs no program, knows nothing of any, and is no attempt.
///
/// Kills: the program started ahead of time; variables of the first attempt given to the sandbox.
pub async fn a_warm_sandbox_waits_without_running_anything(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) {
        return;
    }
    let mut like = bench.spec("echo started >> witness; exec sleep 1000");
    let secret = give(bench, &mut like);
    let waiting = bench.keep_warm(&**bench.executor(), &like, 1).await;
    bench.watch().await;
    assert_eq!((lines(&like, "witness"), processes(&like)), (0, Vec::new()));
    assert_eq!(bench.executor().list(bench.owner()).await.unwrap(), []);
    assert_eq!(bench.files_that_know(&like, &secret), Vec::<PathBuf>::new());
    assert_eq!(strangers_that_know(&like, &secret), Vec::<u32>::new());
    for view in bench.fixture().outside_view(&waiting[0]).await {
        assert!(!view.contains(&secret), "{view}");
    }
    // What it was made like can be started afterwards as anything else.
    let execution = bench.start(&like).await;
    assert_eq!(*execution.handle().native_id, *waiting[0]);
    bench.until("the program runs", || lines(&like, "witness") == 1).await;
}

/// A sandbox that waited has the secrets of the attempt that it serves, and none of the one that it was made like.
///
/// Kills: secrets in the class of a sandbox; an order that waits with it.
pub async fn a_warm_sandbox_has_the_secrets_of_its_attempt_alone(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) || !bench.can("secrets", |can| can.secrets) {
        return;
    }
    let mut like = bench.spec("exit 1");
    entrust(&mut like, &word(bench));
    let other: SecretName = "OTHER".parse().unwrap();
    like.secrets.env.insert(other.variable().clone(), Secret::new("another's"));
    like.secrets.files.insert(other, Secret::new("another's"));
    let waiting = bench.keep_warm(&**bench.executor(), &like, 2).await;
    for _ in 0..2 {
        let (mut spec, secret) = (bench.spec(ENTRUSTED), word(bench));
        entrust(&mut spec, &secret);
        let execution = bench.start(&spec).await;
        assert!(waiting.iter().any(|sandbox| **sandbox == *execution.handle().native_id));
        assert_eq!(exit(execution.wait().await), Exit::Code(7));
        assert_eq!(fs::read_to_string(file(&spec, "found")).unwrap(), format!("KEY\n{secret}"));
        spec.env.insert("TOKEN".to_owned(), secret);
        let seen = seen_environment(&spec);
        let seen: Vec<_> = seen.iter().filter(|entry| !entry.starts_with("FASTFLOW_SECRETS_DIR=")).collect();
        assert_eq!(seen, given(&spec).iter().collect::<Vec<_>>());
        execution.remove().await.unwrap();
    }
}

/// What has other needs than those that a sandbox was made for does not get it.
///
/// Kills: any sandbox for any attempt; limits of the sandbox in place of those of the attempt.
pub async fn warm_sandboxes_are_used_by_attempts_like_them_only(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) || !bench.can("memory_limit", |can| can.memory_limit) {
        return;
    }
    let with_memory = |mebibytes: u64| {
        let mut spec = bench.spec("exec tail /dev/zero");
        spec.limits.memory_bytes = Some(mebibytes << 20);
        spec
    };
    let waiting = bench.keep_warm(&**bench.executor(), &with_memory(96), 1).await;
    let execution = bench.start(&with_memory(48)).await;
    assert_ne!(*execution.handle().native_id, *waiting[0]);
    let report = super::bench::report(execution.wait().await);
    assert_eq!(report.exit, Exit::OutOfMemory);
    assert!(report.peak_memory_bytes.is_some_and(|peak| peak <= 48 << 20), "{report:?}");
    assert_eq!(bench.waiting().await, waiting);

    let execution = bench.start(&with_memory(96)).await;
    assert_eq!(*execution.handle().native_id, *waiting[0]);
    let report = super::bench::report(execution.wait().await);
    assert_eq!(report.exit, Exit::OutOfMemory);
    assert!(report.peak_memory_bytes.is_some_and(|peak| peak > 64 << 20 && peak <= 96 << 20), "{report:?}");
}

/// What a host that died has left waiting is used by the next, or taken away: nobody's sandboxes wait for ever.
///
/// Kills: a table of what waits, kept in memory.
pub async fn warm_sandboxes_of_a_dead_host_are_found_or_swept(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) {
        return;
    }
    let like = bench.spec("exit 1");
    let dead = bench.fixture().executor().await.expect("there was one before");
    bench.keep_warm(&*dead, &like, 2).await;
    drop(dead);
    bench.keep_warm(bench.other(), &like, 1).await;
    let spec = bench.spec(SHOWS);
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(7));
    assert_eq!(lines(&spec, "witness"), 1);
    bench.keep_warm(bench.other(), &like, 0).await;
    assert_eq!(bench.fixture().sandboxes(bench.owner()).await, Vec::<String>::new());
}

/// As many wait as were asked for last: those that are used are made again, those above the number go, and at zero
/// there is none.
///
/// Kills: more made with each call; a number that only grows.
pub async fn as_many_sandboxes_wait_as_were_asked_for(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) {
        return;
    }
    let (executor, like) = (&**bench.executor(), bench.spec("exit 1"));
    let three = bench.keep_warm(executor, &like, 3).await;
    assert_eq!(bench.keep_warm(executor, &like, 3).await, three);
    let execution = bench.start(&bench.spec("exec sleep 1000")).await;
    assert!(three.iter().any(|sandbox| **sandbox == *execution.handle().native_id));
    bench.keep_warm(executor, &like, 3).await;
    bench.keep_warm(executor, &like, 1).await;
    bench.keep_warm(executor, &like, 0).await;
    let left = bench.fixture().sandboxes(bench.owner()).await;
    assert_eq!(left, [execution.handle().native_id.to_string()], "what is used stays");
}

/// What led to a sandbox goes with it, also where its host died before it could see to that.
///
/// Kills: what says whom a sandbox serves, kept for ever once the sandbox is gone.
pub async fn what_led_to_a_sandbox_that_is_gone_is_swept(bench: &Bench<'_>) {
    if !bench.can("warm", |can| can.warm) {
        return;
    }
    let waiting = bench.keep_warm(&**bench.executor(), &bench.spec("exit 1"), 1).await;
    let spec = bench.spec("exec sleep 1000");
    let execution = bench.start(&spec).await;
    assert_eq!(*execution.handle().native_id, *waiting[0]);
    let files = || bench.places_of(&spec);
    if files().is_empty() {
        bench.lacks("warm_entries", "no file is named after the attempt that a sandbox serves");
        return;
    }
    if !bench.interfere(&*execution, Interference::Remove).await {
        return;
    }
    drop(execution);
    // Nothing is swept while anybody makes sandboxes, and other cases do.
    bench.until_swept(bench.other(), "nothing leads anywhere", || files().is_empty()).await;
}
