//! The way to the engine: a socket, TCP, or TLS; and the version of the API that is spoken on it.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use bytes::Bytes;
use fastflow_core::{Error, ErrorKind, Result};
use futures::future::{self, BoxFuture, FutureExt};
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, Response, Uri, body::Incoming, header::HeaderValue, http::uri::PathAndQuery};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{config::Endpoint, error::Failure, filter::Withheld};

/// The version of the API that this crate is written for: that of Docker 20.10, the first with private control
/// group namespaces.
const WRITTEN_FOR: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// The header with the credentials for a registry.
pub(crate) const REGISTRY_AUTH: &str = "x-registry-auth";

/// The longest answer that is read as a whole: a list of a hundred thousand containers, and more.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Bollard has a limit of its own for the begin of every answer. Ours are around it, and a wait has none.
const NO_LIMIT_SECS: u64 = 10 * 365 * 24 * 60 * 60;

/// After which silence a TCP connection is probed, so that a machine that is gone does not look like one that waits.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Takes a request to the engine and brings the answer.
type Transport = Arc<dyn Fn(BollardRequest) -> BoxFuture<'static, Answer> + Send + Sync>;
type Answer = Result<Response<Incoming>, bollard::errors::Error>;

/// A way to an engine that may come and go.
pub(crate) struct Connection {
    transport: Transport,
    base: String,
    api: Mutex<Option<Api>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Connection {
    /// Prepares the way, and does not go it. Reads the certificates.
    pub(crate) fn new(endpoint: &Endpoint, connect_timeout: Duration) -> Result<Self> {
        let (base, transport) = match endpoint {
            Endpoint::Unix(path) => {
                let uri = Uri::from(hyperlocal::Uri::new(path, "/"));
                (uri.to_string(), over(hyperlocal::UnixConnector))
            }
            Endpoint::Plain(authority) => (format!("http://{authority}/"), over(tcp(connect_timeout))),
            Endpoint::Tls(authority, folder) => {
                let mut tcp = tcp(connect_timeout);
                tcp.enforce_http(false);
                let connector = hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(tls(folder)?)
                    .https_only()
                    .enable_http1()
                    .wrap_connector(tcp);
                (format!("https://{authority}/"), over(connector))
            }
        };
        Ok(Self { transport, base, api: Mutex::new(None) })
    }

    /// The API in the version that both sides know. Asks for it the first time, and after the connection was lost.
    pub(crate) async fn api(&self) -> Result<Api, Failure> {
        if let Some(api) = &*self.api.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(api.clone());
        }
        let answer: VersionAnswer = get(&self.transport, &self.base, "/version", &[]).await?;
        let version = answer.choose()?;
        let api = Api::new(&self.transport, &self.base, version).map_err(Failure::from)?;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = Some(api.clone());
        Ok(api)
    }

