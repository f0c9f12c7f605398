//! Tokens of a GitHub App, from a server that looks at the signature.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, ErrorKind, Timestamp,
    source::{AppKey, GitAccess, GitHubApp, SyncFailureKind, Token, TokenProvider},
    testing::git::{Authority, HttpServer},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::{ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::{Desk, fetch, repository};

/// A clock that is set by hand.
#[derive(Debug)]
struct Hand(Mutex<Timestamp>);

impl Hand {
    fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now += by;
    }
}

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending::<()>().await;
    }
}

/// A key pair in the format that GitHub gives out.
fn key_pair(folder: &TempDir) -> (PathBuf, String) {
    let path = folder.path().join("app.pem");
    let kind = ["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"];
    assert!(Command::new("ssh-keygen").args(kind).arg(&path).status().unwrap().success());
    let public = Command::new("ssh-keygen").args(["-e", "-m", "PKCS8", "-f"]).arg(&path).output().unwrap();
    (path, String::from_utf8(public.stdout).unwrap())
}

/// GitHub's API, as far as it is needed. It grants `token-1`, `token-2` and so on, each for an hour of its clock.
struct Api {
    authority: Authority,
    address: SocketAddr,
    state: Arc<State>,
    serving: Option<JoinHandle<()>>,
}

struct State {
    public_key: String,
    clock: Arc<Hand>,
    /// What it answers instead of a token.
    instead: Mutex<Option<(u16, String)>>,
    granted: Mutex<Vec<String>>,
    is_over: Mutex<bool>,
}

impl Api {
    fn start(public_key: String, clock: &Arc<Hand>) -> Self {
        let authority = Authority::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            public_key,
            clock: Arc::clone(clock),
            instead: Mutex::default(),
            granted: Mutex::default(),
            is_over: Mutex::default(),
        });
        let (config, serving) = (authority.server(), Arc::clone(&state));
        let serving = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if *serving.is_over.lock().unwrap() {
                    break;
                }
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                serving.serve(StreamOwned::new(connection, stream));
            }
        });
        Self { authority, address, state, serving: Some(serving) }
    }

    fn app(&self, key: AppKey) -> GitHubApp {
        GitHubApp::new("12345", 67, key)
            .api(format!("https://{}/api/v3", self.address))
            .ca_certificates(self.authority.file())
            .clock(Arc::clone(&self.state.clock) as Arc<dyn Clock>)
    }

    fn answer(&self, status: u16, content: &str) {
        *self.state.instead.lock().unwrap() = Some((status, content.to_owned()));
    }

    fn granted(&self) -> usize {
        self.state.granted.lock().unwrap().len()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        *self.state.is_over.lock().unwrap() = true;
        let _ = std::net::TcpStream::connect(self.address);
        self.serving.take().unwrap().join().unwrap();
    }
}

impl State {
    fn serve(&self, mut stream: impl std::io::Read + Write) {
        let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
        let Some(first) = lines.next() else { return };
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let (status, content) =
            self.instead.lock().unwrap().clone().unwrap_or_else(|| self.grant(&first, &head));
        let length = content.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{content}"
        );
        let _ = stream.flush();
    }

    fn grant(&self, first: &str, head: &[String]) -> (u16, String) {
        if first != "POST /api/v3/app/installations/67/access_tokens HTTP/1.1" {
            return (404, String::new());
        }
        let signed =
            head.iter().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
        let key = DecodingKey::from_rsa_pem(self.public_key.as_bytes()).unwrap();
        let mut rules = Validation::new(Algorithm::RS256);
        // By the clock of the test, below.
        rules.validate_exp = false;
        rules.set_required_spec_claims(&["iss", "exp"]);
        rules.set_issuer(&["12345"]);
        let Ok(decoded) = jsonwebtoken::decode::<serde_json::Value>(signed, &key, &rules) else {
            return (401, String::new());
        };
        let now = self.clock.now().as_second();
        let (from, to) = (decoded.claims["iat"].as_i64().unwrap(), decoded.claims["exp"].as_i64().unwrap());
        if from > now || to <= now || to - from > 600 {
            return (401, String::new());
        }
        let mut granted = self.granted.lock().unwrap();
        let token = format!("token-{}", granted.len() + 1);
        granted.push(token.clone());
        let ends_at = self.clock.now() + Duration::from_hours(1);
        (201, serde_json::json!({ "token": token, "expires_at": ends_at, "permissions": {} }).to_string())
    }
}

