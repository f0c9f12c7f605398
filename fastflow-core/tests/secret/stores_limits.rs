//! Secrets from other programs: how long they may take, how many there may be, and what is left of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{Clock, ErrorKind, SystemClock, Timestamp, secret::CommandSecrets};

use super::stores_kit::{find, soon, until, value, words};

/// Starts a program in the background and one in the foreground, says who they are, and never ends.
const ENDLESS: &str = r#"sleep 1000 & sh -c 'trap "" TERM HUP INT; sleep 1000' &
    echo $! > "$1/second.new"; echo $$ > "$1/first"; mv "$1/second.new" "$1/second"; wait; wait"#;

fn endless(folder: &Path) -> CommandSecrets {
    CommandSecrets::new("sh", ["-c", ENDLESS, "{name}", folder.to_str().unwrap()]).unwrap()
}

/// Whether a process is there and runs: a dead one may wait for its parent for a while.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// All processes of the group of the program.
fn group(folder: &Path) -> Vec<String> {
    let leader = fs::read_to_string(folder.join("first")).unwrap();
    let of_group = |pid: &String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let group = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2).map(str::to_owned));
        group.as_deref() == Some(leader.trim()) && runs(pid)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).filter(of_group).collect()
}

/// A clock by which time passes as soon as a file is there.
#[derive(Debug)]
struct UntilThere(PathBuf);

#[async_trait::async_trait]
impl Clock for UntilThere {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        until("the program has begun", || self.0.exists()).await;
    }
}

#[tokio::test]
async fn one_that_takes_too_long_is_killed_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("second");
    let store = endless(folder.path()).clock(Arc::new(UntilThere(there))).timeout(Duration::from_secs(7));
    let error = soon(value(&store, "A")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(words(&error).contains("limit_secs: 7, secret: A"), "{error}");
    until("all of them are gone", || group(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn the_time_is_that_of_the_clock() {
    let clock = SystemClock::new();
    let store = CommandSecrets::new("sh", ["-c", "exec sleep 1000", "{name}"]).unwrap();
    let error = value(&store.timeout(Duration::from_millis(100)), "A").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let took = clock.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_mins(1), "{took:?}");
}

#[tokio::test]
async fn nothing_is_left_of_one_that_nobody_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("second");
    let store = endless(folder.path());
    tokio::select! {
        found = find(&store, &["A"]) => panic!("it has ended: {found:?}"),
        () = until("the program has begun", || there.exists()) => {}
    }
    until("all of them are gone", || group(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn one_that_says_too_much_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo $$ > "$1/first"; sleep 1000 & yes"#;
    let args = ["-c", script, "{name}", folder.path().to_str().unwrap()];
    let error = soon(value(&CommandSecrets::new("sh", args).unwrap(), "A")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    until("all of them are gone", || group(folder.path()).is_empty()).await;
}

/// The first ones wait for each other, so there have to be four; and each counts how many there are.
#[tokio::test]
async fn several_are_asked_at_one_time_and_no_more_than_four() {
    const SCRIPT: &str = r#"cd "$1"; : > "live.$0"; : > "begun.$0"
        until [ "$(ls begun.* | wc -l)" -ge 4 ]; do sleep 0.01; done
        ls live.* | wc -l > "count.$0"; rm "live.$0"; printf '%s' "$0""#;
    let folder = tempfile::tempdir().unwrap();
    let args = ["-c", SCRIPT, "{name}", folder.path().to_str().unwrap()];
    let names: Vec<String> = (0..24).map(|number| format!("N{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let store = CommandSecrets::new("sh", args).unwrap();
    let found = soon(find(&store, &names)).await.unwrap();
    assert_eq!(found.len(), 24);
    assert!(found.iter().all(|(name, (value, _))| name == value), "{found:?}");
    let count = |name: &&str| -> u32 {
        fs::read_to_string(folder.path().join(format!("count.{name}"))).unwrap().trim().parse().unwrap()
    };
    let most = names.iter().map(count).max().unwrap();
    assert!(most <= 4, "{most}");
}
