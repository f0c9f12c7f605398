//! Images out of a registry that behaves in all sorts of ways.

use std::{fs, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use fastflow_core::{
    ErrorKind,
    executor::{ImageName, container::ContainerEngine},
};
use serde_json::json;

use crate::kit::{Lab, Lines, config, engine, until, with_docker};

const USER: &str = "me";
/// In the usual base64 it has characters that are not those of addresses.
const PASSWORD: &str = "p~~~???>>>";

/// Two registries where the engine finds them under `127.0.0.1`, which it trusts without TLS.
struct Registries {
    open: String,
    /// Wants the name and the password.
    closed: String,
}

async fn registries(lab: &Lab) -> Registries {
    let folder = lab.shared("registry");
    fs::write(folder.join("registry.py"), include_str!("registry.py")).unwrap();
    let name = format!("{}-registry", lab.id);
    let body = json!({
        "Image": lab.image, "Labels": lab.labels(),
        "Entrypoint": ["/usr/bin/python3", "/registry/registry.py", "/registry/port", USER, PASSWORD],
        "HostConfig": { "NetworkMode": "host", "Binds": [format!("{}:/registry", folder.display())] },
    });
    assert_eq!(lab.raw("POST", &format!("/containers/create?name={name}"), Some(body)).await.0, 201);
    assert_eq!(lab.raw("POST", &format!("/containers/{name}/start"), None).await.0, 204);
    until("the registries to listen", async || folder.join("port").exists()).await;
    let ports = fs::read_to_string(folder.join("port")).unwrap();
    let (open, closed) = ports.split_once(' ').unwrap();
    Registries { open: format!("127.0.0.1:{open}"), closed: format!("127.0.0.1:{closed}") }
}

/// An image that no other test has.
fn image(lab: &Lab, registry: &str, how: &str) -> ImageName {
    format!("{registry}/{how}/{}", lab.id).parse().unwrap()
}

async fn kind_of_failure(lab: &Lab, image: &ImageName, credentials: &Path) -> ErrorKind {
    let mut config = config(&lab.socket);
    config.credentials_folder = Some(credentials.to_owned());
    let error = engine(&config).pull(image, &Lines::default()).await.unwrap_err();
    assert_eq!(lab.engine.image(image).await.unwrap(), None, "{error:?}");
    error.kind()
}

#[tokio::test]
async fn an_image_comes_with_progress_but_not_too_much_of_it() {
    with_docker(async |lab| {
        let registry = registries(lab).await.open;
        let image = image(lab, &registry, "slow");
        let lines = Lines::default();
        lab.engine.pull(&image, &lines).await.unwrap();
        let found = lab.engine.image(&image).await.unwrap().unwrap();
        assert_eq!(found.env["NAME"], image.as_str().split_once('/').unwrap().1);
        assert!(found.repo_digest.as_ref().unwrap().starts_with("sha256:"), "{found:?}");
        // The layer takes a second and a half, in ten pieces.
        let lines = lines.all();
        let of_layer = lines.iter().filter(|line| line.contains(" MB of 3.0 MB")).count();
        assert!((1..=5).contains(&of_layer), "{lines:#?}");
        assert!(lines.len() <= 12, "{lines:#?}");
    })
    .await;
}

#[tokio::test]
async fn without_a_tag_it_is_the_latest_and_no_other() {
    with_docker(async |lab| {
        let registry = registries(lab).await.open;
        let image = image(lab, &registry, "open");
        lab.engine.pull(&image, &Lines::default()).await.unwrap();
        let digest = lab.engine.image(&image).await.unwrap().unwrap().repo_digest.unwrap();
        let by_digest: ImageName = format!("{image}@{digest}").parse().unwrap();
        lab.engine.pull(&by_digest, &Lines::default()).await.unwrap();
        let (_, raw) = lab.raw("GET", &format!("/images/{image}/json"), None).await;
        assert_eq!(raw["RepoTags"], json!([format!("{image}:latest")]));
    })
    .await;
}

#[tokio::test]
async fn what_the_registry_refuses_is_told_apart() {
    with_docker(async |lab| {
        let Registries { open: registry, closed } = registries(lab).await;
        let nobody = tempfile::tempdir().unwrap();
        let kind = async |how: &str| kind_of_failure(lab, &image(lab, &registry, how), nobody.path()).await;
        assert_eq!(kind("none").await, ErrorKind::NotFound);
        assert_eq!(
            kind_of_failure(lab, &image(lab, &closed, "open"), nobody.path()).await,
            ErrorKind::Denied
        );
        assert_eq!(kind("broken").await, ErrorKind::Unavailable);
        let tag = format!("{}:none", image(lab, &registry, "open")).parse().unwrap();
        assert_eq!(kind_of_failure(lab, &tag, nobody.path()).await, ErrorKind::NotFound);
        // Nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let gone = image(lab, &format!("127.0.0.1:{port}"), "open");
        assert_eq!(kind_of_failure(lab, &gone, nobody.path()).await, ErrorKind::Unavailable);
    })
    .await;
}

#[tokio::test]
async fn the_right_credentials_open_and_the_wrong_ones_do_not() {
    with_docker(async |lab| {
        let registry = registries(lab).await.closed;
        let image = image(lab, &registry, "open");
        let folder = tempfile::tempdir().unwrap();
        let write = |registry: &str, password: &str| {
            let auth = STANDARD.encode(format!("{USER}:{password}"));
            let config = json!({ "auths": { registry: { "auth": auth } } });
            fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        };
        write(&registry, "wrong");
        assert_eq!(kind_of_failure(lab, &image, folder.path()).await, ErrorKind::Denied);
        write("elsewhere.example", PASSWORD);
        assert_eq!(kind_of_failure(lab, &image, folder.path()).await, ErrorKind::Denied);

        write(&registry, PASSWORD);
        let mut config = config(&lab.socket);
        config.credentials_folder = Some(folder.path().to_owned());
        let lines = Lines::default();
        engine(&config).pull(&image, &lines).await.unwrap();
        assert!(lines.all().iter().all(|line| !line.contains(PASSWORD)));
    })
    .await;
}

#[tokio::test]
async fn a_failure_in_the_middle_of_a_success_is_one() {
    with_docker(async |lab| {
        let registry = registries(lab).await.open;
        let nobody = tempfile::tempdir().unwrap();
        let image = image(lab, &registry, "cut");
        assert_eq!(kind_of_failure(lab, &image, nobody.path()).await, ErrorKind::Unavailable);
    })
    .await;
}

#[tokio::test]
async fn a_pull_without_progress_is_given_up() {
    with_docker(async |lab| {
        let registry = registries(lab).await.open;
        let mut config = config(&lab.socket);
        config.pull_stall_timeout = Duration::from_secs(2);
        let lines = Lines::default();
        let image = image(lab, &registry, "stuck");
        let error = engine(&config).pull(&image, &lines).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(lines.all().iter().any(|line| line.contains("MB of 3.0 MB")), "{:?}", lines.all());
    })
    .await;
}
