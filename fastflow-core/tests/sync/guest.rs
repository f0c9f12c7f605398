//! A process that does not host, beside one that syncs.

use fastflow_core::{
    ErrorKind, Hosting, Orchestrator, Submission, journal::LogStream, run::Status, source::SyncRequest,
};

use crate::{
    kit::{ended, lines, refused, started, until},
    place::{Place, sync},
};

async fn said(guest: &Orchestrator, what: impl Into<Submission>) -> Vec<String> {
    let run = guest.submit(what).await.unwrap();
    let run = ended(guest, run.id).await;
    assert_eq!(run.status(), Status::Success, "{:?}", run.state);
    lines(guest, run.id, LogStream::Out).await
}

async fn until_shown(guest: &Orchestrator, pipeline: &str) {
    until("the guest to show it", || async {
        let shown = guest.pipelines().list().await.unwrap_or_default();
        shown.iter().any(|found| found.present && found.name.as_str() == pipeline)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_shows_what_the_host_publishes() {
    let Some(place) = Place::new() else { return };
    place.repository.write("etl/main.py", "print('one')");
    place.repository.commit("Say one");
    let guest = started(place.builder().hosting(Hosting::Never)).await;
    refused(guest.submit("etl").await, ErrorKind::Unavailable, &["never synced"]);
    refused(guest.source().sync(SyncRequest::default()).await, ErrorKind::Conflict, &["no process hosts"]);
    let host = place.start().await;
    until_shown(&guest, "etl").await;
    assert_eq!(said(&guest, "etl").await, ["one"]);

    place.repository.write("etl/main.py", "print('two')");
    place.repository.write("new/main.py", "print('new')");
    place.repository.commit("Say two");
    assert_eq!(said(&guest, "etl").await, ["one"], "until it is synced");
    sync(&host).await;
    until_shown(&guest, "new").await;
    assert_eq!(said(&guest, "etl").await, ["two"]);
    // One that comes later shows it at once.
    let later = place.builder().hosting(Hosting::Never).build().await.unwrap();
    assert_eq!(said(&later, "new").await, ["new"]);
}
