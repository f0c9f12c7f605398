//! A container's life, and the quirks that were measured of it.

use std::collections::BTreeMap;

use fastflow_core::{
    ErrorKind,
    executor::container::{
        Access, ContainerEngine, ContainerId, ContainerSignal, ContainerState, ContainerStatus, Mount,
    },
};
use futures::future::join_all;

use crate::kit::{Lab, until, with_docker, within};

/// Says that it runs by a file, and ends with 7 when it is asked to.
const PATIENT: &str = "trap 'exit 7' TERM; : >/out/runs; while :; do sleep 0.05; done";

/// Whether it has these labels, beside those of its image, which every container of it has.
fn has(state: &ContainerState, labels: &BTreeMap<String, String>) -> bool {
    labels.iter().all(|(name, value)| state.labels.get(name) == Some(value))
}

async fn patient(lab: &Lab, name: &str) -> ContainerId {
    let out = lab.shared(name);
    let mut spec = lab.spec(name, PATIENT);
    spec.mounts = vec![Mount::new(&out, "/out", Access::ReadWrite)];
    let id = lab.started(&spec).await;
    until("the program to run", async || out.join("runs").exists()).await;
    id
}

#[tokio::test]
async fn a_container_lives_and_ends() {
    with_docker(async |lab| {
        let engine = &lab.engine;
        let out = lab.shared("out");
        let mut spec = lab.spec("a", PATIENT);
        spec.mounts = vec![Mount::new(&out, "/out", Access::ReadWrite)];
        let id = engine.create(&spec).await.unwrap();
        let made = lab.state(&id).await;
        assert_eq!((made.status, made.name.as_str()), (ContainerStatus::Created, spec.name.as_str()));
        assert_eq!((made.pid, made.started_at, made.ended_at, made.exit_code), (None, None, None, None));
        assert_eq!(made.mounts, spec.mounts);
        assert!(has(&made, &spec.labels), "{made:?}");

        engine.start(&id).await.unwrap();
        engine.start(&id).await.unwrap();
        let runs = engine.inspect(&spec.name).await.unwrap().unwrap();
        assert_eq!((runs.status, &runs.id), (ContainerStatus::Running, &id));
        assert!(runs.pid.is_some() && runs.started_at.is_some(), "{runs:?}");
        assert_eq!((runs.ended_at, runs.exit_code), (None, None));

        until("the program to run", async || out.join("runs").exists()).await;
        let (end, ()) = tokio::join!(within("the end", engine.wait(&id)), async {
            assert!(engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
        });
        end.unwrap();
        let ended = lab.state(&id).await;
        assert_eq!((ended.status, ended.exit_code, ended.pid), (ContainerStatus::Exited, Some(7), None));
        assert_eq!(ended.started_at, runs.started_at);
        assert!(ended.ended_at > ended.started_at, "{ended:?}");

        within("the end, again", engine.wait(&id)).await.unwrap();
        assert!(!engine.signal(&id, ContainerSignal::Kill).await.unwrap());
        engine.unpause(&id).await.unwrap();
        engine.remove(id.as_str()).await.unwrap();
        assert_eq!(engine.inspect(id.as_str()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_wrong_with_a_container_that_is_gone_but_a_start() {
    with_docker(async |lab| {
        let engine = &lab.engine;
        let gone = ContainerId::new(format!("{}-gone", lab.id));
        assert_eq!(engine.inspect(gone.as_str()).await.unwrap(), None);
        within("nothing", engine.wait(&gone)).await.unwrap();
        assert!(!engine.signal(&gone, ContainerSignal::Terminate).await.unwrap());
        engine.unpause(&gone).await.unwrap();
        engine.remove(gone.as_str()).await.unwrap();
        assert_eq!(engine.start(&gone).await.unwrap_err().kind(), ErrorKind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_container_that_never_ran_is_waited_for_at_once_and_has_no_code() {
    with_docker(async |lab| {
        let id = lab.engine.create(&lab.spec("a", "exit 0")).await.unwrap();
        within("one that never ran", lab.engine.wait(&id)).await.unwrap();
        assert!(!lab.engine.signal(&id, ContainerSignal::Terminate).await.unwrap());
        assert_eq!(lab.state(&id).await.exit_code, None);
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_not_there_leaves_words_and_no_code() {
    with_docker(async |lab| {
        let mut spec = lab.spec("a", "");
        spec.entrypoint = vec!["/no/such/program".into()];
        let id = lab.engine.create(&spec).await.unwrap();
        let error = lab.engine.start(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
        assert!(error.to_string().contains("/no/such/program"), "{error:?}");
        assert_eq!(lab.state(&id).await.exit_code, None);
    })
    .await;
}

#[tokio::test]
async fn a_network_that_is_gone_is_not_a_container_that_is_gone() {
    with_docker(async |lab| {
        let mut spec = lab.spec("a", "exit 0");
        let name = format!("{}-none", lab.id);
        spec.network = fastflow_core::executor::container::ContainerNetwork::Named(name);
        let id = lab.engine.create(&spec).await.unwrap();
        let error = lab.engine.start(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_name_is_given_once() {
    with_docker(async |lab| {
        let spec = lab.spec("a", "exit 0");
        let made = join_all((0..8).map(|_| lab.engine.create(&spec))).await;
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
        for error in made.iter().filter_map(|made| made.as_ref().err()) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_made_is_told_apart() {
    with_docker(async |lab| {
        let mut spec = lab.spec("a", "exit 0");
        spec.image = format!("sha256:{}", "0".repeat(64));
        assert_eq!(lab.engine.create(&spec).await.unwrap_err().kind(), ErrorKind::NotFound);

        spec.image.clone_from(&lab.image);
        let missing = lab.folder.path().join("missing");
        spec.mounts = vec![Mount::new(&missing, "/in", Access::ReadOnly)];
        assert_eq!(lab.engine.create(&spec).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert!(!missing.exists(), "the engine made the source of a mount");

        spec.mounts.clear();
        for name in ["a/../b", "a?force=1", "", "a b"] {
            name.clone_into(&mut spec.name);
            assert_eq!(lab.engine.create(&spec).await.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
            assert_eq!(lab.engine.inspect(name).await.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
            assert_eq!(lab.engine.remove(name).await.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        }
        assert_eq!(lab.engine.list(&lab.labels()).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_paused_container_gets_no_signal_not_even_later() {
    with_docker(async |lab| {
        let id = patient(lab, "a").await;
        assert_eq!(lab.raw("POST", &format!("/containers/{id}/pause"), None).await.0, 204);
        assert_eq!(lab.state(&id).await.status, ContainerStatus::Paused);
        assert!(!lab.engine.signal(&id, ContainerSignal::Terminate).await.unwrap());

        lab.engine.unpause(&id).await.unwrap();
        lab.engine.unpause(&id).await.unwrap();
        let state = lab.state(&id).await;
        assert_eq!(state.status, ContainerStatus::Running);
        // It would end with 7 by the signal from before, and does with 137 by this one.
        assert!(lab.engine.signal(&id, ContainerSignal::Kill).await.unwrap());
        within("the end", lab.engine.wait(&id)).await.unwrap();
        assert_eq!(lab.state(&id).await.exit_code, Some(137));
    })
    .await;
}

#[tokio::test]
async fn whatever_it_does_a_container_can_be_removed_by_many_at_once() {
    with_docker(async |lab| {
        let runs = patient(lab, "runs").await;
        let paused = patient(lab, "paused").await;
        assert_eq!(lab.raw("POST", &format!("/containers/{paused}/pause"), None).await.0, 204);
        let made = lab.engine.create(&lab.spec("made", "exit 0")).await.unwrap();
        for id in [runs, paused, made] {
            for removed in join_all((0..4).map(|_| lab.engine.remove(id.as_str()))).await {
                removed.unwrap();
            }
            assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_has_all_of_these_labels_in_every_state() {
    with_docker(async |lab| {
        let made = lab.engine.create(&lab.spec("made", "exit 0")).await.unwrap();
        let runs = patient(lab, "runs").await;
        let ended = lab.run(&lab.spec("ended", "exit 3")).await.id;
        let mut other = lab.spec("other", "exit 0");
        other.labels.insert("fastflow.other".into(), "x=y, \"z\"".into());
        let other_id = lab.engine.create(&other).await.unwrap();

        let mut listed = lab.engine.list(&lab.labels()).await.unwrap();
        listed.sort_by_key(|state| state.name.clone());
        let seen: Vec<_> = listed.iter().map(|state| (&state.id, state.status)).collect();
        assert_eq!(
            seen,
            [
                (&ended, ContainerStatus::Exited),
                (&made, ContainerStatus::Created),
                (&other_id, ContainerStatus::Created),
                (&runs, ContainerStatus::Running),
            ]
        );
        assert_eq!(listed[1].name, lab.spec("made", "").name);
        assert!(listed.iter().all(|state| has(state, &lab.labels())), "{listed:?}");
        assert!(has(&listed[2], &other.labels), "{listed:?}");

        let narrow = lab.engine.list(&other.labels).await.unwrap();
        assert_eq!(narrow.iter().map(|state| &state.id).collect::<Vec<_>>(), [&other_id]);
        let mut none = lab.labels();
        none.insert("fastflow.other".into(), "x".into());
        assert_eq!(lab.engine.list(&none).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_container_that_somebody_else_removes_is_not_waited_for_for_ever() {
    with_docker(async |lab| {
        let id = patient(lab, "a").await;
        let (end, removed) =
            tokio::join!(within("the end", lab.engine.wait(&id)), lab.engine.remove(id.as_str()));
        end.unwrap();
        removed.unwrap();
        assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_engine_and_its_image_tell_who_they_are() {
    with_docker(async |lab| {
        let info = lab.engine.info().await.unwrap();
        let (_, raw) = lab.raw("GET", "/info", None).await;
        assert_eq!(
            (info.id.as_str(), info.version.as_str()),
            (raw["ID"].as_str().unwrap(), raw["ServerVersion"].as_str().unwrap())
        );
        assert!(info.seccomp && info.memory_limit && info.cpu_limit && info.process_limit, "{info:?}");
        assert!(!info.keeps_user && !info.remaps_users, "{info:?}");

        let image = lab.engine.image(&lab.image.parse().unwrap()).await.unwrap().unwrap();
        assert!(image.id.starts_with("sha256:") && image.env["PATH"].contains("/bin"), "{image:?}");
        let missing = format!("{}/missing:v1", lab.id).parse().unwrap();
        assert_eq!(lab.engine.image(&missing).await.unwrap(), None);
        // An id is a name as well: that by which containers are made.
        let mut spec = lab.spec("by-id", "exit 4");
        spec.image = image.id;
        assert_eq!(lab.run(&spec).await.exit_code, Some(4));
    })
    .await;
}
