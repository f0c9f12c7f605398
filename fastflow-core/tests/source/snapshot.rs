//! What a revision keeps, and for how long.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, ErrorKind, SystemClock, Timestamp,
    source::{DirectorySource, PipelineSource, copy_tree},
};

use super::{Place, errors, name, names_in, revision};

#[tokio::test]
async fn an_edit_is_a_new_revision_and_the_old_one_stays_as_it_was() {
    let place = Place::new();
    let script = place.write("etl/main.py", "print(1)");
    place.write("etl/lib/mod.py", "x = 1");
    let source = place.source();
    let first = revision(source.catalog().await.unwrap().get(&name("etl")).unwrap());
    assert_eq!(revision(&source.refresh(&name("etl")).await.unwrap()), first);
    // The same length, so that only the content tells; at once, so that the stamps may be the same.
    fs::write(&script, "print(2)").unwrap();
    let second = revision(&source.refresh(&name("etl")).await.unwrap());
    assert_ne!(second, first);
    let old = source.checkout(&first, None).await.unwrap();
    assert_eq!(fs::read_to_string(old.join("main.py")).unwrap(), "print(1)");
    assert_eq!(fs::read_to_string(old.join("lib/mod.py")).unwrap(), "x = 1");
    fs::write(&script, "print(1)").unwrap();
    assert_eq!(revision(&source.refresh(&name("etl")).await.unwrap()), first, "content alone counts");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let executable = revision(&source.refresh(&name("etl")).await.unwrap());
    assert_ne!(executable, first);
    fs::rename(place.pipelines.join("etl/lib"), place.pipelines.join("etl/lib2")).unwrap();
    assert_ne!(revision(&source.refresh(&name("etl")).await.unwrap()), executable);
    place.write("etl/__pycache__/main.cpython-312.pyc", "x");
    place.write("etl/lib2/mod.pyc", "x");
    let unchanged = revision(&source.refresh(&name("etl")).await.unwrap());
    assert_eq!(
        names_in(&source.checkout(&unchanged, None).await.unwrap()),
        ["lib2", "main.py"].map(String::from).into()
    );
    // A pipeline made since the last sync is found, too, and one that is gone is not.
    place.write("new/main.py", "");
    assert!(source.refresh(&name("new")).await.unwrap().runnable().is_ok());
    fs::remove_dir_all(place.pipelines.join("etl")).unwrap();
    assert_eq!(source.refresh(&name("etl")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn rapid_edits_of_the_same_size_are_never_missed() {
    let place = Place::new();
    let script = place.write("etl/main.py", "000");
    let source = place.source();
    for n in 0..200 {
        fs::write(&script, format!("{n:03}")).unwrap();
        let current = revision(&source.refresh(&name("etl")).await.unwrap());
        let checkout = source.checkout(&current, None).await.unwrap();
        assert_eq!(fs::read_to_string(checkout.join("main.py")).unwrap(), format!("{n:03}"));
    }
}

#[tokio::test]
async fn a_snapshot_cannot_be_written_and_a_copy_can() {
    let place = Place::new();
    let tool = place.write("etl/bin/tool.sh", "#!/bin/sh\n");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o700)).unwrap();
    place.write("etl/main.py", "print(1)");
    symlink("bin/tool.sh", place.pipelines.join("etl/tool")).unwrap();
    let source = place.source();
    let current = revision(&source.refresh(&name("etl")).await.unwrap());
    let snapshot = source.checkout(&current, None).await.unwrap();
    let mode = |path: PathBuf| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(snapshot.clone()), 0o555);
    assert_eq!(mode(snapshot.join("bin")), 0o555);
    assert_eq!(mode(snapshot.join("main.py")), 0o444);
    assert_eq!(mode(snapshot.join("bin/tool.sh")), 0o555);
    let target = place.snapshots.with_file_name("run");
    let stats = copy_tree(&snapshot, &target).unwrap();
    assert_eq!((stats.files, stats.folders, stats.links, stats.bytes), (2, 1, 1, 18));
    assert_eq!(mode(target.join("main.py")) & 0o600, 0o600);
    assert_eq!(mode(target.join("bin/tool.sh")) & 0o700, 0o700);
    assert_eq!(fs::read_link(target.join("tool")).unwrap(), Path::new("bin/tool.sh"));
    fs::write(target.join("main.py"), "changed").unwrap();
    fs::write(target.join("bin/new"), "").unwrap();
    assert_eq!(fs::read_to_string(snapshot.join("main.py")).unwrap(), "print(1)");
    assert_eq!(names_in(&snapshot.join("bin")), ["tool.sh".to_owned()].into());
    assert_eq!(copy_tree(&snapshot, &target).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn what_an_interrupted_copy_left_is_ignored_and_a_new_source_finds_its_snapshots() {
    let place = Place::new();
    place.write("etl/main.py", "print(1)");
    let partial = place.snapshots.join(format!(".partial-{}-0", std::process::id()));
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("main.py"), "half of i").unwrap();
    let first = revision(&place.source().refresh(&name("etl")).await.unwrap());
    let source = place.source();
    // Of the content: the folder itself is touched whenever the snapshot is handed out.
    let written =
        fs::metadata(place.snapshots.join(first.as_str()).join("main.py")).unwrap().modified().unwrap();
    assert_eq!(revision(&source.refresh(&name("etl")).await.unwrap()), first);
    let checkout = source.checkout(&first, None).await.unwrap();
    assert_eq!(fs::read_to_string(checkout.join("main.py")).unwrap(), "print(1)");
    let found = fs::metadata(checkout.join("main.py")).unwrap().modified().unwrap();
    assert_eq!(found, written, "it is used again");
    assert!(source.checkout(&"0".repeat(64).parse().unwrap(), None).await.is_err());
}

/// A clock that is ahead of the machine's by as much as a test says.
#[derive(Debug, Default)]
struct Ahead {
    seconds: AtomicU64,
    system: SystemClock,
}

impl Ahead {
    fn by(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.system.now() + self.by()
    }

    fn elapsed(&self) -> Duration {
        self.system.elapsed() + self.by()
    }

    async fn sleep(&self, duration: Duration) {
        self.system.sleep(duration).await;
    }
}

#[tokio::test]
async fn collecting_keeps_what_is_current_kept_or_just_handed_out() {
    let place = Place::new();
    let script = place.write("etl/main.py", "1");
    let clock = Arc::new(Ahead::default());
    let source = place.source().with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let mut revisions = Vec::new();
    for text in ["1", "2", "3"] {
        fs::write(&script, text).unwrap();
        revisions.push(revision(&source.refresh(&name("etl")).await.unwrap()));
    }
    let keep = BTreeSet::from([revisions[0].clone()]);
    fs::create_dir(place.snapshots.join(".partial-1-1")).unwrap();
    let collected = source.collect(&keep).await.unwrap();
    assert_eq!((collected.removed, collected.stale), (0, 0), "all were handed out just now");
    clock.seconds.store(2 * 3600, Ordering::Relaxed);
    let collected = source.collect(&keep).await.unwrap();
    assert_eq!((collected.removed, collected.stale), (1, 1));
    let left = names_in(&place.snapshots);
    assert_eq!(left, [&revisions[0], &revisions[2]].map(ToString::to_string).into());
    let gone = source.checkout(&revisions[1], None).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    fs::write(&script, "2").unwrap();
    assert_eq!(revision(&source.refresh(&name("etl")).await.unwrap()), revisions[1], "and comes back");
    assert!(source.checkout(&revisions[1], None).await.is_ok());
}

#[tokio::test]
async fn a_folder_that_keeps_changing_is_unavailable_and_stops_no_other() {
    let place = Place::new();
    let busy = place.write("busy/main.py", "");
    place.write("good/main.py", "");
    // Large enough that one reading takes longer than one change.
    fs::write(place.pipelines.join("busy/data"), vec![7; 64 << 20]).unwrap();
    let stop = Arc::new(AtomicU64::new(0));
    let writer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            for n in (0..).take_while(|_| stop.load(Ordering::Relaxed) == 0) {
                fs::write(&busy, format!("# {n}")).unwrap();
            }
        }
    });
    let source = place.source();
    let error = source.refresh(&name("busy")).await.unwrap_err();
    let catalog = source.catalog().await.unwrap();
    stop.store(1, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(errors(catalog.get(&name("busy")).unwrap()).contains("keeps changing"));
    assert!(catalog.get(&name("good")).unwrap().runnable().is_ok());
    assert!(source.refresh(&name("busy")).await.unwrap().runnable().is_ok());
    assert!(
        names_in(&place.snapshots).iter().all(|name| !name.starts_with(".partial")),
        "nothing is left over"
    );
}

