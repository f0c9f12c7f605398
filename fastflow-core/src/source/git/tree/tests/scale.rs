//! How long a large repository takes.

use std::fmt::Write as _;

use super::{Known, Place, read, revision, terms};
use crate::{Clock, SystemClock, source::GitLimits};

const PIPELINES: usize = 2_000;

/// A stream that makes a commit of these files.
fn commit(parent: Option<&str>, files: impl Iterator<Item = (String, String)>) -> String {
    let mut stream =
        String::from("commit refs/heads/main\ncommitter Ada <a@example.org> 1700000000 +0000\ndata 0\n");
    if let Some(parent) = parent {
        let _ = writeln!(stream, "from {parent}");
    }
    for (path, text) in files {
        let _ = write!(stream, "M 100644 inline {path}\ndata {}\n{text}\n", text.len());
    }
    stream
}

#[test]
fn two_thousand_pipelines_and_then_one_that_changed() {
    let place = Place::new();
    let files = (0..PIPELINES).flat_map(|index| {
        [
            (format!("p{index}/main.py"), format!("import json\nprint({index})\n")),
            (format!("p{index}/pipeline.json"), "{\"timeout\": 600}".to_owned()),
            (format!("p{index}/lib/tools.py"), format!("VALUE = {index}\n")),
            (format!("p{index}/requirements.txt"), "requests\n".to_owned()),
        ]
    });
    let tree = |place: &Place| place.git(&["rev-parse", "refs/heads/main^{tree}"], b"");
    place.git(&["fast-import", "--quiet"], commit(None, files).as_bytes());
    let first = place.commit_of(&tree(&place));
    let changed = std::iter::once(("p77/main.py".to_owned(), "print('changed')\n".to_owned()));
    place.git(&["fast-import", "--quiet"], commit(Some("refs/heads/main^0"), changed).as_bytes());
    let second = place.commit_of(&tree(&place));

    let clock = SystemClock::new();
    let limits = GitLimits::default();
    let repo = place.open();
    let timed = |what: &str, commit, known: &Known| {
        let began = clock.elapsed();
        let found = read(&repo, commit, (None, terms(&limits)), &place.snapshots, known).unwrap();
        println!("{PIPELINES} pipelines, {what}: {:?}", clock.elapsed().saturating_sub(began));
        assert_eq!(found.catalog.entries.iter().filter(|entry| entry.runnable().is_ok()).count(), PIPELINES);
        found
    };
    let one = timed("all new", &first, &Known::default());
    let two = timed("one changed", &second, &one.known);
    timed("all known by their snapshots only", &second, &Known::default());
    assert_ne!(revision(&two, "p77"), revision(&one, "p77"));
    assert_eq!(place.snapshots.revisions().unwrap().len(), PIPELINES + 1);
    assert_eq!(place.snapshots.partials().unwrap().len(), 0);
}
