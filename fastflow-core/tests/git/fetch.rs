//! What is fetched, and what not.

use std::sync::Arc;

use fastflow_core::{
    source::{Distance, GitReference, SyncFailureKind},
    testing::git::{DaemonServer, HttpServer, Repository},
};

use super::{Desk, fetch, fetch_branch, repository};

#[test]
fn what_the_server_has_comes_once_and_what_is_new_after_that() {
    let Some((repository, first)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    let mirror = desk.mirror();
    let arrived = fetch(&mirror).unwrap();
    assert_eq!(arrived.commit.id.as_str(), first);
    assert_eq!(
        (arrived.commit.author.as_str(), arrived.commit.subject.as_str()),
        (Repository::AUTHOR, "Add etl")
    );
    assert_eq!(arrived.commit.branch(), Some("main"));
    assert!(arrived.bytes > 0);

    // Nothing new: it is asked what there is, and nothing else.
    let before = server.received().len();
    assert_eq!(fetch(&mirror).unwrap().commit, arrived.commit);
    let asked: Vec<_> = server.received()[before..].to_vec();
    assert_eq!(asked.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(), ["GET", "POST"]);
    assert!(String::from_utf8_lossy(&asked[1].body).contains("ls-refs"));
    assert_eq!(desk.packs().len(), 1);

    repository.write("etl/main.py", "print(2)\n");
    repository.commit("Change etl");
    repository.write("etl/main.py", "print(3)\n");
    let third = repository.commit("Change it again");
    let next = fetch(&mirror).unwrap().commit;
    assert_eq!(next.id.as_str(), third);
    let distance = mirror.distance(&arrived.commit.id, &next.id).unwrap();
    assert_eq!(distance, Some(Distance { ahead: 0, behind: 2 }));
    assert_eq!(desk.packs().len(), 2);
}

#[test]
fn only_the_end_of_a_history_comes() {
    let Some((repository, _)) = repository() else { return };
    for number in 0..20 {
        repository.write("etl/data", format!("{number}").repeat(1000));
        repository.commit("Another one");
    }
    let first = repository.id("HEAD~10");
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let mirror = desk.mirror();
    fetch(&mirror).unwrap();
    let missing = mirror.commit(&first.parse().unwrap(), "refs/heads/main").unwrap_err();
    assert_eq!(missing.kind(), fastflow_core::ErrorKind::NotFound);
}

#[test]
fn a_history_that_was_rewritten_replaces_the_old_one() {
    let Some((repository, first)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    let mirror = desk.mirror();
    fetch(&mirror).unwrap();
    repository.write("etl/main.py", "print(2)\n");
    repository.commit("Change etl");
    let published = fetch(&mirror).unwrap().commit;

    repository.reset(&first);
    repository.write("etl/main.py", "print(3)\n");
    let rewritten = repository.commit("Change it otherwise");
    let arrived = fetch(&mirror).unwrap().commit;
    assert_eq!(arrived.id.as_str(), rewritten);
    let distance = mirror.distance(&published.id, &arrived.id).unwrap();
    assert_eq!(distance, Some(Distance { ahead: 1, behind: 1 }));
    // What was published can still be read.
    assert_eq!(mirror.commit(&published.id, "refs/heads/main").unwrap(), published);

    // The same with one that has nothing in common with it.
    repository.git(&["checkout", "--quiet", "--orphan", "other"]);
    repository.commit("Begin anew");
    repository.git(&["branch", "--force", "main", "other"]);
    let arrived = fetch_branch(&mirror, "main").unwrap().commit;
    assert_eq!(arrived.subject, "Begin anew");
    assert_eq!(mirror.distance(&published.id, &arrived.id).unwrap(), None);
}

#[test]
fn another_branch_or_tag_can_be_asked_for() {
    let Some((repository, first)) = repository() else { return };
    repository.tag("v1");
    repository.branch("release");
    repository.write("etl/main.py", "print(2)\n");
    let second = repository.commit("Release it");
    repository.branch("release-2");
    repository.git(&["update-ref", "refs/heads/deep/one", "HEAD"]);
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    let mirror = desk.mirror();
    for (branch, commit) in [("main", &first), ("release", &second), ("deep/one", &second), ("main", &first)]
    {
        let arrived = fetch_branch(&mirror, branch).unwrap().commit;
        assert_eq!((arrived.id.as_str(), arrived.branch()), (commit.as_str(), Some(branch)));
    }
    // Where a folder of branches becomes a branch.
    let before = desk.identity();
    repository.git(&["update-ref", "-d", "refs/heads/deep/one"]);
    repository.git(&["update-ref", "refs/heads/deep", "HEAD"]);
    assert_eq!(fetch_branch(&mirror, "deep").unwrap().commit.id.as_str(), second);

    assert_eq!(desk.identity(), before);

    let tagged = mirror.fetch(&GitReference::Tag("v1".into()), &Arc::default()).unwrap().commit;
    assert_eq!((tagged.id.as_str(), tagged.reference.as_str()), (first.as_str(), "refs/tags/v1"));
    assert_eq!(tagged.branch(), None);
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let Some((repository, _)) = repository() else { return };
    let http = HttpServer::start(repository.root());
    let daemon = DaemonServer::start(repository.root());
    for desk in [Desk::of_http(&http), Desk::of_daemon(&daemon)] {
        let missing = fetch_branch(&desk.mirror(), "nowhere").unwrap_err();
        assert_eq!(missing.kind, SyncFailureKind::Missing, "{missing}");
        assert!(missing.message.contains("branch nowhere"), "{missing}");
        let mut elsewhere = desk;
        elsewhere.config.remote = elsewhere.config.remote.replace(Repository::NAME, "other.git");
        let missing = fetch(&elsewhere.mirror()).unwrap_err();
        assert_eq!(missing.kind, SyncFailureKind::Missing, "{missing}");
    }
    let impossible = fetch_branch(&Desk::of_http(&http).mirror(), "a..b").unwrap_err();
    assert_eq!(impossible.kind, SyncFailureKind::Refused, "{impossible}");
}

#[test]
fn a_repository_without_a_commit_has_nothing_to_publish_yet() {
    if repository().is_none() {
        return;
    }
    let repository = Repository::new();
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    let mirror = desk.mirror();
    let missing = fetch(&mirror).unwrap_err();
    assert_eq!(missing.kind, SyncFailureKind::Missing, "{missing}");
    let commit = repository.commit("Begin");
    assert_eq!(fetch(&mirror).unwrap().commit.id.as_str(), commit);
}

#[test]
fn a_look_says_what_there_is_and_fetches_nothing() {
    let Some((repository, commit)) = repository() else { return };
    repository.branch("release");
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    let probe = desk.mirror().probe(&GitReference::Branch("main".into()), &Arc::default()).unwrap();
    assert_eq!(probe.commit.unwrap().as_str(), commit);
    assert_eq!(probe.branches, ["main", "release"]);
    assert_eq!(probe.host_key, None);
    assert!(!desk.path().join("repository").exists());
    assert!(
        !server.received().iter().any(|request| String::from_utf8_lossy(&request.body).contains("fetch"))
    );
}
