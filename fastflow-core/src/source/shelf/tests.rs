use std::{cell::Cell, fs, sync::mpsc, thread, time::Duration};

use super::*;
use crate::SystemClock;

/// Longer than anything here takes on a busy machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_mins(1);

fn revision(number: usize) -> Revision {
    format!("{number:064x}").parse().unwrap()
}

/// A shelf with so many snapshots, none of which was handed out.
fn shelf(folder: &tempfile::TempDir, snapshots: usize) -> Shelf {
    let shelf = Shelf::new(folder.path().to_owned(), Arc::new(SystemClock::new()));
    for number in 0..snapshots {
        let inner = shelf.snapshots.path(&revision(number)).join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("main.py"), "pass").unwrap();
        let folder = fs::File::open(shelf.snapshots.path(&revision(number))).unwrap();
        folder.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    shelf
}

#[test]
fn what_another_process_has_handed_out_stays() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, 3);
    // Of another process, which has another memory.
    let other = Shelf::new(folder.path().to_owned(), Arc::new(SystemClock::new()));
    let handed_out = other.checkout(&revision(1)).unwrap();
    assert_eq!(shelf.collect(&BTreeSet::new(), BTreeSet::new).unwrap().removed, 2);
    assert_eq!(shelf.snapshots.revisions().unwrap(), [revision(1)]);
    assert!(handed_out.join("inner/main.py").is_file());
}

#[test]
fn what_another_process_hands_out_while_it_loses_its_name_gets_that_back() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, 1);
    let other = Shelf::new(folder.path().to_owned(), Arc::new(SystemClock::new()));
    other.checkout(&revision(0)).unwrap();
    // It looked before that was handed out, and only now takes the name.
    let unnamed = shelf.unname_unless_handed_out(&revision(0), SystemClock::new().now()).unwrap();
    assert_eq!(unnamed, None);
    assert!(other.snapshots.path(&revision(0)).join("inner/main.py").is_file());
    assert_eq!(shelf.snapshots.partials().unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn collecting_waits_for_nobody_so_that_nobody_waits_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, 3);
    let keep = BTreeSet::from([revision(0)]);
    let (told, tells) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let reading = shelf.hold();
        let (shelf, keep) = (&shelf, &keep);
        scope.spawn(move || {
            // Nobody listens any more when this came too late.
            let _ = told.send(shelf.collect(keep, BTreeSet::new));
        });
        let collected = tells.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(collected, Collected::default(), "it is left to the next time");
        assert!(shelf.checkout(&revision(0)).is_ok());
        drop(reading);
    });
    assert_eq!(shelf.collect(&keep, BTreeSet::new).unwrap().removed, 2);
    assert_eq!(shelf.snapshots.revisions().unwrap(), [revision(0)]);
}

#[test]
fn what_has_lost_its_name_is_removed_while_others_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, 3);
    let unnamed = shelf.unname(&[revision(1), revision(2)], &BTreeSet::new);
    let unnamed: Vec<PathBuf> = unnamed.into_iter().map(Result::unwrap).collect();
    assert!(unnamed.iter().all(|path| path.join("inner/main.py").is_file()), "its content is there");
    assert!(shelf.alone().is_some(), "and nobody is kept waiting by it");
    assert!(shelf.checkout(&revision(0)).is_ok());
    assert_eq!(shelf.checkout(&revision(1)).unwrap_err().kind(), ErrorKind::NotFound);
    for path in &unnamed {
        removed(path).unwrap();
        // Somebody else may have been faster.
        removed(path).unwrap();
    }
    assert_eq!(shelf.snapshots.partials().unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_used_is_looked_at_each_time_that_some_lose_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = shelf(&folder, 2 * UNNAMED_AT_ONCE + 1);
    let looks = Cell::new(0);
    let shown = || {
        looks.set(looks.get() + 1);
        let all = shelf.snapshots.revisions().unwrap().into_iter();
        if looks.get() == 1 { BTreeSet::new() } else { all.collect() }
    };
    assert_eq!(shelf.collect(&BTreeSet::new(), shown).unwrap().removed, UNNAMED_AT_ONCE);
    assert_eq!(looks.get(), 3);
    let rest = shelf.collect(&BTreeSet::new(), BTreeSet::new).unwrap();
    assert_eq!(rest.removed, UNNAMED_AT_ONCE + 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of them");
}
