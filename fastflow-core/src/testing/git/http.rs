//! A server for https in front of `git http-backend`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{ServerConnection, StreamOwned};

use super::{authority::Authority, cgi, listener::Listener};

/// The most bytes of a request's content.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// A server for https that serves the repositories of a folder, with a certificate of an [`Authority`] of its own.
///
/// ```no_run
/// use fastflow_core::testing::git::{HttpServer, Repository};
///
/// let repository = Repository::new();
/// let server = HttpServer::start(repository.root());
/// server.require_token("s3cret");
/// // ... a sync that is given `server.authority()` to trust ...
/// assert!(server.received().iter().all(|request| request.status != 401));
/// ```
#[derive(Debug)]
pub struct HttpServer {
    listener: Listener,
    authority: Authority,
    state: Arc<State>,
}

/// One request that came to an [`HttpServer`], and what was answered.
///
/// ```
/// # fn of(request: &fastflow_core::testing::git::Received) {
/// assert!(request.path.starts_with("/pipelines.git"));
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// `GET` or `POST`.
    pub method: String,
    /// The path without the question.
    pub path: String,
    /// Its content.
    pub body: Vec<u8>,
    /// Its `Authorization`, as it came.
    pub authorization: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the answer's content.
    pub sent_bytes: u64,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    token: Mutex<Option<String>>,
    /// The path that is sent elsewhere, and where.
    redirect: Mutex<Option<(String, String)>>,
    status: Mutex<Option<u16>>,
    received: Mutex<Vec<Received>>,
}

/// The head of a request.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    headers: Vec<(String, String)>,
}

impl HttpServer {
    /// Serves the repositories in `root` to everybody.
    pub fn start(root: &Path) -> Self {
        let authority = Authority::new();
        let state = Arc::new(State {
            root: root.to_owned(),
            token: Mutex::default(),
            redirect: Mutex::default(),
            status: Mutex::default(),
            received: Mutex::default(),
        });
        let (config, serving) = (authority.server(), Arc::clone(&state));
        let listener = Listener::start(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // One that breaks off is the client's business.
            let _ = serving.serve(StreamOwned::new(connection, stream));
        });
        Self { listener, authority, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The address of a repository.
    pub fn url(&self, repository: &str) -> String {
        Authority::url(self.address(), repository)
    }

    /// The file of whom a client has to trust.
    pub fn authority(&self) -> PathBuf {
        self.authority.file()
    }

    /// From now on, only who shows this token as a password is served.
    pub fn require_token(&self, token: &str) {
        *self.state.token.lock().unwrap() = Some(token.to_owned());
    }

    /// From now on, whoever asks for any repository is sent to this address instead, with the rest of its own.
    pub fn redirect_to(&self, base: &str) {
        self.redirect_from("", base);
    }

    /// The same for one repository, by its path.
    pub fn redirect_from(&self, path: &str, base: &str) {
        *self.state.redirect.lock().unwrap() = Some((path.to_owned(), base.to_owned()));
    }

    /// From now on, every request is answered with this status and nothing else.
    pub fn answer_with(&self, status: u16) {
        *self.state.status.lock().unwrap() = Some(status);
    }

    /// From now on, requests are served again.
    pub fn serve(&self) {
        *self.state.status.lock().unwrap() = None;
        *self.state.redirect.lock().unwrap() = None;
    }

    /// All requests so far, those that were refused too.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

impl State {
    fn serve(&self, mut stream: StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
        let mut reader = BufReader::new(&mut stream);
        let request = Request::read(&mut reader)?;
        let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = Vec::new();
        reader.take(length).take(MAX_BODY_BYTES).read_to_end(&mut body)?;
        // Noted before the answer goes out: whoever has it can look.
        let number = self.note(&request, &body);
        let answered = self.answer(&request, &body, &mut stream);
        let mut received = self.received.lock().unwrap();
        if let Ok((status, sent)) = answered {
            received[number].status = status;
            received[number].sent_bytes = sent;
        }
        drop(received);
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn note(&self, request: &Request, body: &[u8]) -> usize {
        let mut received = self.received.lock().unwrap();
        received.push(Received {
            method: request.method.clone(),
            path: request.path.clone(),
            body: body.to_vec(),
            authorization: request.header("authorization").map(str::to_owned),
            status: 0,
            sent_bytes: 0,
        });
        received.len() - 1
    }

    fn answer(&self, request: &Request, body: &[u8], client: &mut impl Write) -> io::Result<(u16, u64)> {
        if let Some(status) = *self.status.lock().unwrap() {
            return empty(client, status, "");
        }
        if !self.is_allowed(request) {
            return empty(client, 401, "WWW-Authenticate: Basic realm=\"git\"\r\n");
        }
        if let Some((path, base)) = &*self.redirect.lock().unwrap()
            && let Some((_, rest)) = request.path.split_once(".git")
            && request.path.starts_with(path.as_str())
        {
            return empty(client, 302, &format!("Location: {base}{rest}?{}\r\n", request.query));
        }
        cgi::answer(request, body, &self.root, client)
    }

    fn is_allowed(&self, request: &Request) -> bool {
        let Some(token) = &*self.token.lock().unwrap() else { return true };
        let shown = request.header("authorization").and_then(|text| text.strip_prefix("Basic "));
        let shown = shown.and_then(|text| String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok());
        shown.is_some_and(|text| text.split_once(':').is_some_and(|(_, password)| password == token))
    }
}

fn empty(client: &mut impl Write, status: u16, headers: &str) -> io::Result<(u16, u64)> {
    write!(client, "HTTP/1.1 {status} -\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")?;
    client.flush()?;
    Ok((status, 0))
}

impl Request {
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        let mut headers = Vec::new();
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { method, path, query, headers })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
