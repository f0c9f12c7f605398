//! The version of the API that is spoken.

use fastflow_core::{ErrorKind, executor::container::ContainerEngine};

use crate::{
    kit::{config, engine, with_docker},
    stand_in::{StandIn, answer},
};

fn versions(newest: &'static str, oldest: &'static str) -> StandIn {
    StandIn::answering(move |line| {
        let version = format!(r#"{{"ApiVersion": "{newest}", "MinAPIVersion": "{oldest}"}}"#);
        Some(answer(if line.contains("/version") { &version } else { "[]" }))
    })
}

#[tokio::test]
async fn every_request_says_its_version_and_it_is_asked_for_once() {
    with_docker(async |lab| {
        let recorder = StandIn::before(&lab.socket);
        let through = engine(&config(&recorder.socket()));
        let id = through.create(&lab.spec("a", "exit 0")).await.unwrap();
        through.start(&id).await.unwrap();
        through.wait(&id).await.unwrap();
        through.list(&lab.labels()).await.unwrap();
        through.remove(id.as_str()).await.unwrap();
        through.ensure_network(&format!("{}-pinned", lab.id)).await.unwrap();

        let requests = recorder.requests();
        let (asked, others) = requests.split_first().unwrap();
        assert_eq!(asked, "GET /version");
        assert!(others.len() >= 7, "{requests:?}");
        assert!(others.iter().all(|line| line.contains(" /v1.41/")), "{requests:?}");
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_has_forgotten_our_version_is_spoken_to_in_its_oldest() {
    let newer = versions("1.52", "1.44");
    engine(&config(&newer.socket())).list(&[].into()).await.unwrap();
    assert_eq!(newer.requests().len(), 2, "{:?}", newer.requests());
    assert!(newer.requests()[1].starts_with("GET /v1.44/containers/json"), "{:?}", newer.requests());
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_refused() {
    let older = versions("1.40", "1.12");
    let error = engine(&config(&older.socket())).list(&[].into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert_eq!(older.requests(), ["GET /version"]);
}
