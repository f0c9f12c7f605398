//! An engine that is frozen, gone, shut, or torn off in the middle of an answer.

use std::{collections::BTreeMap, time::Duration};

use fastflow_core::{
    Clock, Error, ErrorKind, SystemClock,
    executor::container::{ContainerEngine, ContainerId, ContainerSignal, ContainerSpec, ContainerUser},
};
use fastflow_docker::{DockerConfig, DockerEngine};
use nix::unistd::{Uid, getuid, setfsuid};

use crate::{
    kit::{Lines, config, engine, until, with_docker, within},
    stand_in::{StandIn, answer},
};

const LIMIT: Duration = Duration::from_millis(200);
const VERSION: &str = r#"{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}"#;

fn impatient(stand_in: &StandIn) -> DockerConfig {
    let mut config = config(&stand_in.socket());
    (config.call_timeout, config.change_timeout, config.pull_stall_timeout) = (LIMIT, LIMIT, LIMIT);
    config
}

/// What every call of the engine says.
async fn all_errors(engine: &DockerEngine) -> BTreeMap<&'static str, Error> {
    let id = ContainerId::new("some");
    let image = "127.0.0.1:1/some".parse().unwrap();
    let user = ContainerUser { uid: 1, gid: 1, keep_id: false };
    let spec = ContainerSpec::new("some", "some", vec!["/some".into()], user);
    let (signal, labels) = (ContainerSignal::Terminate, BTreeMap::new());
    let mut errors = BTreeMap::new();
    let mut add = |call, error: Option<Error>| {
        errors.insert(call, error.unwrap_or_else(|| panic!("{call} worked")));
    };
    add("info", engine.info().await.err());
    add("image", engine.image(&image).await.err());
    add("pull", engine.pull(&image, &Lines::default()).await.err());
    add("ensure_network", engine.ensure_network("some").await.err());
    add("create", engine.create(&spec).await.err());
    add("start", engine.start(&id).await.err());
    add("inspect", engine.inspect("some").await.err());
    add("signal", engine.signal(&id, signal).await.err());
    add("unpause", engine.unpause(&id).await.err());
    add("remove", engine.remove("some").await.err());
    add("list", engine.list(&labels).await.err());
    errors
}

async fn assert_unavailable(engine: &DockerEngine) {
    for (call, error) in within("all calls", all_errors(engine)).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error:?}");
    }
}

#[tokio::test]
async fn a_frozen_engine_is_unavailable_within_the_limit() {
    let frozen = StandIn::answering(|_| None);
    let engine = engine(&impatient(&frozen));
    let clock = SystemClock::new();
    assert_unavailable(&engine).await;
    let error = engine.wait(&ContainerId::new("some")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let elapsed = clock.elapsed();
    assert!(elapsed < LIMIT * 12 + Duration::from_secs(10), "{elapsed:?}");
}

#[tokio::test]
async fn an_engine_that_freezes_later_is_so_too() {
    let freezes = StandIn::answering(|line| line.contains("/version").then(|| answer(VERSION)));
    assert_unavailable(&engine(&impatient(&freezes))).await;
}

#[tokio::test]
async fn an_answer_that_is_torn_off_is_none() {
    for torn in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"",
        "nothing like HTTP\r\n\r\n",
    ] {
        let stand_in = StandIn::answering(move |line| {
            Some(if line.contains("/version") { answer(VERSION) } else { torn.to_owned() })
        });
        let engine = engine(&impatient(&stand_in));
        let id = ContainerId::new("some");
        let listed = engine.list(&BTreeMap::new()).await.unwrap_err();
        let looked = engine.inspect("some").await.unwrap_err();
        let waited = within("an end", engine.wait(&id)).await.unwrap_err();
        let pulled = engine.pull(&"some".parse().unwrap(), &Lines::default()).await.unwrap_err();
        for error in [listed, looked, waited, pulled] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{torn:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_that_ends_without_a_word_is_no_end() {
    let silent =
        StandIn::answering(|line| Some(answer(if line.contains("/version") { VERSION } else { "" })));
    let error = engine(&impatient(&silent)).wait(&ContainerId::new("some")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_wait_lasts_longer_than_any_limit() {
    with_docker(async |lab| {
        let mut config = config(&lab.socket);
        config.call_timeout = Duration::from_secs(1);
        let engine = engine(&config);
        let id = lab.started(&lab.spec("a", "sleep 2.5; exit 5")).await;
        within("the end", engine.wait(&id)).await.unwrap();
        assert_eq!(lab.state(&id).await.exit_code, Some(5));
    })
    .await;
}

#[tokio::test]
async fn an_engine_may_come_and_go() {
    with_docker(async |lab| {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("docker.sock");
        let engine = engine(&config(&link));
        assert_unavailable(&engine).await;
        std::os::unix::fs::symlink(&lab.socket, &link).unwrap();
        engine.list(&lab.labels()).await.unwrap();
        std::fs::remove_file(&link).unwrap();
        assert_unavailable(&engine).await;
        // Something is there, and nobody listens.
        drop(tokio::net::UnixListener::bind(&link).unwrap());
        assert_unavailable(&engine).await;
    })
    .await;
}

#[tokio::test]
async fn another_engine_behind_the_same_address_is_asked_for_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("docker.sock");
    let engine = engine(&config(&link));
    let [older, newer] = [("1.41", "1.12"), ("1.52", "1.44")].map(|(newest, oldest)| {
        let version = format!(r#"{{"ApiVersion": "{newest}", "MinAPIVersion": "{oldest}"}}"#);
        StandIn::answering(move |line| Some(answer(if line.contains("/version") { &version } else { "[]" })))
    });
    std::os::unix::fs::symlink(older.socket(), &link).unwrap();
    engine.list(&BTreeMap::new()).await.unwrap();
    std::fs::remove_file(&link).unwrap();
    engine.list(&BTreeMap::new()).await.unwrap_err();
    std::os::unix::fs::symlink(newer.socket(), &link).unwrap();
    engine.list(&BTreeMap::new()).await.unwrap();
    assert!(newer.requests()[1].contains("/v1.44/"), "{:?}", newer.requests());
}

#[tokio::test]
async fn a_socket_that_is_not_ours_is_denied() {
    if !getuid().is_root() {
        return fastflow_core::testing::tool::require("docker/denied", "only root can be somebody else");
    }
    let stand_in = StandIn::answering(|_| Some(answer(VERSION)));
    let path = stand_in.socket();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = impatient(&stand_in);
    // Only this thread becomes somebody else, for files alone; a runtime of one thread connects on it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let errors = std::thread::spawn(move || {
        setfsuid(Uid::from_raw(65_534));
        runtime.block_on(all_errors(&engine(&config)))
    });
    until("the calls to end", async || errors.is_finished()).await;
    for (call, error) in errors.join().unwrap() {
        assert_eq!(error.kind(), ErrorKind::Denied, "{call}: {error:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_connection() {
    let frozen = StandIn::answering(|_| None);
    let engine = engine(&config(&frozen.socket()));
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..50 {
        let clock = SystemClock::new();
        tokio::select! {
            _ = engine.info() => panic!("a frozen engine answered"),
            () = clock.sleep(Duration::from_millis(5)) => {}
        }
    }
    drop(frozen);
    until("all connections to be closed", async || open() <= before).await;
}
