//! Syncs that fail: nothing changes, and it is said why.

use std::{fs, time::Duration};

use fastflow_core::{
    Clock as _, ErrorKind, Orchestrator, Shutdown, SystemClock,
    run::Status,
    source::{DeployKey, GitAccess, GitConfig, SourceEvent, SyncFailureKind, SyncRequest},
    testing::{
        git::{Fault, Proxy, SshServer},
        tool,
    },
};
use futures::StreamExt as _;

use crate::{
    kit::{configured, run, started, started_after, within},
    place::{Place, TOKEN, changes, config, sync},
};

/// What a sync that must fail says, by the log.
async fn fails(flow: &Orchestrator) -> (ErrorKind, SyncFailureKind, String) {
    let error = flow.source().sync(SyncRequest::default()).await.unwrap_err();
    let status = flow.source().status().await.unwrap();
    assert!(!status.is_well());
    let (_, failure) = status.last_failure.unwrap();
    assert!(error.chain().contains(&failure.message), "{error:?}");
    (error.kind(), failure.kind, failure.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_changes_nothing_and_a_host_starts_without_the_server() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print(1)");
    place
        .repository
        .write("etl/pipeline.json", r#"{"downstream_triggers": [], "schedule_cron": "0 3 * * *"}"#);
    let shown = place.repository.commit("One");
    let flow = place.start().await;
    place.repository.write("etl/main.py", "print(2)");
    let pushed = place.repository.commit("Two");

    place.token("ghs_thisOneIsNotRightAtAll");
    let (kind, failure, words) = fails(&flow).await;
    assert_eq!((kind, failure), (ErrorKind::Denied, SyncFailureKind::Authentication));
    assert!(!words.contains("ghs_"), "{words}");
    fs::remove_file(place.root().join("token")).unwrap();
    let (_, failure, words) = fails(&flow).await;
    assert_eq!(failure, SyncFailureKind::Authentication, "{words}");
    place.token(TOKEN);
    place.server.answer_with(503);
    let (kind, failure, _) = fails(&flow).await;
    assert_eq!((kind, failure), (ErrorKind::Unavailable, SyncFailureKind::Unreachable));
    let status = flow.source().status().await.unwrap();
    assert_eq!((status.commit.unwrap().id.as_str(), status.pipelines), (&*shown, 1));
    assert_eq!(run(&flow, "etl").await.status(), Status::Success);
    flow.shutdown(Shutdown::Detach).await.unwrap();
    drop(flow);

    // The next host finds the server as it is, and shows what was shown.
    let flow = started_after(|| place.builder()).await;
    let old = run(&flow, "etl").await;
    assert_eq!(old.spec.provenance.as_ref().unwrap().commit.id.as_str(), shown);
    assert_eq!(flow.schedules().list().await.unwrap().len(), 1);
    assert!(!flow.source().status().await.unwrap().is_well());
    place.server.serve();
    place.token(TOKEN);
    let record = sync(&flow).await;
    assert_eq!((changes(&record).len(), record.commit.unwrap().id.as_str()), (1, &*pushed));
    assert!(flow.source().status().await.unwrap().is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_nothing_to_show_does_not_start() {
    let Some(place) = Place::new() else { return };
    let flow = place.builder().build().await.unwrap();
    let error = flow.start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "the repository is empty: {error:?}");
    assert!(flow.pipelines().list().await.is_err());
    place.repository.write("etl/main.py", "print(1)");
    place.repository.commit("One");
    flow.start().await.unwrap();
    assert_eq!(run(&flow, "etl").await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_changes_is_taken_and_none_is_left_anywhere() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print(1)");
    place.repository.commit("One");
    let flow = place.start().await;
    for number in 0..3 {
        let token = format!("ghs_rotated{number}AndQuiteLong");
        place.server.require_token(&token);
        fails(&flow).await;
        place.token(&token);
        place.repository.write("etl/main.py", format!("print({number})"));
        let commit = place.repository.commit("Again");
        assert_eq!(sync(&flow).await.commit.unwrap().id.as_str(), commit);
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let mut files = Vec::new();
    let mut folders = vec![place.data()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    assert!(files.len() > 10);
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for word in ["ghs_", "Basic "] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word:?} is in {}", file.display());
        }
    }
}

/// A deploy key, and a server whose key changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_key_is_not_believed_until_somebody_says_so() {
    let Some(place) = Place::new() else { return };
    if tool::sshd().is_none() {
        tool::require("ssh", "openssh-server is not installed");
        return;
    }
    place.repository.write("etl/main.py", "print(1)");
    place.repository.commit("One");
    let server = SshServer::start();
    let key = DeployKey::ensure(place.root().join("keys/id_ed25519")).unwrap();
    server.allow(&key.public().unwrap());
    let mut config = GitConfig::new(server.url(&place.repository.path()));
    config.access = GitAccess::DeployKey(key);
    let flow = started(configured(Orchestrator::builder(place.data()).git(config))).await;
    assert_eq!(run(&flow, "etl").await.status(), Status::Success);
    let trusted = flow.source().probe().await.unwrap().host_key.unwrap();
    assert!(trusted.starts_with("SHA256:"));

    server.change_host_key();
    place.repository.write("etl/main.py", "print(2)");
    let pushed = place.repository.commit("Two");
    let (kind, failure, words) = fails(&flow).await;
    assert_eq!((kind, failure), (ErrorKind::Denied, SyncFailureKind::HostKey), "{words}");
    assert!(words.contains(&trusted), "{words}");
    assert_eq!(flow.source().forget_host_key().await.unwrap(), Some(trusted.clone()));
    assert_eq!(sync(&flow).await.commit.unwrap().id.as_str(), pushed);
    assert_ne!(flow.source().probe().await.unwrap().host_key.unwrap(), trusted);
}

/// A server that says nothing keeps nobody: not the shutdown, and not the next host.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_a_server() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print(1)");
    place.repository.commit("One");
    let proxy = Proxy::start(place.server.address());
    let mut config = config(place.root());
    config.remote = proxy.url_of(&config.remote);
    let builder = || configured(Orchestrator::builder(place.data()).git(config.clone()));
    let flow = started(builder()).await;
    proxy.set(Fault::StallAfter(0));
    let mut events = flow.source().events();
    let syncing = tokio::spawn({
        let flow = flow.clone();
        async move { flow.source().sync(SyncRequest::default()).await }
    });
    let begun = async { while !matches!(events.next().await, Some(SourceEvent::SyncStarted { .. })) {} };
    within("a sync to begin", begun).await;
    let clock = SystemClock::new();
    let before = clock.elapsed();
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let error = within("the call to end", syncing).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        clock.elapsed().saturating_sub(before) < Duration::from_secs(20),
        "the server's silence is a minute long"
    );
    refused_after(&flow).await;
    proxy.set(Fault::None);
    drop(flow);
    let flow = started_after(builder).await;
    assert_eq!(run(&flow, "etl").await.status(), Status::Success);
}

async fn refused_after(flow: &Orchestrator) {
    let error = flow.source().sync(SyncRequest::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
