//! Engines that do not answer, cannot be reached, or break off.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use fastflow_core::{
    Clock, Error, ErrorKind, Result, SystemClock,
    executor::container::{ContainerEngine, ContainerId, ContainerNetwork, ContainerSignal, ContainerSpec},
};
use fastflow_podman::PodmanEngine;
use tokio::net::UnixListener;

use crate::{
    lab::{Lab, USER, engine, until, within},
    relay::Relay,
};

const LIMIT: Duration = Duration::from_millis(300);

/// What every call of an engine says.
async fn all(engine: &PodmanEngine) -> Vec<(&'static str, Result<(), Error>)> {
    let id = ContainerId::new("x");
    let image = "localhost/x:1".parse().unwrap();
    let spec = ContainerSpec::new("x", "x", vec!["/x".into()], USER);
    let mut networked = spec.clone();
    networked.network = ContainerNetwork::Named("x".into());
    let log = crate::pull::Said::default();
    vec![
        ("info", engine.info().await.map(drop)),
        ("image", engine.image(&image).await.map(drop)),
        ("pull", engine.pull(&image, &log).await),
        ("ensure_network", engine.ensure_network("x").await.map(drop)),
        ("create", engine.create(&spec).await.map(drop)),
        ("create with a network", engine.create(&networked).await.map(drop)),
        ("start", engine.start(&id).await),
        ("inspect", engine.inspect("x").await.map(drop)),
        ("wait", engine.wait(&id).await),
        ("signal", engine.signal(&id, ContainerSignal::Kill).await.map(drop)),
        ("unpause", engine.unpause(&id).await),
        ("remove", engine.remove("x").await),
        ("list", engine.list(&std::collections::BTreeMap::default()).await.map(drop)),
    ]
}

fn assert_all(results: &[(&'static str, Result<(), Error>)], kind: ErrorKind) {
    for (call, result) in results {
        assert_eq!(result.as_ref().map_err(Error::kind), Err(kind), "{call}: {result:?}");
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_unavailable_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let engine = engine(&socket, |config| {
        (config.call_timeout, config.change_timeout, config.pull_stall_timeout) = (LIMIT, LIMIT, LIMIT);
    });
    let clock = SystemClock::new();
    let results = all(&engine).await;
    let calls = u32::try_from(results.len()).unwrap();
    assert_all(&results, ErrorKind::Unavailable);
    assert!(clock.elapsed() < LIMIT * calls * 3, "{:?}", clock.elapsed());
    silent.abort();
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    assert_all(&all(&engine(&socket, |_| {})).await, ErrorKind::Unavailable);
    // A socket that nobody listens on any more.
    drop(UnixListener::bind(&socket).unwrap());
    assert_all(&all(&engine(&socket, |_| {})).await, ErrorKind::Unavailable);
}

/// On a thread of its own, which it makes an ordinary user's: root may talk to everybody.
#[test]
fn an_engine_that_this_user_may_not_talk_to_denies() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let results = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(10_001)).unwrap();
        } else {
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { all(&engine(&socket, |_| {})).await })
    });
    assert_all(&results.join().unwrap(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_no_end_of_a_container() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab.engine.create(&lab.spec("relayed", "echo ready > /out/ready; sleep 100")).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("ready").await;
    let relay = Relay::new(&lab.socket, u64::MAX);
    let far = engine(&relay.socket(), |_| {});
    let waiting = tokio::spawn(async move { far.wait(&id).await });
    // The one that waits is the one that stays.
    until("the engine is asked to wait", async || (relay.open() == 1).then_some(())).await;
    let clock = SystemClock::new();
    while clock.elapsed() < LIMIT {
        assert!(!waiting.is_finished());
        lab.engine.inspect(&lab.name("relayed")).await.unwrap();
    }
    relay.cut();
    let error = within(Duration::from_secs(5), waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn giving_up_a_wait_closes_its_connection() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab.engine.create(&lab.spec("given-up", "echo ready > /out/ready; sleep 100")).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("ready").await;
    let relay = Relay::new(&lab.socket, u64::MAX);
    let far = engine(&relay.socket(), |_| {});
    {
        let (wait, clock) = (far.wait(&id), SystemClock::new());
        tokio::pin!(wait);
        tokio::select! {
            ended = &mut wait => panic!("{ended:?}"),
            () = clock.sleep(LIMIT) => {}
        }
        assert_eq!(relay.open(), 1);
    }
    until("the connection is closed", async || (relay.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab.engine.create(&lab.spec("cut", "true")).await.unwrap();
    // Within the head, right behind it, and within the body.
    for answer_bytes in [0, 20, 250, 400] {
        let relay = Relay::new(&lab.socket, answer_bytes);
        let far = engine(&relay.socket(), |_| {});
        for (call, kind) in [
            ("list", far.list(&lab.labels()).await.unwrap_err().kind()),
            ("inspect", far.inspect(id.as_str()).await.unwrap_err().kind()),
            ("image", far.image(&lab.image.parse().unwrap()).await.unwrap_err().kind()),
            ("info", far.info().await.unwrap_err().kind()),
        ] {
            assert_eq!(kind, ErrorKind::Unavailable, "{call} after {answer_bytes} bytes");
        }
    }
}
