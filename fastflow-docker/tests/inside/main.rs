//! A host that runs in a container itself, and makes the containers of its attempts beside its own.
//!
//! The host is this test program again: it needs nothing of the image but the C library that both have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod host;
mod outer;
#[path = "../proxy/socket.rs"]
mod socket;

use fastflow_core::run::Status;

use self::{host::Case, outer::Outer};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_a_container_finds_its_folders_outside() {
    let Some(outer) = Outer::new() else { return };
    assert_eq!(outer.host(Case::Found).await, Status::Success.to_string());
    // What the host has as `/data` lies here, and holds what the attempt has left.
    assert!(outer.data().join("var").is_dir());
    assert!(outer.orders_are_gone());
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_configured_count() {
    let Some(outer) = Outer::new() else { return };
    assert_eq!(outer.host(Case::Told).await, Status::Success.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_the_engine_does_not_have_are_refused_and_nothing_is_left() {
    let Some(outer) = Outer::new() else { return };
    let said = outer.host(Case::Misled).await;
    assert!(said.starts_with("Unsupported: "), "{said}");
    assert!(said.contains("does the engine see the files of this machine?"), "{said}");
    assert!(outer.orders_are_gone());
    assert_eq!(outer.attempts().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_mounted_is_refused_before_anything_is_made() {
    let Some(outer) = Outer::new() else { return };
    for (case, path) in [(Case::StateInside, "/inside"), (Case::OrdersInside, "/fastflow-0")] {
        let said = outer.host(case).await;
        assert!(said.starts_with("Unsupported: "), "{case:?}: {said}");
        assert!(said.contains("mount a folder of the engine's machine there"), "{case:?}: {said}");
        assert!(said.contains(path), "{case:?}: {said}");
        assert!(outer.orders_are_gone());
        assert_eq!(outer.attempts().await, 0);
    }
}
