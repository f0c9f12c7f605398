//! The life of containers, with what Podman makes of it.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use fastflow_core::{
    ErrorKind, SystemClock,
    executor::container::{
        Access, ContainerEngine, ContainerId, ContainerSignal, ContainerSpec, ContainerState,
        ContainerStatus, ContainerUser, Mount,
    },
};

use fastflow_podman::{PodmanConfig, PodmanEngine};
use futures::future;

use crate::{
    lab::{Lab, USER, within},
    relay,
};

const AT_ONCE: Duration = Duration::from_secs(5);
/// Says that it is ready, and ends with 7 when it is told to.
const OBEDIENT: &str = "trap 'exit 7' TERM; echo ready > /out/ready; while :; do sleep 0.02; done";

/// Those of a container's labels that were asked for. It has its image's as well.
fn own_labels(spec: &ContainerSpec, state: &ContainerState) -> BTreeMap<String, String> {
    let labels = state.labels.iter().filter(|(key, _)| spec.labels.contains_key(*key));
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[tokio::test]
async fn the_engine_says_who_it_is() {
    let Some(lab) = Lab::new().await else { return };
    let info = lab.engine.info().await.unwrap();
    assert!(info.version.starts_with(|c: char| c.is_ascii_digit()), "{info:?}");
    assert!(info.id.starts_with('/') && info.seccomp, "{info:?}");
    let as_podman_says = lab.ask("GET", "/info");
    assert_eq!(info.rootless, as_podman_says.contains(r#""rootless":true"#));
    assert_eq!(info.keeps_user, info.rootless);
    assert_eq!(lab.engine.kind(), "podman");
}

#[tokio::test]
async fn an_engine_is_reached_over_tcp() {
    let Some(lab) = Lab::new().await else { return };
    let mut config = PodmanConfig::default();
    config.host = Some(format!("tcp://localhost:{}", relay::tcp(&lab.socket).await).parse().unwrap());
    let engine = PodmanEngine::new(config, Arc::new(SystemClock::new())).unwrap();
    assert_eq!(engine.info().await.unwrap(), lab.engine.info().await.unwrap());
    let id = engine.create(&lab.spec("tcp", "true")).await.unwrap();
    engine.start(&id).await.unwrap();
    within(AT_ONCE, engine.wait(&id)).await.unwrap();
    assert_eq!(engine.list(&lab.labels()).await.unwrap().len(), 1);
    engine.remove(id.as_str()).await.unwrap();
    assert_eq!(engine.list(&lab.labels()).await.unwrap(), []);
}

#[tokio::test]
async fn a_container_lives_from_its_creation_to_its_removal() {
    let Some(lab) = Lab::new().await else { return };
    let engine = &lab.engine;
    let mut spec = lab.spec("life", OBEDIENT);
    spec.labels.insert("note".into(), "a=b, c\"*".into());
    spec.mounts.push(Mount::new(lab.out.path(), "/again", Access::ReadOnly));
    let id = engine.create(&spec).await.unwrap();

    // Made, and never started: nothing about it looks like a success, and nothing waits for it.
    let state = engine.inspect(&spec.name).await.unwrap().unwrap();
    assert_eq!(
        (state.id.clone(), state.name.as_str(), own_labels(&spec, &state)),
        (id.clone(), spec.name.as_str(), spec.labels.clone())
    );
    assert_eq!((state.status, state.pid, state.exit_code), (ContainerStatus::Created, None, None));
    assert_eq!((state.started_at, state.ended_at), (None, None));
    within(AT_ONCE, engine.wait(&id)).await.unwrap();
    assert!(!engine.signal(&id, ContainerSignal::Kill).await.unwrap());
    engine.unpause(&id).await.unwrap();

    engine.start(&id).await.unwrap();
    engine.start(&id).await.unwrap();
    lab.written("ready").await;
    let state = engine.inspect(id.as_str()).await.unwrap().unwrap();
    assert_eq!((state.status, state.exit_code, state.ended_at), (ContainerStatus::Running, None, None));
    assert!(state.started_at.is_some());
    let status = fs::read_to_string(format!("/proc/{}/status", state.pid.unwrap())).unwrap();
    assert!(status.contains("\nUid:\t10001\t"), "{status}");
    let mut mounts = state.mounts;
    mounts.sort_by(|a, b| b.target.cmp(&a.target));
    assert_eq!(mounts, spec.mounts);

    assert!(engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
    within(AT_ONCE, engine.wait(&id)).await.unwrap();
    let state = lab.ended(id.as_str()).await;
    assert_eq!((state.status, state.exit_code, state.pid), (ContainerStatus::Exited, Some(7), None));
    assert!(state.ended_at >= state.started_at);
    assert!(!engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
    within(AT_ONCE, engine.wait(&id)).await.unwrap();

    engine.remove(id.as_str()).await.unwrap();
    engine.remove(&spec.name).await.unwrap();
    assert_eq!(engine.inspect(id.as_str()).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_there_is_no_failure_but_to_start() {
    let Some(lab) = Lab::new().await else { return };
    let gone = ContainerId::new(lab.name("gone"));
    assert_eq!(lab.engine.inspect(gone.as_str()).await.unwrap(), None);
    within(AT_ONCE, lab.engine.wait(&gone)).await.unwrap();
    assert!(!lab.engine.signal(&gone, ContainerSignal::Terminate).await.unwrap());
    lab.engine.unpause(&gone).await.unwrap();
    lab.engine.remove(gone.as_str()).await.unwrap();
    assert_eq!(lab.engine.list(&lab.labels()).await.unwrap(), []);
    assert_eq!(lab.engine.start(&gone).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab.engine.image(&"localhost/nothing:1".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_name_is_given_once() {
    let Some(lab) = Lab::new().await else { return };
    // Several rounds: Podman takes the name a moment before it knows the container.
    for round in 0..8 {
        let spec = lab.spec(&format!("once-{round}"), "true");
        let results = future::join_all((0..8).map(|_| lab.engine.create(&spec))).await;
        let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1, "{refused:?}");
        for result in refused {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", error.chain());
        }
    }
}

#[tokio::test]
async fn why_a_container_is_not_made_is_found_out() {
    let Some(lab) = Lab::new().await else { return };
    let refused = async |change: fn(&mut ContainerSpec)| {
        let mut spec = lab.spec("refused", "true");
        change(&mut spec);
        let error = lab.engine.create(&spec).await.unwrap_err();
        assert_eq!(lab.engine.inspect(&spec.name).await.unwrap(), None);
        error.kind()
    };
    assert_eq!(refused(|spec| spec.image = format!("sha256:{}", "0".repeat(64))).await, ErrorKind::NotFound);
    assert_eq!(refused(|spec| spec.image = "localhost/nothing:1".into()).await, ErrorKind::NotFound);
    assert_eq!(refused(|spec| spec.mounts[0].source = "/nothing/here".into()).await, ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.max_processes = 0).await, ErrorKind::Invalid);
    let keep = |spec: &mut ContainerSpec| spec.user = ContainerUser { keep_id: true, ..USER };
    if !lab.engine.info().await.unwrap().keeps_user {
        assert_eq!(refused(keep).await, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_never_looks_like_one_that_ran() {
    let Some(lab) = Lab::new().await else { return };
    let mut spec = lab.spec("absent", "true");
    spec.entrypoint = vec!["/nothing".into()];
    let id = lab.engine.create(&spec).await.unwrap();
    let error = lab.engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.chain().contains("/nothing"), "{}", error.chain());
    within(AT_ONCE, lab.engine.wait(&id)).await.unwrap();
    let state = lab.engine.inspect(id.as_str()).await.unwrap().unwrap();
    assert_eq!((state.status, state.started_at, state.exit_code), (ContainerStatus::Created, None, None));
}

#[tokio::test]
async fn every_look_at_an_ending_container_succeeds() {
    let Some(lab) = Lab::new().await else { return };
    for round in 0..3 {
        let id = lab.engine.create(&lab.spec(&format!("short-{round}"), "exit 3")).await.unwrap();
        lab.engine.start(&id).await.unwrap();
        // Podman has words for the moments after an end that others do not know.
        let code = loop {
            let listed = lab.engine.list(&lab.labels()).await.unwrap();
            assert_eq!(listed.len(), round + 1);
            assert!(listed.iter().all(|state| state.status != ContainerStatus::Other), "{listed:?}");
            let state = lab.engine.inspect(id.as_str()).await.unwrap().unwrap();
            if !state.status.is_alive() {
                break state.exit_code;
            }
        };
        assert_eq!(code, Some(3));
    }
}

#[tokio::test]
async fn waiting_ends_with_the_container_and_not_before() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab.engine.create(&lab.spec("wait", OBEDIENT)).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("ready").await;
    let wait = lab.engine.wait(&id);
    tokio::pin!(wait);
    // A call that takes longer than any wait for an ended container. Dropped, it stops nothing.
    tokio::select! {
        biased;
        ended = &mut wait => panic!("{ended:?}"),
        _ = lab.engine.info() => {}
    }
    drop(lab.engine.wait(&id));
    assert!(lab.engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
    within(AT_ONCE, wait).await.unwrap();
    assert_eq!(lab.ended(id.as_str()).await.exit_code, Some(7));
}

#[tokio::test]
async fn a_paused_container_takes_no_signal_and_can_be_removed() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab.engine.create(&lab.spec("paused", OBEDIENT)).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("ready").await;
    lab.ask("POST", &format!("/containers/{id}/pause"));
    assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap().unwrap().status, ContainerStatus::Paused);
    assert!(!lab.engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
    lab.engine.unpause(&id).await.unwrap();
    lab.engine.unpause(&id).await.unwrap();
    // The signal that was not sent does not arrive now.
    assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap().unwrap().status, ContainerStatus::Running);
    assert!(lab.engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
    assert_eq!(lab.ended(id.as_str()).await.exit_code, Some(7));

    let id = lab.engine.create(&lab.spec("paused-2", "echo ready > /out/again; sleep 100")).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("again").await;
    lab.ask("POST", &format!("/containers/{id}/pause"));
    lab.engine.remove(id.as_str()).await.unwrap();
    assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap(), None);
}

#[tokio::test]
async fn removing_kills_and_may_be_done_by_several() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab
        .engine
        .create(&lab.spec("removed", "trap '' TERM; echo ready > /out/ready; sleep 100"))
        .await
        .unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("ready").await;
    let pid = lab.engine.inspect(id.as_str()).await.unwrap().unwrap().pid.unwrap();
    let remove = || async { lab.engine.remove(id.as_str()).await };
    let (a, b, c) = within(AT_ONCE, async { tokio::join!(remove(), remove(), remove()) }).await;
    assert!(a.is_ok() && b.is_ok() && c.is_ok(), "{a:?} {b:?} {c:?}");
    assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap(), None);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn every_call_for_a_container_that_is_being_removed_succeeds() {
    let Some(lab) = Lab::new().await else { return };
    let engine = &lab.engine;
    for round in 0..8 {
        let id = engine.create(&lab.spec(&format!("looked-at-{round}"), "sleep 100")).await.unwrap();
        engine.start(&id).await.unwrap();
        let look = async || {
            while engine.inspect(id.as_str()).await.unwrap().is_some() {
                engine.signal(&id, ContainerSignal::Terminate).await.unwrap();
                engine.list(&lab.labels()).await.unwrap();
            }
        };
        let looks = future::join_all((0..6).map(|_| look()));
        let waits = future::try_join_all((0..4).map(|_| engine.wait(&id)));
        let (removed, _, waited) = tokio::join!(engine.remove(id.as_str()), looks, waits);
        removed.unwrap();
        waited.unwrap();
    }
}

#[tokio::test]
async fn a_list_has_what_carries_all_labels_and_nothing_else() {
    let Some(lab) = Lab::new().await else { return };
    let mut wanted = lab.spec("a", "true");
    wanted.labels.insert("kind*".into(), "a".into());
    let mut other = lab.spec("b", "true");
    other.labels.insert("kind".into(), "a".into());
    let id = lab.engine.create(&wanted).await.unwrap();
    lab.engine.create(&other).await.unwrap();

    assert_eq!(lab.engine.list(&lab.labels()).await.unwrap().len(), 2);
    let listed = lab.engine.list(&wanted.labels).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0].id, &listed[0].name, own_labels(&wanted, &listed[0])),
        (&id, &wanted.name, wanted.labels.clone())
    );
    assert_eq!(listed[0].status, ContainerStatus::Created);
}
