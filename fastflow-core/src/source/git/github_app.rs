//! Tokens of a GitHub App.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{
    access::{Token, TokenProvider, read_secret},
    http::{Trust, client, words},
    ssh::check_owner_only,
};
use crate::{Clock, Error, ErrorKind, Result, SystemClock, Timestamp};

/// Where GitHub's own API is.
const GITHUB: &str = "https://api.github.com";
/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_mins(5);
/// How long our signature is good for, and how far our clock may be ahead of GitHub's, in seconds.
const SIGNED_SECS: i64 = 9 * 60;
const SKEW_SECS: i64 = 60;
/// The largest answer, in bytes, and the longest wait for it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest key, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Tokens of a GitHub App, as it is installed for some repositories. Each is used until shortly before its end.
///
/// ```
/// use fastflow_core::source::{AppKey, GitAccess, GitHubApp};
///
/// let app = GitHubApp::new("12345", 67890, AppKey::file("/run/secrets/app.pem"))
///     .api("https://github.example.org/api/v3");
/// let access = GitAccess::tokens(app);
/// ```
#[derive(Debug)]
pub struct GitHubApp {
    app: String,
    installation: u64,
    key: AppKey,
    api: String,
    trust: Trust,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Kept>>,
}

/// The private key of a GitHub App: RSA, in PEM.
///
/// ```
/// use fastflow_core::source::AppKey;
///
/// assert_eq!(format!("{:?}", AppKey::text("-----BEGIN…")), "AppKey(…)");
/// ```
#[derive(Clone)]
pub struct AppKey(Key);

#[derive(Clone)]
enum Key {
    Text(Zeroizing<String>),
    File(PathBuf),
}

impl AppKey {
    /// The key itself.
    pub fn text(pem: impl Into<String>) -> Self {
        Self(Key::Text(Zeroizing::new(pem.into())))
    }

    /// A file that holds it, which only its owner may be able to read. It is read whenever it is used.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Key::File(path.into()))
    }

    fn read(&self) -> Result<EncodingKey> {
        let pem = match &self.0 {
            Key::Text(pem) => pem.clone(),
            Key::File(path) => {
                check_owner_only(path)?;
                read_secret(path, MAX_KEY_BYTES)?
            }
        };
        EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| {
            // The library's words may quote what it read.
            Error::new(ErrorKind::Invalid, "the key of the GitHub App is not an RSA key in PEM")
        })
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Key::Text(_) => f.write_str("AppKey(…)"),
            Key::File(path) => write!(f, "AppKey({})", path.display()),
        }
    }
}

#[derive(Debug)]
struct Kept {
    token: Token,
    ends_at: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct Granted {
    token: Zeroizing<String>,
    expires_at: Timestamp,
}

impl GitHubApp {
    /// The app by its number or client id, and the number of its installation.
    pub fn new(app: impl Into<String>, installation: u64, key: AppKey) -> Self {
        Self {
            app: app.into(),
            installation,
            key,
            api: GITHUB.to_owned(),
            trust: Trust::new(None),
            clock: Arc::new(SystemClock::new()),
            kept: Mutex::new(None),
        }
    }

    /// Where the API of a GitHub Enterprise Server is: `https://<host>/api/v3`.
    #[must_use]
    pub fn api(mut self, url: impl Into<String>) -> Self {
        self.api = url.into();
        self
    }

    /// A file in PEM with certificate authorities that are trusted beside those of the machine.
    #[must_use]
    pub fn ca_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.trust = Trust::new(Some(file.into()));
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    async fn grant(&self) -> Result<Kept> {
        let url = self.url()?;
        let signed = self.signed()?;
        let request = client(&self.trust)?
            .post(url)
            .bearer_auth(signed.as_str())
            .header("Accept", "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28");
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let answer = read_answer(response).await?;
        if status != StatusCode::CREATED {
            return Err(refused(status));
        }
        let granted: Granted = serde_json::from_slice(&answer).map_err(|_| {
            Error::new(ErrorKind::Unavailable, "the answer of GitHub's API holds no token that can be read")
        })?;
        Ok(Kept { token: Token::new(granted.token.as_str()), ends_at: granted.expires_at })
    }

    fn url(&self) -> Result<Url> {
        let text = format!(
            "{}/app/installations/{}/access_tokens",
            self.api.trim_end_matches('/'),
            self.installation
        );
        let url = Url::parse(&text).ok().filter(|url| url.scheme() == "https" && url.username().is_empty());
        url.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "GitHub's API is at an address of https, without a user")
        })
    }

    /// Proves that we are the app.
    fn signed(&self) -> Result<Zeroizing<String>> {
        let now = self.clock.now().as_second();
        let claims = Claims { iat: now - SKEW_SECS, exp: now + SIGNED_SECS, iss: &self.app };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key.read()?);
        signed
            .map(Zeroizing::new)
            .map_err(|_| Error::new(ErrorKind::Invalid, "the key of the GitHub App cannot sign"))
    }
}

#[async_trait]
impl TokenProvider for GitHubApp {
    async fn token(&self) -> Result<Token> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = &*kept
            && self.clock.now() + MARGIN < kept.ends_at
        {
            return Ok(kept.token.clone());
        }
        let granted = tokio::select! {
            granted = self.grant() => granted?,
            () = self.clock.sleep(ANSWER_TIMEOUT) => {
                return Err(Error::new(ErrorKind::Unavailable, "GitHub's API does not answer")
                    .with("seconds", ANSWER_TIMEOUT.as_secs()));
            }
        };
        let token = granted.token.clone();
        *kept = Some(granted);
        Ok(token)
    }

    async fn refused(&self) {
        *self.kept.lock().await = None;
    }
}

async fn read_answer(mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>> {
    let mut answer = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Error::new(ErrorKind::Unavailable, "the answer of GitHub's API is too large")
                .with("max_bytes", MAX_ANSWER_BYTES));
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn unreachable(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "GitHub's API cannot be reached").because(words(error))
}

fn refused(status: StatusCode) -> Error {
    let (kind, message) = match status {
        StatusCode::UNAUTHORIZED => (ErrorKind::Denied, "GitHub does not accept the app's number or its key"),
        StatusCode::FORBIDDEN => (ErrorKind::Denied, "GitHub does not let the app have a token"),
        StatusCode::NOT_FOUND => (ErrorKind::Denied, "GitHub knows no such installation of the app"),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            (ErrorKind::Unavailable, "GitHub's API has failed")
        }
        _ => (ErrorKind::Denied, "GitHub's API gives no token"),
    };
    Error::new(kind, message).with("status", status.as_u16())
}
