//! Networks on which containers reach outwards and not each other.

use std::fs;

use fastflow_core::{
    ErrorKind,
    executor::container::{Access, ContainerEngine, ContainerNetwork, Mount},
};
use futures::future::join_all;
use serde_json::json;

use crate::kit::{config, engine, until, with_docker};

#[tokio::test]
async fn many_hosts_make_one_network() {
    with_docker(async |lab| {
        let name = format!("{}-many", lab.id);
        let engines: Vec<_> = (0..8).map(|_| engine(&config(&lab.socket))).collect();
        for made in join_all(engines.iter().map(|engine| engine.ensure_network(&name))).await {
            made.unwrap();
        }
        let found = lab.networks(&name).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["Labels"], json!({ "fastflow.kind": "network" }));
        assert_eq!(found[0]["Options"], json!({ "com.docker.network.bridge.enable_icc": "false" }));
    })
    .await;
}

#[tokio::test]
async fn of_several_networks_the_oldest_stays() {
    with_docker(async |lab| {
        let name = format!("{}-several", lab.id);
        let request = json!({
            "Name": name, "Driver": "bridge", "Labels": { "fastflow.kind": "network" },
            "Options": { "com.docker.network.bridge.enable_icc": "false" },
        });
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(lab.raw("POST", "/networks/create", Some(request.clone())).await.1["Id"].clone());
        }
        lab.engine.ensure_network(&name).await.unwrap();
        let found = lab.networks(&name).await;
        assert_eq!(found.iter().map(|network| &network["Id"]).collect::<Vec<_>>(), [&ids[0]]);
    })
    .await;
}

#[tokio::test]
async fn a_network_of_somebody_else_is_not_taken_for_ours() {
    with_docker(async |lab| {
        let name = format!("{}-other", lab.id);
        let (code, _) =
            lab.raw("POST", "/networks/create", Some(json!({ "Name": name, "Driver": "bridge" }))).await;
        let error = lab.engine.ensure_network(&name).await.unwrap_err();
        let left = lab.networks(&name).await.len();
        assert_eq!((code, error.kind(), left), (201, ErrorKind::Conflict, 1));
        for built_in in ["bridge", "host", "none", "container:x", ""] {
            let error = lab.engine.ensure_network(built_in).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{built_in}");
        }
    })
    .await;
}

#[tokio::test]
async fn containers_do_not_reach_each_other() {
    with_docker(async |lab| {
        let name = format!("{}-apart", lab.id);
        lab.engine.ensure_network(&name).await.unwrap();
        let out = lab.shared("out");
        let spec = |which: &str, python: &str| {
            let mut spec = lab.spec(which, "");
            spec.entrypoint = ["/usr/bin/python3", "-c", python].map(String::from).to_vec();
            spec.network = ContainerNetwork::Named(name.clone());
            spec.mounts = vec![Mount::new(&out, "/out", Access::ReadWrite)];
            spec
        };
        let server = "import socket\ns = socket.create_server(('', 7777))\nopen('/out/ready', 'w')\nwhile True: s.accept()";
        let server = lab.started(&spec("server", server)).await;
        until("the server to listen", async || out.join("ready").exists()).await;
        let (_, inspected) = lab.raw("GET", &format!("/containers/{server}/json"), None).await;
        let address = inspected["NetworkSettings"]["Networks"][&name]["IPAddress"].as_str().unwrap();
        let client = format!(
            "import socket\ntry:\n s = socket.create_connection(('{address}', 7777), 2); r = 'reached'\nexcept OSError as e:\n r = type(e).__name__\n\
             links = [l.split()[0] for l in open('/proc/net/route').readlines()[1:] if l.split()[1] == '00000000']\n\
             open('/out/seen', 'w').write(r + ' ' + ' '.join(links))"
        );
        lab.run(&spec("client", &client)).await;
        // It has a way out, and none to the other.
        assert_eq!(fs::read_to_string(out.join("seen")).unwrap(), "TimeoutError eth0");
    })
    .await;
}
