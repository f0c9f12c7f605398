//! Getting images from a registry that runs here.

use std::{fs, path::PathBuf, sync::Mutex, time::Duration};

use fastflow_core::{
    Error, ErrorKind,
    environment::SetupLog,
    executor::{ImageName, container::ContainerEngine},
};

use crate::{
    lab::{Lab, engine, within},
    network::Neighbour,
};

/// Keeps what a pull says.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<Vec<String>>);

impl SetupLog for Said {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

struct Registry {
    lab: Lab,
    server: Neighbour,
}

impl Registry {
    async fn new() -> Option<Self> {
        let lab = Lab::new().await?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/registry.py");
        let server = Neighbour::new(&lab, &[script]).await;
        Some(Self { lab, server })
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.server.said[0])
    }

    fn image(&self, name: &str) -> ImageName {
        format!("{}/{name}", self.host()).parse().unwrap()
    }

    fn digest(&self) -> &str {
        &self.server.said[1]
    }

    async fn refused(&self, name: &str) -> Error {
        let said = Said::default();
        within(Duration::from_mins(1), self.lab.engine.pull(&self.image(name), &said)).await.unwrap_err()
    }

    fn auth_file(&self, name: &str, key: &str, secret: &str) -> PathBuf {
        let file = self.lab.out.path().join(name);
        fs::write(&file, serde_json::json!({"auths": {key: {"auth": secret}}}).to_string()).unwrap();
        file
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let images: serde_json::Value = serde_json::from_str(&self.lab.ask("GET", "/images/json")).unwrap();
        for image in images.as_array().unwrap() {
            let names = image["Names"]
                .as_array()
                .into_iter()
                .flatten()
                .chain(image["RepoTags"].as_array().into_iter().flatten());
            if names.filter_map(|name| name.as_str()).any(|name| name.starts_with(&self.host())) {
                self.lab.ask("DELETE", &format!("/images/{}?force=true", image["Id"].as_str().unwrap()));
            }
        }
    }
}

#[tokio::test]
async fn an_image_comes_with_its_progress() {
    let Some(registry) = Registry::new().await else { return };
    let (engine, said, image) = (&registry.lab.engine, Said::default(), registry.image("open/image:1"));
    assert_eq!(engine.image(&image).await.unwrap(), None);
    engine.pull(&image, &said).await.unwrap();

    let found = engine.image(&image).await.unwrap().unwrap();
    let digest = registry.digest();
    assert_eq!(found.repo_digest, Some(format!("{}/open/image@{digest}", registry.host())));
    assert_eq!(found.env["GREETING"], "hello=world");
    let lines = said.0.lock().unwrap().clone();
    assert!(lines.iter().any(|line| line.contains("Pulling fs layer")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("Download complete")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");

    // By its digest, and by its id: the same.
    let by_digest = registry.image(&format!("open/image@{digest}"));
    engine.pull(&by_digest, &said).await.unwrap();
    assert_eq!(engine.image(&by_digest).await.unwrap().unwrap().id, found.id);
    assert_eq!(engine.image(&found.id.parse().unwrap()).await.unwrap(), Some(found));
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_not_found() {
    let Some(registry) = Registry::new().await else { return };
    for name in ["open/image:2", "nothing/image:1"] {
        let error = registry.refused(name).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.chain());
        assert!(error.chain().contains("manifest unknown"), "{}", error.chain());
    }
}

#[tokio::test]
async fn the_credentials_of_a_file_open_a_registry() {
    let Some(registry) = Registry::new().await else { return };
    let image = registry.image("locked/image:1");
    let pull = async |file: PathBuf| {
        let engine = engine(&registry.lab.socket, |config| config.auth_file = Some(file));
        engine.pull(&image, &Said::default()).await
    };
    // `reader:open sesame`, and one that is wrong.
    let (right, wrong) = ("cmVhZGVyOm9wZW4gc2VzYW1l", "cmVhZGVyOndyb25n");
    let (host, space) = (registry.host(), format!("{}/locked", registry.host()));
    let none = pull(registry.lab.out.path().join("none")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Denied, "{}", none.chain());
    let refused = pull(registry.auth_file("wrong", &host, wrong)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{}", refused.chain());
    assert!(!refused.chain().contains(wrong), "{}", refused.chain());
    assert_eq!(registry.lab.engine.image(&image).await.unwrap(), None);

    let closest = registry.auth_file("closest", &space, right);
    pull(closest).await.unwrap();
    assert!(registry.lab.engine.image(&image).await.unwrap().is_some());
    pull(registry.auth_file("right", &host, right)).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_breaks_off_may_work_later() {
    let Some(registry) = Registry::new().await else { return };
    let error = registry.refused("broken/image:1").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert_eq!(registry.lab.engine.image(&registry.image("broken/image:1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_given_up() {
    let Some(registry) = Registry::new().await else { return };
    let engine = engine(&registry.lab.socket, |config| config.pull_stall_timeout = Duration::from_secs(2));
    let (image, said) = (registry.image("silent/image:1"), Said::default());
    let error = within(Duration::from_secs(20), engine.pull(&image, &said)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("no answer within: 2s"), "{}", error.chain());
    // It had begun.
    assert!(said.0.lock().unwrap().iter().any(|line| line.contains("Pulling")), "{said:?}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_may_be_later() {
    let Some(registry) = Registry::new().await else { return };
    let image: ImageName = "127.0.0.1:1/image:1".parse().unwrap();
    let error = registry.lab.engine.pull(&image, &Said::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
}

/// Such a name is looked for where the engine's user says, which for this engine is nowhere.
#[tokio::test]
async fn a_name_without_a_registry_that_is_looked_for_nowhere_is_not_found() {
    let Some(lab) = Lab::new().await else { return };
    let image: ImageName = "fastflow-test-nothing-of-this-name:1".parse().unwrap();
    let error = lab.engine.pull(&image, &Said::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.chain());
    assert!(error.chain().contains("no unqualified-search registries"), "{}", error.chain());
}