    /// Asks for the version again the next time: the engine may be another one then.
    pub(crate) fn forget(&self) {
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The API of an engine that has answered once.
#[derive(Clone)]
pub(crate) struct Api {
    docker: Docker,
    transport: Transport,
    base: Arc<str>,
}

impl Api {
    fn new(transport: &Transport, base: &str, version: ApiVersion) -> Result<Self, bollard::errors::Error> {
        let inner = Arc::clone(transport);
        let pinned: Transport = Arc::new(move |mut request: BollardRequest| {
            // Bollard names no version, and the engine then answers in its newest.
            match version.pin(request.uri()) {
                Ok(uri) => {
                    *request.uri_mut() = uri;
                    inner(request)
                }
                Err(error) => future::err(error.into()).boxed(),
            }
        });
        let through = Arc::clone(&pinned);
        let docker = Docker::connect_with_custom_transport(
            move |request| through(request),
            Some(base.trim_end_matches('/')),
            NO_LIMIT_SECS,
            API_DEFAULT_VERSION,
        )?;
        Ok(Self { docker, transport: pinned, base: base.into() })
    }

    /// The calls that change something, and those whose answer is a stream.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Asks for one thing. Bollard's own answers are enumerations that fail as a whole on one word they do not know.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        get(&self.transport, &self.base, path, query).await
    }

    /// Asks for one thing that lies in a registry, with the credentials for it.
    pub(crate) async fn get_with_auth<T: DeserializeOwned>(
        &self,
        path: &str,
        auth: Option<&HeaderValue>,
    ) -> Result<T, Failure> {
        let mut request = request(&self.base, path, &[])?;
        if let Some(auth) = auth {
            request.headers_mut().insert(REGISTRY_AUTH, auth.clone());
        }
        send(&self.transport, request).await
    }
}

async fn get<T: DeserializeOwned>(
    transport: &Transport,
    base: &str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<T, Failure> {
    send(transport, request(base, path, query)?).await
}

fn request(base: &str, path: &str, query: &[(&str, &str)]) -> Result<BollardRequest, Failure> {
    let mut url = url::Url::parse(base).map_err(|error| Failure::Garbled(error.into()))?;
    url.set_path(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let request = Request::get(url.as_str()).body(bollard::body_full(Bytes::new()));
    request.map_err(|error| Failure::Garbled(error.into()))
}

async fn send<T: DeserializeOwned>(transport: &Transport, request: BollardRequest) -> Result<T, Failure> {
    let response = transport(request).await?;
    let code = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(Failure::of_connection)?.to_bytes();
    if !code.is_success() {
        let words = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.message);
        let words = words.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned());
        return Err(Failure::Status { code: code.as_u16(), words });
    }
    serde_json::from_slice(&body).map_err(|error| Failure::Garbled(error.into()))
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn over<C: Connect + Clone + Send + Sync + 'static>(connector: C) -> Transport {
    let mut builder = Client::builder(TokioExecutor::new());
    // A connection for each call, as bollard has it: one that the engine has closed meanwhile is no failed call.
    builder.pool_max_idle_per_host(0);
    let client = builder.build(connector);
    Arc::new(move |request: BollardRequest| {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = client.request(request);
        response.map(move |answer| passed((&method, &path), answer?)).boxed()
    })
}

/// The answer of the engine, if it is one.
fn passed(call: (&Method, &str), answer: Response<Incoming>) -> Answer {
    match Withheld::find(call, answer.status(), answer.headers()) {
        Some(withheld) => Err(io::Error::new(io::ErrorKind::PermissionDenied, withheld).into()),
        None => Ok(answer),
    }
}

fn tcp(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_keepalive(Some(TCP_KEEPALIVE));
    connector.set_nodelay(true);
    connector
}

/// Bollard's own TLS also trusts every authority that this machine trusts, and goes on without a client certificate
/// that it cannot read. An engine's socket is root on its machine: here `ca.pem` alone counts, as for Docker's programs.
fn tls(folder: &Path) -> Result<rustls::ClientConfig> {
    let unusable = |name: &'static str| {
        move |error: &dyn fmt::Display| {
            Error::new(ErrorKind::Invalid, "a file for TLS cannot be used")
                .with("path", folder.join(name).display())
                .with("cause", error)
        }
    };
    let certificates = |name: &'static str| -> Result<Vec<CertificateDer<'static>>> {
        let found: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(folder.join(name)).and_then(Iterator::collect);
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(unusable(name)(&"there is no certificate in it")),
            Err(error) => Err(unusable(name)(&error)),
        }
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate).map_err(|error| unusable("ca.pem")(&error))?;
    }
    let key =
        PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(|error| unusable("key.pem")(&error))?;
    // Named here and not installed for the process: that is the embedding application's to do.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").because(error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(|error| unusable("key.pem")(&error))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: Option<String>,
}

impl VersionAnswer {
    /// The version that this crate is written for, or the oldest that the engine still speaks if that is newer.
    fn choose(&self) -> Result<ApiVersion, Failure> {
        let newest = ApiVersion::parse(&self.api_version);
        let oldest = self.min_api_version.as_deref().and_then(ApiVersion::parse);
        match newest {
            Some(newest) if newest >= WRITTEN_FOR => {
                Ok(oldest.map_or(WRITTEN_FOR, |oldest| oldest.max(WRITTEN_FOR)))
            }
            _ => Err(Failure::Unfit(
                Error::new(ErrorKind::Unsupported, "this engine is too old")
                    .with("found", format_args!("version {:.20} of the API", self.api_version))
                    .with("expected", format_args!("{WRITTEN_FOR}, which is Docker 20.10, or newer")),
            )),
        }
    }
}

/// A version of the engine's API.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// The same address in this version.
    fn pin(self, uri: &Uri) -> Result<Uri, hyper::http::Error> {
        let mut parts = uri.clone().into_parts();
        let path = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
        parts.path_and_query = Some(format!("/v{self}{path}").parse()?);
        Ok(Uri::from_parts(parts)?)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(newest: &str, oldest: Option<&str>) -> Option<String> {
        let answer =
            VersionAnswer { api_version: newest.to_owned(), min_api_version: oldest.map(str::to_owned) };
        answer.choose().ok().map(|version| version.to_string())
    }

    #[test]
    fn the_version_is_one_that_both_sides_know() {
        assert_eq!(choose("1.41", Some("1.12")).as_deref(), Some("1.41"));
        assert_eq!(choose("1.53", Some("1.24")).as_deref(), Some("1.41"));
        assert_eq!(choose("1.52", Some("1.44")).as_deref(), Some("1.44"));
        assert_eq!(choose("1.100", None).as_deref(), Some("1.41"));
        assert_eq!(choose("2.0", Some("2.0")).as_deref(), Some("2.0"));
        for too_old in ["1.40", "1.9", "0.99", "", "1", "new"] {
            assert_eq!(choose(too_old, None), None, "{too_old}");
        }
    }

    #[test]
    fn a_pinned_address_keeps_everything_else() {
        let uri: Uri = "unix://2f78:0/containers/a/wait?condition=not-running".parse().unwrap();
        let pinned = WRITTEN_FOR.pin(&uri).unwrap();
        assert_eq!(pinned, "unix://2f78:0/v1.41/containers/a/wait?condition=not-running");
    }
}
