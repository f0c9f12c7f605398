//! A mirror after many commits: it holds all of them, and costs no more than after one.

use std::{fs, path::Path};

use fastflow_core::{
    source::Distance,
    testing::git::{DaemonServer, Repository},
};

use super::{Desk, fetch, repository};

/// So many that their packs are joined twice.
const COMMITS: u32 = 120;
/// What may lie beside each other.
const MAX_PACKS: usize = 52;

fn push(repository: &Repository, number: u32) -> String {
    repository.write("etl/main.py", format!("print({number})\n"));
    repository.write(&format!("etl/data/{}", number % 7), format!("{number}\n").repeat(300));
    repository.commit("Change etl")
}

/// Files below a folder.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn a_mirror_grows_neither_references_nor_packs_with_each_commit() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let mirror = desk.mirror();
    let mut all = vec![fetch(&mirror).unwrap().commit];
    let mut most = 0;
    for number in 0..COMMITS {
        let pushed = push(&repository, number);
        let arrived = fetch(&mirror).unwrap().commit;
        assert_eq!(arrived.id.as_str(), pushed);
        all.push(arrived);
        most = most.max(desk.packs().len());
    }
    assert!((MAX_PACKS / 2..=MAX_PACKS).contains(&most), "{most} packs");
    // What a fetch walks: the one branch that is followed.
    assert_eq!(files(&desk.path().join("repository/refs")), 1);
    assert!(!desk.path().join("repository/packed-refs").exists());
    for commit in &all {
        assert_eq!(mirror.commit(&commit.id, "refs/heads/main").unwrap(), *commit);
    }
    let distance = mirror.distance(&all[0].id, &all[all.len() - 1].id).unwrap();
    assert_eq!(distance, Some(Distance { ahead: 0, behind: COMMITS }));
    // Git itself reads all of it, and finds nothing wrong.
    let inside = desk.path().join("repository");
    repository.git(&["--git-dir", inside.to_str().unwrap(), "fsck", "--full", "--strict", "--no-dangling"]);
}
