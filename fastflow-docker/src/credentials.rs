//! The credentials for a registry, where Docker's own programs keep them.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use fastflow_core::{Error, ErrorKind, Result, executor::ImageName};
use hyper::header::HeaderValue;
use serde::Serialize;

/// Where an image comes from whose name says no registry, and the addresses under which its credentials are kept.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const HUB_ADDRESSES: [&str; 2] = ["https://index.docker.io/v1/", "index.docker.io"];

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// There are credentials for this registry.
    Auth(HeaderValue),
    /// There are none: it is asked without.
    Nothing,
    /// The program that keeps them gave none, or is not there; with the reason. That it has none it says in no other
    /// way, and Docker's own programs go on without, too.
    HelperFailed(String),
}

#[derive(Serialize)]
struct AuthConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identitytoken: Option<&'a str>,
    serveraddress: &'a str,
}

/// Looks for the credentials of the registry that an image comes from. Blocks, as long as the program that keeps them
/// takes.
pub(crate) fn find(folder: Option<&Path>, image: &ImageName) -> Result<Found> {
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(Found::Nothing) };
    let unusable = |cause: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Denied, "the credentials for the registry cannot be read")
            .with("path", path.display())
            .with("cause", cause)
    };
    let addresses: &[&str] = match image.registry() {
        Some(registry) if !HUB.contains(&registry) => &[registry],
        _ => &HUB_ADDRESSES,
    };
    for address in addresses {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(unusable(&error)),
        };
        match get_credential_from_reader(BufReader::new(file), address) {
            Ok(credential) => return encode(&credential, address).map(Found::Auth),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            // Its output is not repeated: a secret may be in it.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                return Ok(Found::HelperFailed(format!("{helper} gave none")));
            }
            Err(
                error @ (CredentialRetrievalError::HelperCommunicationError
                | CredentialRetrievalError::MalformedHelperResponse),
            ) => return Ok(Found::HelperFailed(error.to_string())),
            Err(error) => return Err(unusable(&error)),
        }
    }
    Ok(Found::Nothing)
}

/// The header with credentials, as the engine takes it. Bollard encodes it with the wrong alphabet, and the engine then
/// goes on without credentials.
fn encode(credential: &DockerCredential, registry: &str) -> Result<HeaderValue> {
    let (username, password, identitytoken) = match credential {
        DockerCredential::UsernamePassword(name, password) => (Some(&**name), Some(&**password), None),
        DockerCredential::IdentityToken(token) => (None, None, Some(&**token)),
    };
    let config = AuthConfig { username, password, identitytoken, serveraddress: registry };
    let unwritable = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Internal, "credentials cannot be written").because(error)
    };
    let json = serde_json::to_vec(&config).map_err(|error| unwritable(error.into()))?;
    let mut value =
        HeaderValue::from_str(&URL_SAFE.encode(json)).map_err(|error| unwritable(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Credentials that nobody has, to find out whether a registry wants any: `{"username":"nobody","password":"nobody"}`.
pub(crate) fn of_nobody() -> HeaderValue {
    HeaderValue::from_static("eyJ1c2VybmFtZSI6Im5vYm9keSIsInBhc3N3b3JkIjoibm9ib2R5In0=")
}

#[cfg(test)]
mod tests;
