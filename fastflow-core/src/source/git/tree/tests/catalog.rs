//! What a commit's catalog says, and what it costs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::Arc,
};

use proptest::{prelude::*, test_runner::TestRunner};

use super::{Item, Place, entry, file, folder, read, revision, terms};
use crate::{
    ErrorKind,
    source::{
        DirectorySource, GitLimits, PipelineSource, Provenance, SyncFailureKind, SyncRequest,
        git::tree::restore,
    },
};

fn good(text: &str) -> Item {
    folder([("main.py", file(text)), ("lib", folder([("a.py", file("a = 1\n"))]))])
}

#[test]
fn a_catalog_names_its_commit_and_each_pipelines_path() {
    let place = Place::new();
    let commit = place.commit(&folder([
        ("docs", folder([("main.py", file("not below the folder of pipelines"))])),
        (
            "flows",
            folder([("team", folder([("etl", good("print(1)\n")), ("single.py", file("print(2)\n"))]))]),
        ),
    ]));
    let read = place.try_read(&commit, Some("flows/team/")).unwrap();
    assert_eq!(read.catalog.commit.as_ref(), Some(&commit));
    assert_eq!(read.catalog.entries.len(), 2);
    for (name, path) in [("etl", "flows/team/etl"), ("single", "flows/team/single.py")] {
        let provenance = entry(&read, name).runnable().unwrap().provenance.clone().unwrap();
        assert_eq!((provenance.path.as_str(), &provenance.commit), (path, &commit));
    }
}

#[test]
fn a_folder_of_pipelines_that_is_none_is_a_failure_of_the_sync() {
    let place = Place::new();
    let commit = place.commit(&folder([
        ("etl", good("")),
        ("file", file("x")),
        ("link", Item::Link("etl")),
        ("module", Item::Object("160000", "8a".repeat(20))),
    ]));
    for (subdirectory, kind, words) in [
        ("nowhere", SyncFailureKind::Missing, "\"nowhere\""),
        ("etl/nowhere", SyncFailureKind::Missing, "\"etl/nowhere\""),
        ("file", SyncFailureKind::Refused, "found a file"),
        ("file/below", SyncFailureKind::Refused, "found a file"),
        ("link", SyncFailureKind::Refused, "found a link"),
        ("module", SyncFailureKind::Refused, "a submodule"),
        ("../etl", SyncFailureKind::Refused, "stands for another folder"),
        (".git", SyncFailureKind::Refused, "git's own folder"),
    ] {
        let failure = place.try_read(&commit, Some(subdirectory)).unwrap_err();
        assert_eq!(failure.kind, kind, "{subdirectory}: {failure}");
        assert!(failure.message.contains(words), "{subdirectory}: {failure}");
    }
    assert_eq!(place.snapshots.revisions().unwrap(), []);
}

#[test]
fn circles_and_unknown_names_are_found_between_the_pipelines() {
    let place = Place::new();
    let after = |name: &str| {
        folder([("main.py", file("")), ("pipeline.json", file(&format!("{{\"after\": [\"{name}\"]}}")))])
    };
    let commit =
        place.commit(&folder([("one", after("two")), ("two", after("one")), ("three", after("nobody"))]));
    let read = place.read(&commit);
    assert!(super::findings(&read, "one").contains("a circle"));
    let warnings = &entry(&read, "three").runnable().unwrap().pipeline.warnings;
    assert!(super::lines(warnings).contains("no such pipeline"));
}

/// Inodes of all snapshots: a snapshot that was made again would have another one.
fn inodes(place: &Place) -> BTreeMap<String, u64> {
    let inode = |revision: &crate::source::Revision| {
        (revision.to_string(), fs::metadata(place.snapshots.path(revision)).unwrap().ino())
    };
    place.snapshots.revisions().unwrap().iter().map(inode).collect()
}

