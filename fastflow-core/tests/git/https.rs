//! Who is believed over https, and where nobody is followed to.

use fastflow_core::{
    source::{GitAccess, SyncFailureKind, Token},
    testing::git::HttpServer,
};

use super::{Desk, fetch, repository};

#[test]
fn a_server_is_believed_only_with_a_certificate_of_somebody_trusted() {
    let Some((repository, _)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let other = HttpServer::start(repository.root());
    let mut desk = Desk::of_http(&server);
    fetch(&desk.mirror()).unwrap();
    for authority in [None, Some(other.authority())] {
        desk.config.ca_certificates = authority;
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::HostKey, "{failure}");
    }
    desk.config.ca_certificates = Some(repository.work().join("etl/main.py"));
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Refused, "{failure}");
}

#[test]
fn nobody_is_followed_to_another_server() {
    let Some((repository, _)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let other = HttpServer::start(repository.root());
    let mut desk = Desk::of_http(&server);
    desk.config.access = GitAccess::token(Token::new("s3cret"));
    server.require_token("s3cret");
    let to = |url: String| url.trim_end_matches(".git").to_owned() + ".git";
    for target in [
        to(other.url("pipelines.git")),
        "http://127.0.0.1:1/pipelines.git".into(),
        "file:///etc/x.git".into(),
    ] {
        server.redirect_to(&target);
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::Refused, "{failure}");
    }
    assert_eq!(other.received(), []);
}

#[test]
fn a_repository_that_has_moved_on_the_same_server_is_found() {
    let Some((repository, commit)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let mut desk = Desk::of_http(&server);
    desk.config.access = GitAccess::token(Token::new("s3cret"));
    server.require_token("s3cret");
    desk.config.remote = server.url("moved.git");
    server.redirect_from("/moved.git", &server.url("pipelines.git"));
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);
    // Round in a circle.
    desk.config.remote = server.url("pipelines.git");
    server.redirect_from("/pipelines.git", &server.url("pipelines.git"));
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Refused, "{failure}");
}

#[test]
fn a_status_says_what_kind_of_failure_it_is() {
    let Some((repository, _)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    for (status, kind) in [
        (401, SyncFailureKind::Authentication),
        (403, SyncFailureKind::Authentication),
        (404, SyncFailureKind::Missing),
        (429, SyncFailureKind::Unreachable),
        (502, SyncFailureKind::Unreachable),
        (418, SyncFailureKind::Refused),
    ] {
        server.answer_with(status);
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(&status.to_string()), "{failure}");
    }
}

#[test]
fn an_answer_that_is_not_of_git_is_refused() {
    let Some((repository, _)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    server.answer_with(200);
    let failure = fetch(&Desk::of_http(&server).mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Refused, "{failure}");
}
