//! What is left in file systems that are in memory, where secrets lie as long as programs need them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{forms::Forms, search};

/// What is left there of these runs: a value in a file, or a path that has a run in its name.
pub(super) fn left(stage: &Path, forms: &Forms, runs: &BTreeSet<String>) -> Vec<String> {
    let mut left = Vec::new();
    for root in in_memory() {
        for found in search::search(&root, stage, forms) {
            left.push(format!("{} has {} as {}", found.path.display(), found.sight.value, found.sight.form));
        }
        left.extend(named(&root, stage, runs));
    }
    left
}

/// The folders at which such file systems are mounted.
fn in_memory() -> BTreeSet<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (folder, kind) = (words.next()?, words.next()?);
        matches!(kind, "tmpfs" | "ramfs").then(|| PathBuf::from(folder))
    });
    mounted.collect()
}

/// Files and folders with the name of a run.
fn named(root: &Path, stage: &Path, runs: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if runs.iter().any(|run| name.contains(run)) {
                found.push(format!("{} is left", path.display()));
            } else if path != stage && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    found
}