#[test]
fn an_unchanged_pipeline_is_not_read_again_and_gets_the_new_commit() {
    let place = Place::new();
    let limits = GitLimits::default();
    let broken = folder([("main.py", file("")), ("CON", file(""))]);
    let notes = folder([("readme.txt", file("nothing to run\n"))]);
    let first = place.commit(&folder([
        ("broken", broken.clone()),
        ("etl", good("print(1)\n")),
        ("notes", notes.clone()),
        ("other", good("print(2)\n")),
    ]));
    let one = place.read(&first);
    let before = inodes(&place);
    // Nothing of the unchanged ones can be read any more, down to their trees.
    for item in [&broken, &good("print(1)\n"), &notes] {
        let id = place.write(item).1;
        fs::remove_file(place.repo().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    }
    let id = |item: &Item| {
        place.git(&["hash-object", "-t", "tree", "--literally", "--stdin"], &tree_of(&place, item))
    };
    let object = |item: &Item| Item::Object("40000", id(item));
    let second = place.commit(&folder([
        ("broken", object(&broken)),
        ("etl", object(&good("print(1)\n"))),
        ("notes", object(&notes)),
        ("other", good("print(3)\n")),
    ]));
    let repo = place.open();
    let two = read(&repo, &second, (None, terms(&limits)), &place.snapshots, &one.known).unwrap();
    assert_eq!(revision(&two, "etl"), revision(&one, "etl"));
    assert_ne!(revision(&two, "other"), revision(&one, "other"));
    assert_eq!(super::findings(&two, "broken"), super::findings(&one, "broken"));
    let commit_of =
        |name: &str| entry(&two, name).runnable().unwrap().provenance.clone().unwrap().commit.clone();
    assert_eq!((commit_of("etl"), commit_of("other")), (second.clone(), second.clone()));
    let after = inodes(&place);
    assert!(before.iter().all(|(name, inode)| after.get(name) == Some(inode)));
    assert_eq!(after.len(), 3);
    // What is known is of no use once its snapshot is gone.
    place.snapshots.remove(&revision(&two, "etl")).unwrap();
    let failure = read(&repo, &second, (None, terms(&limits)), &place.snapshots, &two.known).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Corrupt);
}

/// The bytes of a folder's tree, without its object.
fn tree_of(place: &Place, item: &Item) -> Vec<u8> {
    let Item::Folder(entries) = item else { return Vec::new() };
    let mut bytes = Vec::new();
    for (name, item) in entries {
        let (mode, id) = match item {
            Item::Folder(_) => {
                let tree = tree_of(place, item);
                ("40000", place.git(&["hash-object", "-t", "tree", "--literally", "--stdin"], &tree))
            }
            item => place.write(item),
        };
        bytes.extend(super::tree_entry(mode, name, &id));
    }
    bytes
}

#[test]
fn a_renamed_script_is_another_pipeline_with_another_name_in_its_snapshot() {
    let place = Place::new();
    let limits = GitLimits::default();
    let first = place.read(&place.commit(&folder([
        ("one.py", file("print(1)\n")),
        ("a", good("")),
        ("b", good("")),
    ])));
    assert_eq!(revision(&first, "a"), revision(&first, "b"), "one content is one snapshot");
    assert_eq!(entry(&first, "b").runnable().unwrap().pipeline.name.as_str(), "b");
    let commit = place.commit(&folder([("two.py", file("print(1)\n")), ("a", good(""))]));
    let second =
        read(&place.open(), &commit, (None, terms(&limits)), &place.snapshots, &first.known).unwrap();
    assert_ne!(revision(&second, "two"), revision(&first, "one"));
    assert!(place.snapshots.path(&revision(&second, "two")).join("two.py").is_file());
    assert!(second.catalog.get(&"b".parse().unwrap()).is_none());
}

/// All files of a snapshot with their modes and contents, and all links with their targets.
fn content(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(path) = folders.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let bytes = if meta.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            all.insert(name, (meta.mode(), bytes));
        }
    }
    all
}