fn clock() -> Arc<Hand> {
    Arc::new(Hand(Mutex::new("2026-01-02T03:04:05Z".parse().unwrap())))
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_its_end() {
    let (folder, clock) = (TempDir::new().unwrap(), clock());
    let (key, public) = key_pair(&folder);
    let api = Api::start(public, &clock);
    let app = api.app(AppKey::file(&key));
    for _ in 0..3 {
        assert_eq!(app.token().await.unwrap(), Token::new("token-1"));
    }
    clock.advance(Duration::from_secs(55 * 60 - 1));
    assert_eq!(app.token().await.unwrap(), Token::new("token-1"));
    clock.advance(Duration::from_secs(1));
    assert_eq!(app.token().await.unwrap(), Token::new("token-2"));
    app.refused().await;
    assert_eq!(app.token().await.unwrap(), Token::new("token-3"));
    assert_eq!(api.granted(), 3);
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart_and_shows_no_key() {
    let (folder, clock) = (TempDir::new().unwrap(), clock());
    let (key, public) = key_pair(&folder);
    let api = Api::start(public, &clock);
    let text = fs::read_to_string(&key).unwrap();
    let app = api.app(AppKey::text(&text));
    assert!(!format!("{app:?}").contains(text.lines().nth(1).unwrap()));
    for (status, content, kind) in [
        (401, "", ErrorKind::Denied),
        (404, "", ErrorKind::Denied),
        (503, "", ErrorKind::Unavailable),
        (201, "{\"token\": 1}", ErrorKind::Unavailable),
        (201, &" ".repeat(100_000), ErrorKind::Unavailable),
    ] {
        api.answer(status, content);
        assert_eq!(app.token().await.unwrap_err().kind(), kind, "{status}");
    }
    let untrusting = GitHubApp::new("12345", 67, AppKey::file(&key)).api(format!("https://{}", api.address));
    assert_eq!(untrusting.token().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let unprotected = api.app(AppKey::file(&key)).api("http://127.0.0.1:1");
    assert_eq!(unprotected.token().await.unwrap_err().kind(), ErrorKind::Invalid);
    let broken =
        api.app(AppKey::text("-----BEGIN RSA PRIVATE KEY-----\nnone\n-----END RSA PRIVATE KEY-----"));
    assert_eq!(broken.token().await.unwrap_err().kind(), ErrorKind::Invalid);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = api.app(AppKey::file(&key));
    assert_eq!(open.token().await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(api.granted(), 0);
}

#[test]
fn a_repository_is_fetched_with_the_token_of_an_app() {
    let Some((repository, commit)) = repository() else { return };
    let (folder, clock) = (TempDir::new().unwrap(), clock());
    let (key, public) = key_pair(&folder);
    let api = Api::start(public, &clock);
    let server = HttpServer::start(repository.root());
    server.require_token("token-1");
    let mut desk = Desk::of_http(&server);
    desk.config.access = GitAccess::tokens(api.app(AppKey::file(&key)));
    let mirror = desk.mirror();
    assert_eq!(fetch(&mirror).unwrap().commit.id.as_str(), commit);
    // It was withdrawn before its end.
    server.require_token("token-2");
    fetch(&mirror).unwrap();
    assert_eq!(api.granted(), 2);
    // The app itself was.
    server.require_token("another");
    api.answer(401, "");
    let failure = fetch(&mirror).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Authentication, "{failure}");
}
