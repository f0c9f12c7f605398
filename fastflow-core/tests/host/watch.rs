//! A folder of pipelines that is watched: what changes in it is shown without anybody asking.

use fastflow_core::{
    Orchestrator,
    run::Status,
    source::{ChangeKind, SourceEvent, SyncOutcome, SyncRecord, SyncTrigger},
};
use futures::{StreamExt as _, stream::BoxStream};

use crate::kit::{Place, configured, run, started, within};

type Events = BoxStream<'static, SourceEvent>;

/// The next sync that shows something new, and how many began until then.
async fn next_shown(events: &mut Events) -> (SyncRecord, usize) {
    let mut began = 0;
    let shown = async {
        loop {
            match events.next().await.expect("the host lives") {
                SourceEvent::SyncStarted { .. } => began += 1,
                SourceEvent::SyncEnded(record) if matches!(record.outcome, SyncOutcome::Published { .. }) => {
                    return *record;
                }
                _ => {}
            }
        }
    };
    let record = within("a change to be told", shown).await;
    (record, began)
}

fn changes(record: &SyncRecord) -> Vec<(String, ChangeKind)> {
    let SyncOutcome::Published { changes } = &record.outcome else { panic!("{record:?}") };
    changes.iter().map(|change| (change.name.to_string(), change.kind)).collect()
}