#[test]
fn a_snapshot_that_was_removed_is_made_again_from_its_commit() {
    let place = Place::new();
    let limits = GitLimits::default();
    let etl = folder([
        ("data", Item::Link("lib/data.bin")),
        ("lib", folder([("data.bin", Item::File((0..=255).cycle().take(100_000).collect()))])),
        ("main.py", file("print(1)\r\n")),
        ("run.sh", Item::Program(b"#!/bin/sh\n".to_vec())),
    ]);
    let tree = folder([("flows", folder([("etl", etl), ("single.py", file("print(2)\n"))]))]);
    let commit = place.commit(&tree);
    let read = place.try_read(&commit, Some("flows")).unwrap();
    let repo = place.open();
    for name in ["etl", "single"] {
        let found = entry(&read, name).runnable().unwrap();
        let provenance = found.provenance.clone().unwrap();
        let path = place.snapshots.path(&found.revision);
        let before = content(&path);
        assert!(!before.is_empty());
        place.snapshots.remove(&found.revision).unwrap();
        restore(&repo, &provenance, &found.revision, terms(&limits), &place.snapshots).unwrap();
        assert_eq!(content(&path), before);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o555);
    }
    let etl = entry(&read, "etl").runnable().unwrap();
    let snapshot = place.snapshots.path(&etl.revision);
    assert_eq!(fs::read_link(snapshot.join("data")).unwrap(), Path::new("lib/data.bin"));
    assert_eq!(fs::read(snapshot.join("main.py")).unwrap(), b"print(1)\r\n");
    for (name, mode) in [("main.py", 0o444), ("run.sh", 0o555), ("lib", 0o555)] {
        assert_eq!(fs::metadata(snapshot.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let provenance = Provenance::clone(etl.provenance.as_ref().unwrap());
    let refused = |provenance: &Provenance, revision| {
        restore(&repo, provenance, revision, terms(&limits), &place.snapshots).unwrap_err().kind()
    };
    let count = place.snapshots.revisions().unwrap().len();
    let other = "ab".repeat(32).parse().unwrap();
    assert_eq!(refused(&provenance, &other), ErrorKind::Corrupt);
    let elsewhere = Provenance { path: "flows/nowhere".into(), ..provenance.clone() };
    assert_eq!(refused(&elsewhere, &etl.revision), ErrorKind::Corrupt);
    let mut gone = provenance;
    gone.commit.id = "8a".repeat(20).parse().unwrap();
    assert_eq!(refused(&gone, &etl.revision), ErrorKind::NotFound);
    assert_eq!(place.snapshots.revisions().unwrap().len(), count);
    assert_eq!(place.snapshots.partials().unwrap().len(), 0);
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_one() {
    let place = Place::new();
    let commit = place.commit(&folder([("etl", good("print(1)\n"))]));
    let read = place.read(&commit);
    let left = place.snapshots.folder().join(".partial-1-0");
    fs::create_dir_all(left.join("sub")).unwrap();
    fs::write(left.join("sub/half"), "ha").unwrap();
    fs::set_permissions(left.join("sub"), fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(place.snapshots.clear_partials().unwrap(), 1);
    assert_eq!(place.snapshots.clear_partials().unwrap(), 0);
    assert!(place.snapshots.has(&revision(&read, "etl")));
}

/// A file of a random folder: its path, its content, and whether it may be executed.
fn any_file() -> impl Strategy<Value = (Vec<String>, String, bool)> {
    let name = "[a-c]{1,2}(\\.py|\\.txt|\\.pyc| x|é)?|__pycache__|main\\.py";
    (prop::collection::vec(name, 1..4), "[ab\r\n]{0,12}", any::<bool>())
}

#[test]
fn a_commit_and_a_folder_of_the_same_content_are_the_same_catalog() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let files = prop::collection::vec(any_file(), 0..12);
    let seen = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let compared = TestRunner::new(config).run(&files, |files| {
        let place = Place::new();
        let root = place.dir.path().join("work");
        fs::create_dir_all(root.join("etl")).unwrap();
        fs::write(root.join("etl/main.py"), "print(1)\n").unwrap();
        symlink("main.py", root.join("etl/link")).unwrap();
        symlink("etl", root.join("alias")).unwrap();
        for (path, text, executable) in &files {
            let path = path.iter().fold(root.clone(), |at, name| at.join(name));
            // A file may be where another one's folder should be.
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && fs::write(&path, text).is_ok() {
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        remove_empty(&root);
        let commit = place.commit_folder(&root);
        let git = place.read(&commit);
        let source = DirectorySource::new(&root, place.dir.path().join("other"));
        let directory = runtime.block_on(source.fetch(&SyncRequest::default())).unwrap().catalog;
        let shape = |catalog: &crate::source::Catalog| {
            let entries = catalog.entries.iter().map(|entry| {
                let revised = entry
                    .pipeline
                    .as_ref()
                    .map(|found| (found.revision.clone(), Arc::clone(&found.pipeline)));
                (entry.name.clone(), revised.map_err(Clone::clone))
            });
            (entries.collect::<Vec<_>>(), catalog.warnings.clone())
        };
        prop_assert_eq!(shape(&git.catalog), shape(&directory));
        seen.set(seen.get() + git.catalog.entries.iter().filter(|entry| entry.runnable().is_ok()).count());
        open_up(&place.dir.path().join("other"));
        Ok(())
    });
    compared.unwrap();
    assert!(seen.get() > 24, "more than the one pipeline that is always there was compared");
}

/// git knows no empty folders.
fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_symlink() && path.is_dir() {
            remove_empty(&path);
        }
    }
    let _ = fs::remove_dir(folder);
}

/// So that the temporary folder can be removed.
fn open_up(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        crate::source::snapshot::remove(&entry.unwrap().path()).unwrap();
    }
}
