//! Whoever reads, and whoever replaces what is read.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::{Mirror, read};
use crate::{
    SystemClock,
    source::{GitConfig, GitReference, InsecureScheme},
    testing::{git::Repository, tool},
};

/// How long nothing may happen. What is wrong happens at once.
const QUIET: Duration = Duration::from_millis(500);

#[test]
fn a_repository_is_not_replaced_while_somebody_reads_in_it() {
    if tool::git().is_none() {
        tool::require("git", "git is not installed");
        return;
    }
    let repository = Repository::new();
    repository.write("etl/main.py", "print(1)\n");
    repository.commit("Add etl");
    let mut config = GitConfig::new(repository.path().to_string_lossy());
    config.insecure_schemes = vec![InsecureScheme::File];
    let folder = tempfile::tempdir().unwrap();
    let mirror = Mirror::new(folder.path(), config, Arc::new(SystemClock::new())).unwrap();
    let fetched = mirror.fetch(&GitReference::Head, &Arc::default()).unwrap();
    let identity = || fs::metadata(mirror.place.repository()).unwrap().ino();

    let (before, opened) = (identity(), mirror.opened().unwrap());
    thread::scope(|scope| {
        let (tell, told) = mpsc::sync_channel(1);
        let mirror = &mirror;
        scope.spawn(move || {
            let anew = mirror.renew(&GitReference::Head, &mirror.watch(&Arc::default()));
            tell.send(anew).unwrap();
        });
        assert!(told.recv_timeout(QUIET).is_err(), "it was replaced");
        let id = super::object(&fetched.commit.id).unwrap();
        assert!(read::is_whole(&opened.repository, id).unwrap());
        assert_eq!(identity(), before);
        drop(opened);
        assert_eq!(told.recv().unwrap().unwrap().commit, fetched.commit);
    });
    assert_ne!(identity(), before);
}