async fn names(flow: &Orchestrator) -> Vec<String> {
    let infos = flow.pipelines().list().await.unwrap();
    infos.into_iter().filter(|info| info.present).map(|info| info.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_into_the_folder_is_shown_and_reading_it_is_no_change() {
    let place = Place::new();
    place.pipeline("etl", "print(1)");
    let flow = place.start().await;
    let mut events = flow.source().events();
    for _ in 0..20 {
        assert_eq!(names(&flow).await, ["etl"]);
    }
    assert_eq!(run(&flow, "etl").await.status(), Status::Success);
    place.pipeline("etl", "print(2)");
    let (record, began) = next_shown(&mut events).await;
    assert_eq!((record.trigger, began), (SyncTrigger::Change, 1), "reading leads to no sync");
    assert_eq!(changes(&record), [("etl".to_owned(), ChangeKind::Changed)]);

    std::fs::remove_dir_all(place.pipelines().join("etl")).unwrap();
    let (record, _) = next_shown(&mut events).await;
    assert_eq!(changes(&record), [("etl".to_owned(), ChangeKind::Removed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_comes_in_steps_is_found_and_so_is_one_that_takes_its_place() {
    let place = Place::new();
    let flow = place.start().await;
    let mut events = flow.source().events();
    place.file("late/data/table.csv", "1");
    place.file("first.py", "pass");
    let (record, _) = next_shown(&mut events).await;
    assert_eq!(changes(&record), [("first".to_owned(), ChangeKind::Added)]);
    // The folder is known by now, and is no pipeline yet.
    place.file("late/main.py", "print('here')");
    let (record, _) = next_shown(&mut events).await;
    assert_eq!(changes(&record), [("late".to_owned(), ChangeKind::Added)]);
    // Deep inside, where only a pipeline is watched.
    place.file("late/data/deep/table.csv", "2");
    let (record, _) = next_shown(&mut events).await;
    assert_eq!(changes(&record), [("late".to_owned(), ChangeKind::Changed)]);

    // Another folder takes its place, as deployments do it, and is watched like the one before.
    let fresh = place.root().join("fresh");
    std::fs::create_dir(&fresh).unwrap();
    std::fs::write(fresh.join("main.py"), "print('new')").unwrap();
    let old = place.root().join("old");
    std::fs::rename(place.pipelines().join("late"), &old).unwrap();
    std::fs::rename(&fresh, place.pipelines().join("late")).unwrap();
    let (record, _) = next_shown(&mut events).await;
    assert_eq!(record.outcome.to_string(), "published, 1 pipelines changed");
    std::fs::write(old.join("main.py"), "print('nobody')").unwrap();
    place.file("late/main.py", "print('newer')");
    let (record, began) = next_shown(&mut events).await;
    assert_eq!((changes(&record), began), (vec![("late".to_owned(), ChangeKind::Changed)], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_among_the_pipelines_and_what_tools_leave_are_no_changes() {
    let place = Place::new();
    place.pipeline("etl", "import helper").file("etl/helper.py", "pass");
    let data = place.pipelines().join("var");
    let flow = started(configured(Orchestrator::builder(data).pipelines(place.pipelines()))).await;
    let mut events = flow.source().events();
    for _ in 0..3 {
        assert_eq!(run(&flow, "etl").await.status(), Status::Success);
    }
    for odd in ["etl/__pycache__/x.pyc", "etl/.venv/bin/python", "etl/node_modules/a/b.js", ".git/index"] {
        place.file(odd, "x");
    }
    place.pipeline("etl", "print(2)");
    let (record, began) = next_shown(&mut events).await;
    assert_eq!((record.trigger, began), (SyncTrigger::Change, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_pipelines_that_is_made_anew_is_watched_again() {
    let place = Place::new();
    place.pipeline("etl", "print(1)");
    let flow = place.start().await;
    let mut events = flow.source().events();
    std::fs::rename(place.pipelines(), place.root().join("away")).unwrap();
    let failed = async {
        loop {
            if let SourceEvent::SyncEnded(record) = events.next().await.expect("the host lives")
                && record.outcome.failure().is_some()
            {
                return;
            }
        }
    };
    within("it to be told that the folder is gone", failed).await;
    let status = flow.source().status().await.unwrap();
    assert!(!status.is_well() && status.pipelines == 1, "what was shown is shown: {status:?}");
    std::fs::create_dir(place.pipelines()).unwrap();
    place.pipeline("other", "print(2)");
    let (record, _) = next_shown(&mut events).await;
    assert!(changes(&record).contains(&("etl".to_owned(), ChangeKind::Removed)), "{record:?}");
    place.pipeline("third", "print(3)");
    let found = async {
        while !names(&flow).await.contains(&"third".to_owned()) {
            next_shown(&mut events).await;
        }
    };
    within("it to be watched again", found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_links_lead_to_is_not_watched() {
    let place = Place::new();
    let outside = place.root().join("outside");
    for number in 0..200 {
        std::fs::create_dir_all(outside.join(number.to_string())).unwrap();
    }
    place.pipeline("etl", "print(1)").pipeline("linked", "print(1)");
    std::os::unix::fs::symlink(&outside, place.pipelines().join("linked/data")).unwrap();
    let before = watches();
    let flow = place.start().await;
    assert!(watches() - before < 20, "{} watches", watches() - before);
    let mut events = flow.source().events();
    std::fs::write(outside.join("7/file"), "x").unwrap();
    place.pipeline("etl", "print(2)");
    assert_eq!(next_shown(&mut events).await.1, 1);
}

/// How many watches this process has.
fn watches() -> usize {
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let texts = infos.filter_map(|info| std::fs::read_to_string(info.path()).ok());
    texts.map(|text| text.lines().filter(|line| line.starts_with("inotify ")).count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_to_another_release_is_noticed() {
    let place = Place::new();
    for release in ["one", "two"] {
        let folder = place.root().join("releases").join(release).join(release);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("main.py"), "pass").unwrap();
    }
    let (current, next) = (place.root().join("current"), place.root().join("next"));
    std::os::unix::fs::symlink("releases/one", &current).unwrap();
    let flow = started(configured(Orchestrator::builder(place.data()).pipelines(&current))).await;
    assert_eq!(names(&flow).await, ["one"]);
    let mut events = flow.source().events();
    std::os::unix::fs::symlink("releases/two", &next).unwrap();
    std::fs::rename(&next, &current).unwrap();
    let (record, _) = next_shown(&mut events).await;
    let expected = [("one".to_owned(), ChangeKind::Removed), ("two".to_owned(), ChangeKind::Added)];
    assert_eq!(changes(&record), expected);
    // The new one is watched, and the old one is not.
    std::fs::write(place.root().join("releases/one/one/main.py"), "print(1)").unwrap();
    std::fs::write(place.root().join("releases/two/two/main.py"), "print(2)").unwrap();
    let (record, began) = next_shown(&mut events).await;
    assert_eq!((changes(&record), began), (vec![("two".to_owned(), ChangeKind::Changed)], 1));
}
