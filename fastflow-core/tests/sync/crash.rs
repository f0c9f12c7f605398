//! Hosts that are killed while they sync: what is shown is one commit, always, and nothing is left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, mpsc::RecvTimeoutError},
    time::Duration,
};

use fastflow_core::{
    Clock as _, SystemClock,
    source::{Commit, SyncRecord, SyncRequest},
    testing::torture::{HostProcess, Part},
};
use notify::Watcher as _;
use sqlx::Connection as _;

use crate::{
    kit::{started_after, until, variable, within},
    place::{Place, builder},
};

const PIPELINES: usize = 6;
/// How often a host is killed, unless `FASTFLOW_KILLS` says otherwise.
const KILLS: u64 = 100;
/// A host that is killed while it starts lives so long at most.
const LONGEST_START_MS: u64 = 400;
/// A host is killed at one of so many changes that it makes in its data directory: several syncs of a commit each.
const CHANGES: u64 = 200;
/// The same for changes of the store alone, of which there are few, and which are close together.
const STORE_CHANGES: u64 = 20;

/// Between two commits.
const PUSH_PAUSE: Duration = Duration::from_millis(50);

/// Not a test of its own: the host that is killed. It syncs as often as it can.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_another_host() {
    let Some(part) = Part::of_this_process() else { return };
    let flow = started_after(|| builder(&part.stage)).await;
    fs::write(part.stage.join("up"), "").unwrap();
    loop {
        // It may meet a server that is just being written to.
        let _ = flow.source().sync(SyncRequest::default()).await;
    }
}

/// One commit in which every file of every pipeline says its number.
fn push(place: &Place, number: u64) -> String {
    for pipeline in 0..PIPELINES {
        for file in ["main.py", "a.txt", "deep/b.txt"] {
            place.repository.write(&format!("p{pipeline}/{file}"), format!("#{number}\n"));
        }
        let fields = format!(r#"{{"schedule_cron": "{} {} * * *"}}"#, number % 60, (number / 60) % 24);
        place.repository.write(&format!("p{pipeline}/pipeline.json"), fields);
    }
    let extra = format!("extra{}", number % 3);
    place.repository.write(&format!("{extra}/main.py"), format!("#{number}\n"));
    let other = format!("extra{}/main.py", (number + 1) % 3);
    if place.repository.work().join(&other).exists() {
        place.repository.remove(other.split('/').next().unwrap());
    }
    if number.is_multiple_of(5) {
        place.repository.git(&["add", "--all", "--force"]);
        place.repository.git(&["commit", "--quiet", "--amend", "--message", &number.to_string()]);
        return place.repository.id("HEAD");
    }
    place.repository.commit(&number.to_string())
}

/// What the store's file says, read by nobody of ours.
struct Written {
    published: Option<Commit>,
    pipelines: BTreeMap<String, String>,
    schedules: BTreeMap<String, String>,
    newest: Option<SyncRecord>,
}

async fn written(data: &Path) -> Written {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("fastflow.db")).read_only(true);
    let mut store = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let mut all = store.begin().await.unwrap();
    let published: Option<Option<String>> =
        sqlx::query_scalar("SELECT published FROM source").fetch_optional(&mut *all).await.unwrap();
    let pipelines: Vec<(String, String)> =
        sqlx::query_as("SELECT name, revision ->> '$' FROM pipelines WHERE present = 1")
            .fetch_all(&mut *all)
            .await
            .unwrap();
    let schedules: Vec<(String, String)> =
        sqlx::query_as("SELECT pipeline, body FROM schedules WHERE removed = 0")
            .fetch_all(&mut *all)
            .await
            .unwrap();
    let newest: Option<String> =
        sqlx::query_scalar("SELECT body FROM syncs WHERE body LIKE '%published%' ORDER BY id DESC LIMIT 1")
            .fetch_optional(&mut *all)
            .await
            .unwrap();
    Written {
        published: published.flatten().map(|text| serde_json::from_str(&text).unwrap()),
        pipelines: pipelines.into_iter().collect(),
        schedules: schedules.into_iter().collect(),
        newest: newest.map(|text| serde_json::from_str(&text).unwrap()),
    }
}

/// The number that all files of a snapshot say; a panic where they differ or one is missing.
fn number_of(snapshot: &Path) -> String {
    let read = |file: &str| fs::read_to_string(snapshot.join(file));
    let number = read("main.py").unwrap_or_else(|error| panic!("{}: {error}", snapshot.display()));
    if snapshot.join("pipeline.json").exists() || snapshot.join("a.txt").exists() {
        for file in ["a.txt", "deep/b.txt"] {
            assert_eq!(read(file).unwrap(), number, "{file} of {}", snapshot.display());
        }
    }
    number.trim_matches(['#', '\n']).to_owned()
}

