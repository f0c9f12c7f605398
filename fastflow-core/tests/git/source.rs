//! Sources that follow each other on the same folders, and repositories that do.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use fastflow_core::{
    ErrorKind, SystemClock,
    source::{
        Catalog, DeployKey, Fetched, GitAccess, GitReference, GitSource, PipelineSource, SyncFailureKind,
        SyncRequest,
    },
    testing::git::{DaemonServer, Repository},
};

use super::{Desk, repository};

/// What the one that is shut down has to do.
const PIPELINES: usize = 300;

impl Desk {
    pub(super) fn source(&self) -> GitSource {
        let clock = Arc::new(SystemClock::new());
        GitSource::new(self.config.clone(), self.path(), self.snapshots(), clock).unwrap()
    }

    fn snapshots(&self) -> PathBuf {
        self.folder.path().join("snapshots")
    }

    /// Finished ones, and how many there are of any kind.
    fn shelf(&self) -> (usize, usize) {
        let Ok(entries) = fs::read_dir(self.snapshots()) else { return (0, 0) };
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        (names.iter().filter(|name| name.len() == 64).count(), names.len())
    }

    fn lock(&self) -> File {
        fs::create_dir_all(self.path()).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path().join("lock"))
            .unwrap()
    }
}

pub(super) async fn published(source: &GitSource) -> Fetched {
    let fetched = source.fetch(&SyncRequest::default()).await.unwrap();
    source.publish(&fetched).await;
    fetched
}

fn names(catalog: &Catalog) -> Vec<String> {
    catalog.entries.iter().map(|entry| entry.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_ends_and_the_next_source_finds_nothing_half_done() {
    let Some((repository, _)) = repository() else { return };
    for number in 0..PIPELINES {
        repository.write(&format!("p{number}/main.py"), format!("print({number})\n"));
        repository.write(&format!("p{number}/data"), format!("{number}").repeat(200_000));
    }
    repository.commit("Add many");
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let first = Arc::new(desk.source());
    let fetching = tokio::spawn({
        let source = Arc::clone(&first);
        async move { source.fetch(&SyncRequest::default()).await }
    });
    while desk.shelf().1 < 10 {
        tokio::task::yield_now().await;
    }
    fetching.abort();
    assert!(fetching.await.unwrap_err().is_cancelled());
    // The folder is held as long as anything of it is changed.
    tokio::task::spawn_blocking({
        let lock = desk.lock();
        move || lock.lock().unwrap()
    })
    .await
    .unwrap();
    assert_eq!(desk.shelf(), (0, 0));

    let next = desk.source();
    let fetched = published(&next).await;
    assert_eq!(fetched.catalog.entries.len(), PIPELINES + 1);
    assert_eq!(desk.shelf(), (PIPELINES + 1, PIPELINES + 1));
    // The first one is not in its way, and could go on.
    published(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_another_source_has_is_waited_for_but_not_for_ever() {
    let Some((repository, commit)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let source = desk.source();
    let other = desk.lock();
    other.lock().unwrap();
    let failure = source.fetch(&SyncRequest::default()).await.unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{failure}");
    assert!(failure.message.contains("another source"), "{failure}");
    assert!(!desk.path().join("repository").exists());
    drop(other);
    assert_eq!(published(&source).await.catalog.commit.unwrap().id.as_str(), commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_of_another_repository_is_not_shown() {
    let Some((repository, _)) = repository() else { return };
    repository.write("flows/inner/main.py", "print(1)\n");
    repository.commit("Add flows");
    let other = Repository::new();
    other.write("stranger/main.py", "print(2)\n");
    other.commit("Begin");
    let (server, servers) = (DaemonServer::start(repository.root()), DaemonServer::start(other.root()));
    let mut desk = Desk::of_daemon(&server);
    let shown = published(&desk.source()).await.catalog.commit.unwrap();
    let again = desk.source();
    again.restore(&shown).await.unwrap();
    assert_eq!(names(&again.catalog().await.unwrap()), ["etl"]);

    desk.config.subdirectory = Some("flows".to_owned());
    let error = desk.source().restore(&shown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let before = desk.identity();
    let source = desk.source();
    assert_eq!(names(&published(&source).await.catalog), ["inner"]);
    assert_eq!(desk.identity(), before, "it is the same repository");
    desk.source().restore(&shown).await.unwrap();

    let here = std::mem::replace(&mut desk.config.remote, servers.url(Repository::NAME));
    desk.config.subdirectory = None;
    let source = desk.source();
    let error = source.restore(&shown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(source.catalog().await.is_err());
    let arrived = published(&source).await.catalog;
    assert_eq!(names(&arrived), ["stranger"]);
    // No object of the other one is here any more.
    let gone = desk.mirror().commit(&shown.id, "refs/heads/main").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(!desk.path().join("old").exists() && !desk.path().join("fresh").exists());
    desk.source().restore(&arrived.commit.unwrap()).await.unwrap();
    desk.config.remote = here;
    let error = desk.source().restore(&shown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_whose_files_are_gone_is_not_found() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let source = desk.source();
    published(&source).await;
    let packs = desk.packs();
    // A commit with folders of its own, and with files that came before.
    repository.git(&["mv", "etl", "other"]);
    repository.commit("Rename etl");
    let found = published(&source).await.catalog.entries[0].runnable().unwrap().clone();
    for pack in packs {
        fs::remove_file(pack.with_extension("idx")).unwrap();
        fs::remove_file(pack).unwrap();
    }
    let provenance = found.provenance.as_deref();
    source.checkout(&found.revision, provenance).await.unwrap();
    fs::rename(desk.snapshots().join(found.revision.as_str()), desk.folder.path().join("aside")).unwrap();
    let error = source.checkout(&found.revision, provenance).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[test]
fn the_origin_of_a_repository_names_what_is_published_and_nobody_who_asks() {
    let mut desk = Desk::new("ssh://git@git.example.org:2222/team/a.git");
    desk.config.access = GitAccess::DeployKey(DeployKey::ensure(desk.folder.path().join("keys/id")).unwrap());
    assert_eq!(desk.source().origin().unwrap(), "ssh://git.example.org:2222/team/a.git, the default branch");
    desk.config.remote = "someone@git.example.org:team/a.git".into();
    desk.config.reference = GitReference::Branch("live".into());
    desk.config.subdirectory = Some("/jobs//nightly/".into());
    assert_eq!(
        desk.source().origin().unwrap(),
        "ssh://git.example.org/team/a.git, branch live, folder jobs/nightly"
    );
}
