//! Too much of anything, and much of what is allowed.

use std::{
    fmt::Write as _,
    fs,
    io::{BufWriter, Write as _},
    time::Duration,
};

use super::{Item, Known, Place, Read, entry, file, findings, folder, pipeline_with, read, revision, terms};
use crate::{
    Clock, SystemClock,
    source::{Commit, GitLimits, SyncFailure, SyncFailureKind, TreeLimits},
};

fn read_with(place: &Place, commit: &Commit, limits: GitLimits) -> Result<Read, SyncFailure> {
    read(&place.open(), commit, (None, terms(&limits)), &place.snapshots, &Known::default())
}

fn small(tree: TreeLimits) -> GitLimits {
    GitLimits { tree, ..GitLimits::default() }
}

#[test]
fn a_pipeline_beyond_a_limit_is_broken_and_the_one_beside_it_is_not() {
    let place = Place::new();
    let deep = (0..4).fold(folder([("x", file("x"))]), |inner, _| folder([("d", inner)]));
    let long = (0..6).fold(file("x"), |inner, _| Item::Folder(vec![(vec![b'd'; 200], inner)]));
    let default = TreeLimits::default();
    let rows = [
        (deep, TreeLimits { max_depth: 3, ..default }, "3 folders inside each other"),
        (
            folder([("a", file("")), ("b", file("")), ("c", file(""))]),
            TreeLimits { max_files: 3, ..default },
            "3 files and folders",
        ),
        (
            folder([("a", file("123456")), ("b", file("123456"))]),
            TreeLimits { max_bytes: 11, ..default },
            "11 bytes",
        ),
        (long, default, "longer than 1024 bytes"),
    ];
    for (more, tree, words) in rows {
        let commit = place.commit(&folder([
            ("good", folder([("main.py", file("")), ("a", file("12345678901"))])),
            ("much", pipeline_with(b"more", more)),
        ]));
        let read = read_with(&place, &commit, small(tree)).unwrap();
        let found = findings(&read, "much");
        assert!(found.contains(words), "{found}");
        assert!(entry(&read, "good").runnable().is_ok());
    }
    let commit = place.commit(&folder([("single.py", file("print('long')\n"))]));
    let read = read_with(&place, &commit, small(TreeLimits { max_bytes: 5, ..default })).unwrap();
    assert!(findings(&read, "single").contains("5 bytes"));
}

#[test]
fn a_bomb_of_nested_folders_is_stopped_at_once() {
    let place = Place::new();
    let mut level = Item::Object("100644", place.write(&file("boom")).1);
    for depth in 0..10 {
        let entries = (0..10).map(|index| (format!("{depth}-{index}").into_bytes(), level.clone())).collect();
        let (mode, id) = place.write(&Item::Folder(entries));
        level = Item::Object(mode, id);
    }
    let commit = place.commit(&folder([
        ("bomb", pipeline_with(b"bomb", level.clone())),
        ("good", folder([("main.py", file("print(1)\n"))])),
    ]));
    let clock = SystemClock::new();
    let began = clock.elapsed();
    let read = place.read(&commit);
    let took = clock.elapsed().saturating_sub(began);
    println!("a bomb of 10^10 files took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(findings(&read, "bomb").contains("20000 files and folders"));
    assert!(entry(&read, "good").runnable().is_ok());
    // Many pipelines with the same bomb are too much for the whole commit.
    let bomb = place.write(&pipeline_with(b"bomb", level)).1;
    let many = (0..100).map(|index| (format!("b{index}").into_bytes(), Item::Object("40000", bomb.clone())));
    let commit = place.commit(&Item::Folder(many.collect()));
    let limits = GitLimits { max_total_files: 100_000, ..GitLimits::default() };
    let failure = read_with(&place, &commit, limits).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::TooLarge, "{failure}");
}

