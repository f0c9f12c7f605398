//! The credentials that `podman login` and `docker login` have left, for the registry of one image.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use fastflow_core::{Error, ErrorKind, Result, executor::ImageName};
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The value of `X-Registry-Auth` for an image, from the first of `files` that knows its registry. Blocks: a file may
/// name a program that has to be asked.
///
/// A name that does not say its registry gets none: only the engine knows where it will look for it, and would show
/// the credentials to everybody on its list. It has files of its own for them.
///
/// # Errors
///
/// `Denied` when a file that is there cannot be used.
pub(crate) fn find(files: &[PathBuf], image: &ImageName) -> Result<Option<HeaderValue>> {
    let Some(registry) = image.registry() else { return Ok(None) };
    for file in files {
        if let Some(credential) = find_in(file, registry, image)? {
            return header(credential).map(Some);
        }
    }
    Ok(None)
}

fn find_in(path: &Path, registry: &str, image: &ImageName) -> Result<Option<DockerCredential>> {
    let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
        let error =
            Error::new(ErrorKind::Denied, "the file with the credentials for registries cannot be used")
                .because(error);
        error.with("path", path.display())
    };
    let mut content = Vec::new();
    match File::open(path) {
        Ok(file) => drop(
            file.take(MAX_FILE_BYTES).read_to_end(&mut content).map_err(|error| unusable(error.into()))?,
        ),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unusable(error.into())),
    }
    let known: Known = serde_json::from_slice(&content).map_err(|error| unusable(error.into()))?;
    // Podman's files may have credentials for a part of a registry; the closest one counts. The library knows whole
    // registries only, but takes any key that is there.
    let key = scopes(image).into_iter().find(|scope| known.auths.contains_key(*scope)).unwrap_or(registry);
    match docker_credential::get_credential_from_reader(&*content, key) {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            // So it says "none" as well. What it wrote is not repeated, for it may hold anything.
            tracing::debug!(helper, registry, "the program for credentials gave none");
            Ok(None)
        }
        Err(error) => Err(unusable(error.into())),
    }
}

/// The parts of a registry that an image is in, the closest first: `host/a/b`, `host/a`, `host`.
fn scopes(image: &ImageName) -> Vec<&str> {
    let name = image.as_str();
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = image.tag().map_or(name, |tag| &name[..name.len() - tag.len() - 1]);
    let mut scopes = vec![name];
    while let Some((outer, _)) = scopes[scopes.len() - 1].rsplit_once('/') {
        scopes.push(outer);
    }
    scopes
}

#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    auths: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Secret {
    Password { username: String, password: String },
    Token { identitytoken: String },
}

fn header(credential: DockerCredential) -> Result<HeaderValue> {
    let secret = match credential {
        DockerCredential::UsernamePassword(username, password) => Secret::Password { username, password },
        DockerCredential::IdentityToken(identitytoken) => Secret::Token { identitytoken },
    };
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Internal, "credentials cannot be sent").because(error)
    };
    let text = serde_json::to_vec(&secret).map_err(|error| failed(error.into()))?;
    let mut value = HeaderValue::try_from(URL_SAFE.encode(text)).map_err(|error| failed(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[PathBuf], image: &str) -> Result<Option<String>> {
        let header = find(files, &image.parse().unwrap())?;
        Ok(header.map(|value| String::from_utf8(URL_SAFE.decode(value.as_bytes()).unwrap()).unwrap()))
    }

    #[test]
    fn the_closest_credentials_of_the_first_file_that_has_any_are_sent() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["none", "first", "second"].map(|name| folder.path().join(name));
        // me:secret, team:secret, other:secret, token
        std::fs::write(
            &files[1],
            r#"{"auths": {"example.org": {"auth": "bWU6c2VjcmV0"}, "example.org/team": {"auth": "dGVhbTpzZWNyZXQ="}}}"#,
        )
        .unwrap();
        std::fs::write(
            &files[2],
            r#"{"auths": {"example.org": {"auth": "b3RoZXI6c2VjcmV0"}, "host:5000": {"identitytoken": "token"}}}"#,
        )
        .unwrap();
        let password = |user: &str| Some(format!(r#"{{"username":"{user}","password":"secret"}}"#));
        for (image, expected) in [
            ("example.org/image:1", password("me")),
            ("example.org/team/image:1", password("team")),
            ("example.org/team:1", password("team")),
            ("example.org/teams/image", password("me")),
            ("host:5000/image", Some(r#"{"identitytoken":"token"}"#.to_owned())),
            ("host/image", None),
            ("python:3", None),
        ] {
            assert_eq!(found(&files, image).unwrap(), expected, "{image}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_said_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        for content in
            ["{\"auths\": {\"example.org\": \"secret", r#"{"auths": {"example.org": {"auth": "se-cret"}}}"#]
        {
            std::fs::write(&file, content).unwrap();
            let error = found(std::slice::from_ref(&file), "example.org/image").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(
                !error.chain().contains("secret") && !error.chain().contains("se-cret"),
                "{}",
                error.chain()
            );
        }
    }

    #[test]
    fn scopes_lead_from_the_image_to_its_registry() {
        let digest = format!("host:5000/a/b@sha256:{}", "0".repeat(64));
        for (image, expected) in [
            ("host:5000/a/b:1", vec!["host:5000/a/b", "host:5000/a", "host:5000"]),
            (&*digest, vec!["host:5000/a/b", "host:5000/a", "host:5000"]),
            ("host.org/a", vec!["host.org/a", "host.org"]),
        ] {
            assert_eq!(scopes(&image.parse().unwrap()), expected);
        }
    }
}
