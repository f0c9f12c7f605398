//! Two sources of pipelines that share one data directory, mostly by mistake.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_core::{
    Clock as _, HostInfo, Hosting, Orchestrator, OrchestratorBuilder, Shutdown, SystemClock,
    hosting::HostPlace,
    source::{DirectorySource, PipelineSource as _, without_steps_back},
    store::{SqliteOptions, SqliteStore, Store as _},
};
use tracing::subscriber::DefaultGuard;

use crate::kit::{Place, configured, started, until};

/// What is said of two sources.
const WARNING: &str = "for another source of pipelines";

/// What is logged by this thread, on which everything of these tests runs.
struct Log {
    path: PathBuf,
    _guard: DefaultGuard,
}

impl Log {
    fn begin(place: &Place) -> Self {
        let path = place.root().join("trace");
        let file = File::create(&path).unwrap();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(file).finish();
        Self { path, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn warnings(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.path).unwrap();
        text.lines().filter(|line| line.contains(WARNING)).map(str::to_owned).collect()
    }
}

/// An orchestrator of another folder on the same data directory.
fn of_folder(place: &Place, folder: &Path) -> OrchestratorBuilder {
    configured(Orchestrator::builder(place.data()).pipelines(folder))
}

fn folder(place: &Place, name: &str) -> PathBuf {
    let folder = place.root().join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_waits_beside_a_host_of_another_source_says_so_once() {
    let place = Place::new();
    let log = Log::begin(&place);
    let host = place.start().await;
    assert_eq!(host.source_origin(), Some(text(&place.pipelines())));
    let here = host.host().await.unwrap().unwrap();
    assert_eq!((here.place, &here.source), (HostPlace::Here, &host.source_origin()));
    let other = folder(&place, "other");
    for (number, hosting) in [(1, Hosting::WhenFree), (2, Hosting::Never)] {
        let waits = started(of_folder(&place, &other).hosting(hosting)).await;
        let there = waits.host().await.unwrap().unwrap();
        assert_eq!((there.place, &there.source), (HostPlace::Elsewhere, &host.source_origin()));
        assert!(there.has_other_source(waits.source_origin().as_deref()));
        until("it to be spoken of", || async { log.warnings().len() == number }).await;
        let warnings = log.warnings();
        let said = &warnings[number - 1];
        for word in [std::process::id().to_string(), text(&place.pipelines()), text(&other)] {
            assert!(said.contains(&word), "{word} is missing in {said}");
        }
        waits.shutdown(Shutdown::Detach).await.unwrap();
    }
    assert_eq!(log.warnings().len(), 2);
}

#[tokio::test]
async fn two_ways_to_one_folder_are_one_source() {
    let place = Place::new();
    let log = Log::begin(&place);
    let host = place.start().await;
    let link = place.root().join("current");
    symlink(place.pipelines(), &link).unwrap();
    for same in [link, place.root().join("tmp/../pipelines/."), place.pipelines()] {
        let waits = started(of_folder(&place, &same).hosting(Hosting::Never)).await;
        let there = waits.host().await.unwrap().unwrap();
        assert_eq!(there.source, host.source_origin());
        assert!(!there.has_other_source(waits.source_origin().as_deref()), "{}", same.display());
        waits.shutdown(Shutdown::Detach).await.unwrap();
    }
    assert_eq!(log.warnings(), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_found_is_perhaps_the_same() {
    let place = Place::new();
    let (one, other) = (folder(&place, "one"), folder(&place, "other"));
    let host = |source: &Path| {
        HostInfo::new(1, SystemClock::new().now(), HostPlace::Elsewhere).of_source(Some(text(source)))
    };
    assert!(host(&one).has_other_source(Some(&text(&other))));
    // As after a new name, and from within another container.
    fs::rename(&one, place.root().join("renamed")).unwrap();
    assert!(!host(&one).has_other_source(Some(&text(&other))));
    assert!(!host(&other).has_other_source(Some(&text(&one))));
    assert!(host(&one).has_other_source(Some("https://git.example.org/a.git, branch main")));
}

/// The host is a text in a lock file that is held, so that it can change while nobody else gets hold of the lock.
#[tokio::test]
async fn who_waits_says_it_again_of_the_next_host() {
    let place = Place::new();
    let log = Log::begin(&place);
    fs::create_dir(place.data()).unwrap();
    let path = place.data().join("fastflow.db");
    let clock = SystemClock::new();
    let store = SqliteStore::open(&path, SqliteOptions::default(), Arc::new(clock)).await.unwrap();
    store.host(None).await.unwrap();
    let note = |pid: u32, source: &str| {
        let since = SystemClock::new().now();
        let text = format!("{{\"pid\": {pid}, \"since\": \"{since}\", \"pid_namespace\": 1{source}}}");
        fs::write(path.with_extension("db.lock"), text).unwrap();
    };
    // By an earlier version, which does not say where its pipelines come from.
    note(1, "");
    let waits = started(place.builder().hosting(Hosting::WhenFree)).await;
    assert_eq!(waits.host().await.unwrap().unwrap().source, None);
    assert_eq!(log.warnings(), Vec::<String>::new());
    note(2, r#", "source": "https://git.example.org/a.git, branch main""#);
    until("the next host to be spoken of", || async { log.warnings().len() == 1 }).await;
    let other = text(&folder(&place, "other"));
    note(3, &format!(r#", "source": "{other}""#));
    until("the one after it, too", || async { log.warnings().len() == 2 }).await;
    let warnings = log.warnings();
    assert!(warnings[0].contains("git.example.org") && warnings[1].contains(&other), "{warnings:#?}");
    store.close().await.unwrap();
    until("this one to host", || async {
        waits.host().await.unwrap().is_some_and(|host| host.place == HostPlace::Here)
    })
    .await;
    assert_eq!(waits.host().await.unwrap().unwrap().source, waits.source_origin());
    assert_eq!(log.warnings().len(), 2);
    waits.shutdown(Shutdown::Detach).await.unwrap();
}

#[tokio::test]
async fn a_source_whose_name_is_too_long_is_left_out_and_nothing_else() {
    let place = Place::new();
    let path = place.root().join("fastflow.db");
    let open = || SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new()));
    let (host, guest) = (open().await.unwrap(), open().await.unwrap());
    host.host(Some(&"x".repeat(5000))).await.unwrap();
    let found: HostInfo = guest.hosted_by().await.unwrap().unwrap();
    assert_eq!((found.pid, found.source), (std::process::id(), None));
    assert!(guest.try_host(Some("x")).await.is_err());
    host.step_down().await.unwrap();
    guest.try_host(Some("x")).await.unwrap();
    assert_eq!(host.hosted_by().await.unwrap().unwrap().source.as_deref(), Some("x"));
}

#[test]
fn the_origin_of_a_folder_is_its_path_as_it_was_given_and_from_the_root() {
    let of = |folder: &str| DirectorySource::new(folder, "snapshots").origin().unwrap();
    let here = std::path::absolute("pipelines").unwrap();
    assert_eq!(of("./a/../pipelines/"), here.to_str().unwrap());
    assert_eq!(of("/srv/app/current/./x/../pipelines"), "/srv/app/current/pipelines");
    assert_eq!(of("/../.."), "/");
}

#[test]
fn a_step_back_over_a_link_leads_to_where_its_folder_is() {
    let place = Place::new();
    let releases = folder(&place, "releases");
    let (current, gone) = (place.root().join("current"), place.root().join("gone"));
    fs::create_dir_all(releases.join("3/pipelines")).unwrap();
    symlink(releases.join("3"), &current).unwrap();
    symlink("nowhere/at/all", &gone).unwrap();
    let of = |folder: PathBuf| without_steps_back(&folder);
    assert_eq!(of(current.join("../shared/pipelines")), releases.join("shared/pipelines"));
    assert_eq!(of(current.join("pipelines/../pipelines")), current.join("pipelines"));
    assert_eq!(of(current.clone()), current);
    assert_eq!(of(gone.join("../pipelines")), place.root().join("pipelines"));
}

/// A name that is longer than the next one leaves nothing behind.
#[tokio::test]
async fn the_next_host_says_who_it_is_over_what_the_one_before_it_left() {
    let place = Place::new();
    let path = place.root().join("fastflow.db");
    let open = || SqliteStore::open(&path, SqliteOptions::default(), Arc::new(SystemClock::new()));
    let (host, guest) = (open().await.unwrap(), open().await.unwrap());
    // As one that was killed does.
    let left = format!(r#"{{"pid": 1, "since": "2024-01-01T00:00:00Z", "source": "{}"}}"#, "x".repeat(2000));
    fs::write(path.with_extension("db.lock"), left).unwrap();
    host.host(Some("next")).await.unwrap();
    let found = guest.hosted_by().await.unwrap().unwrap();
    assert_eq!((found.pid, found.source.as_deref()), (std::process::id(), Some("next")));
}