#[tokio::test]
async fn many_at_once_get_the_same_revision() {
    let place = Place::new();
    place.write("etl/main.py", "print(1)");
    let sources = [place.source(), place.source()];
    let etl = name("etl");
    let refreshes = (0..32).map(|n| sources[n % 2].refresh(&etl));
    let revisions: BTreeSet<_> = futures::future::join_all(refreshes)
        .await
        .into_iter()
        .map(|entry| revision(&entry.unwrap()))
        .collect();
    assert_eq!(revisions.len(), 1);
    assert_eq!(names_in(&place.snapshots).len(), 1);
}

#[tokio::test]
async fn a_missing_folder_says_which() {
    let source = DirectorySource::new("/nonexistent/pipelines", "/nonexistent/snapshots");
    let error = source.catalog().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("/nonexistent/pipelines"));
}

/// What both cost, for people: `cargo nextest run --release --run-ignored only what_a_look`.
#[tokio::test]
#[ignore = "measures, and checks nothing"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs the machine's clock")]
async fn what_a_look_and_a_copy_cost() {
    const ROUNDS: u32 = 1000;
    let place = Place::new();
    place.write("etl/main.py", "print(1)");
    place.write("etl/pipeline.json", "{}");
    place.write("etl/requirements.txt", "rich");
    let source = place.source();
    let etl = name("etl");
    let current = revision(&source.refresh(&etl).await.unwrap());
    // Until the stamps are old enough to be trusted.
    tokio::time::sleep(Duration::from_millis(300)).await;
    source.refresh(&etl).await.unwrap();
    let began = std::time::Instant::now();
    for _ in 0..ROUNDS {
        source.refresh(&etl).await.unwrap();
    }
    println!("refresh: {:?}", began.elapsed() / ROUNDS);
    let snapshot = source.checkout(&current, None).await.unwrap();
    let began = std::time::Instant::now();
    for n in 0..ROUNDS {
        copy_tree(&snapshot, &place.snapshots.with_file_name(n.to_string())).unwrap();
    }
    println!("copy: {:?}", began.elapsed() / ROUNDS);
}