#[test]
fn a_commit_beyond_a_limit_is_refused_as_a_whole() {
    let place = Place::new();
    let one = |text: &str| folder([("main.py", file(text))]);
    let commit =
        place.commit(&folder([("a", one("print(1)\n")), ("b", one("print(2)\n")), ("c.txt", file(""))]));
    let default = GitLimits::default();
    for (limits, words) in [
        (GitLimits { max_pipelines: 2, ..default }, "more than 2 names"),
        (GitLimits { max_total_files: 1, ..default }, "more than 1 files and folders"),
        (GitLimits { max_total_bytes: 12, ..default }, "more than 12 bytes"),
    ] {
        let failure = read_with(&place, &commit, limits).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::TooLarge, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(place.snapshots.revisions().unwrap(), []);
        assert_eq!(place.snapshots.partials().unwrap().len(), 0);
    }
    let exact = GitLimits { max_pipelines: 3, max_total_files: 2, ..default };
    assert!(read_with(&place, &commit, exact).is_ok());
}

#[test]
fn links_that_are_long_ways_are_counted() {
    let place = Place::new();
    let target: &'static str = "d/../".repeat(200).leak();
    let links = (0..2000).map(|index| (format!("l{index:04}").into_bytes(), Item::Link(target)));
    // One object for all of them.
    let (mode, id) = place.write(&Item::Link(target));
    let mut entries: Vec<_> = links.map(|(name, _)| (name, Item::Object(mode, id.clone()))).collect();
    entries.push((b"main.py".to_vec(), file("")));
    let read = place.read(&place.commit(&folder([("etl", Item::Folder(entries))])));
    assert!(findings(&read, "etl").contains("is one of too many"));
}

#[test]
fn ten_thousand_files_are_one_pipeline() {
    let place = Place::new();
    let mut stream =
        String::from("commit refs/heads/main\ncommitter Ada <a@example.org> 1700000000 +0000\ndata 0\n");
    stream.push_str("M 100644 inline etl/main.py\ndata 9\nprint(1)\n\n");
    for index in 0..10_000 {
        let text = format!("{index}\n");
        let _ = write!(
            stream,
            "M 100644 inline etl/d{}/f{index}.txt\ndata {}\n{text}\n",
            index % 100,
            text.len()
        );
    }
    place.git(&["fast-import", "--quiet"], stream.as_bytes());
    let commit = place.commit_of(&place.git(&["rev-parse", "refs/heads/main^{tree}"], b""));
    let clock = SystemClock::new();
    let began = clock.elapsed();
    let read = place.read(&commit);
    println!("10,000 files took {:?}", clock.elapsed().saturating_sub(began));
    let snapshot = place.snapshots.path(&revision(&read, "etl"));
    for index in [0, 4321, 9_999] {
        let path = snapshot.join(format!("d{}/f{index}.txt", index % 100));
        assert_eq!(fs::read_to_string(path).unwrap(), format!("{index}\n"));
    }
    assert_eq!(fs::read_dir(&snapshot).unwrap().count(), 101);
}

/// The most memory that this process has ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_of_200_megabytes_is_in_memory_once() {
    const BYTES: u64 = 200_000_000;
    let place = Place::new();
    let path = place.dir.path().join("data.bin");
    let mut source = BufWriter::new(fs::File::create(&path).unwrap());
    for line in 0..BYTES / 16 {
        writeln!(source, "{line:015}").unwrap();
    }
    source.into_inner().unwrap();
    let id = place.git(&["-c", "core.compression=1", "hash-object", "-w", path.to_str().unwrap()], b"");
    let data = Item::Object("100644", id.clone());
    let commit = place.commit(&folder([("etl", folder([("data.bin", data), ("main.py", file(""))]))]));
    let before = peak_bytes();
    let clock = SystemClock::new();
    let began = clock.elapsed();
    let read = place.read(&commit);
    let took = clock.elapsed().saturating_sub(began);
    let grown = peak_bytes().saturating_sub(before);
    println!("200 MB took {took:?} and {} MB of memory", grown >> 20);
    assert!(grown > BYTES / 2 && grown < BYTES * 3 / 2, "{grown} bytes");
    // By git's own hash of what was written.
    let written = place.snapshots.path(&revision(&read, "etl")).join("data.bin");
    assert_eq!(place.git(&["hash-object", "--no-filters", written.to_str().unwrap()], b""), id);
}