/// Returns at this change, counted from now, of files below `data` whose names end so.
fn changed(data: &Path, name: &'static str, change: u64) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let mut left = change;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_change = !matches!(event.kind, notify::EventKind::Access(_));
        if is_change && event.paths.iter().any(|path| path.to_string_lossy().ends_with(name)) {
            left = left.saturating_sub(1);
            if left == 0 {
                // It may be the second one that comes too late.
                let _ = tell.try_send(());
            }
        }
    })
    .unwrap();
    // A folder may vanish while all of them are listed.
    while let Err(error) = watcher.watch(data, notify::RecursiveMode::Recursive) {
        assert!(vanished(&error), "{error}");
    }
    told.recv().unwrap();
}

fn vanished(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// What holds at every moment: all that is shown is of one commit, and every snapshot with a name is whole.
async fn check(place: &Place) -> Option<String> {
    let snapshots = place.data().join("snapshots");
    for entry in fs::read_dir(&snapshots).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_string_lossy().starts_with('.') {
            number_of(&entry.path());
        }
    }
    let Written { published, pipelines, schedules, newest } = written(&place.data()).await;
    let published = published?;
    let number: u64 = published.subject.parse().unwrap();
    assert_eq!(newest.unwrap().commit.unwrap(), published, "the log says another commit");
    let mut names: BTreeSet<String> = (0..PIPELINES).map(|pipeline| format!("p{pipeline}")).collect();
    assert_eq!(schedules.keys().cloned().collect::<BTreeSet<_>>(), names);
    let cron = format!("{} {} * * *", number % 60, (number / 60) % 24);
    for (name, body) in &schedules {
        assert!(body.contains(&cron), "{name} is not of {number}: {body}");
    }
    let extras = if number == 1 { vec![1] } else { vec![number % 3, (number - 1) % 3] };
    names.extend(extras.into_iter().map(|extra| format!("extra{extra}")));
    assert_eq!(pipelines.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, revision) in &pipelines {
        if name.starts_with('p') {
            assert_eq!(number_of(&snapshots.join(revision)), number.to_string(), "{name}");
        }
    }
    let newest_extra = &pipelines[&format!("extra{}", number % 3)];
    assert_eq!(number_of(&snapshots.join(newest_extra)), number.to_string());
    Some(published.id.to_string())
}

/// Names that only something unfinished has.
fn leftovers(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".partial")
                || name.starts_with("tmp_")
                || entry.path().extension().is_some_and(|ending| ending == "lock")
                || name.starts_with(".tmp")
            {
                found.push(entry.path().display().to_string());
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_step_of_a_sync_shows_one_commit_and_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    let place = Arc::new(place);
    push(&place, 1);
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let pushing = std::thread::spawn({
        let place = Arc::clone(&place);
        move || {
            let mut number = 1;
            // The hosts that sync need the processor, too.
            while stopped.recv_timeout(PUSH_PAUSE) == Err(RecvTimeoutError::Timeout) {
                number += 1;
                push(&place, number);
            }
        }
    });
    let clock = SystemClock::new();
    let kills = variable("FASTFLOW_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut commits = BTreeSet::new();
    for kill in 0..kills {
        let up = place.root().join("up");
        let _ = fs::remove_file(&up);
        let host =
            HostProcess::start(concat!(module_path!(), "::as_another_host"), "sync", place.root(), kill);
        // Spread over all there are, in an order that looks like none.
        let spread = |most: u64| kill.wrapping_mul(2_654_435_761) % most;
        match kill % 3 {
            // It starts, which is a sync as well.
            0 => clock.sleep(Duration::from_millis(spread(LONGEST_START_MS))).await,
            which => {
                until("the host to be up", || async { up.exists() }).await;
                let (name, change) = match which {
                    1 => ("", 1 + spread(CHANGES)),
                    _ => ("fastflow.db-wal", 1 + spread(STORE_CHANGES)),
                };
                let data = place.data();
                let changed = tokio::task::spawn_blocking(move || changed(&data, name, change));
                within("the host to change something", changed).await.unwrap();
            }
        }
        host.kill(false);
        if place.data().join("snapshots").exists() && place.data().join("fastflow.db").exists() {
            commits.extend(check(&place).await);
        }
    }
    drop(stop);
    pushing.join().unwrap();
    assert!(u64::try_from(commits.len()).unwrap() > kills / 10, "{} commits in {kills} lives", commits.len());

    let flow = started_after(|| place.builder()).await;
    crate::place::sync(&flow).await;
    assert_eq!(check(&place).await.unwrap(), place.repository.id("HEAD"));
    assert_eq!(leftovers(&place.data().join("snapshots")), Vec::<String>::new());
    assert_eq!(leftovers(&place.data().join("git")), Vec::<String>::new());
}
