//! A container whose monitor was killed: Podman takes it for running for ever.

use std::path::Path;

use fastflow_core::{
    ErrorKind,
    executor::container::{ContainerEngine, ContainerSignal, ContainerStatus},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, until};

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_container_without_its_monitor_can_be_removed() {
    let Some(lab) = Lab::new().await else { return };
    let id = lab.engine.create(&lab.spec("conmon", "echo ready > /out/ready; sleep 100")).await.unwrap();
    lab.engine.start(&id).await.unwrap();
    lab.written("ready").await;
    let described: serde_json::Value =
        serde_json::from_str(&lab.ask("GET", &format!("/containers/{id}/json"))).unwrap();
    let (monitor, pid) =
        (described["State"]["ConmonPid"].as_u64().unwrap(), described["State"]["Pid"].as_u64().unwrap());
    kill(monitor.try_into().unwrap());
    until("the monitor is gone", async || (!Path::new(&format!("/proc/{monitor}")).exists()).then_some(()))
        .await;
    kill(pid.try_into().unwrap());
    until("the process is gone", async || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())).await;

    // This is why an executor has to look at the process itself.
    let state = lab.engine.inspect(id.as_str()).await.unwrap().unwrap();
    assert_eq!((state.status, state.pid), (ContainerStatus::Running, Some(pid.try_into().unwrap())));
    let error = lab.engine.signal(&id, ContainerSignal::Kill).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    lab.engine.remove(id.as_str()).await.unwrap();
    assert_eq!(lab.engine.inspect(id.as_str()).await.unwrap(), None);
    assert_eq!(lab.engine.list(&lab.labels()).await.unwrap(), []);
}
