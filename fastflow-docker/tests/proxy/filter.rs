//! A filter before the engine's socket that decides as `docker-socket-proxy` does, by its `haproxy.cfg`: by method, by
//! the beginning of the path, and by nothing else. It writes down what was asked, and hangs up where nothing comes.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fastflow_core::{Clock as _, SystemClock};
use futures::{StreamExt, stream};
use http_body_util::{BodyDataStream, BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::Notify,
    task::JoinSet,
};

/// The sections of the API that a variable of their name opens. `_ping` is opened by `PING`.
const SECTIONS: [&str; 23] = [
    "auth",
    "build",
    "commit",
    "configs",
    "containers",
    "distribution",
    "events",
    "exec",
    "grpc",
    "images",
    "info",
    "networks",
    "nodes",
    "_ping",
    "plugins",
    "secrets",
    "services",
    "session",
    "swarm",
    "system",
    "tasks",
    "version",
    "volumes",
];
/// The calls on one container that a variable of their own opens, too.
const ACTIONS: [(&str, &[&str]); 3] = [
    ("ALLOW_RESTARTS", &["stop", "restart", "kill"]),
    ("ALLOW_START", &["start"]),
    ("ALLOW_STOP", &["stop"]),
];

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One that listens until it is dropped.
pub(crate) struct Filter {
    shared: Arc<Shared>,
    address: String,
    _serving: JoinSet<()>,
}

struct Shared {
    engine: PathBuf,
    variables: BTreeSet<&'static str>,
    /// How long the engine may say nothing in the middle of an answer: `timeout server`.
    patience: Duration,
    asked: Mutex<Vec<Asked>>,
    cut: AtomicUsize,
    hang_up: Notify,
}

/// What was asked, and whether it came through.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) passed: bool,
}

impl Filter {
    /// Listens on a port of this machine, with these variables set to 1 and all others to 0.
    pub(crate) async fn start(engine: &Path, variables: &[&'static str], patience: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            variables: variables.iter().copied().collect(),
            patience,
            asked: Mutex::default(),
            cut: AtomicUsize::new(0),
            hang_up: Notify::new(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address, _serving: serving }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many answers were cut short.
    pub(crate) fn cut(&self) -> usize {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// Cuts all answers that are on their way, as one that is restarted does.
    pub(crate) fn hang_up(&self) {
        self.shared.hang_up.notify_waiters();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(serve(client, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // A client that hangs up in the middle is none of the filter's business.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let passed = allows(&self.variables, &method, &path);
        self.asked.lock().unwrap().push(Asked { method, path, passed });
        if !passed {
            return page(StatusCode::FORBIDDEN);
        }
        let answer = forward(&self.engine, request).await;
        match answer {
            Ok(answer) => answer.map(|body| self.patiently(body)),
            Err(_) => page(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Hands a body on piece by piece, until the engine is silent for too long.
    fn patiently(self: Arc<Self>, body: Incoming) -> Body {
        let pieces = stream::unfold(Some((self, BodyDataStream::new(body))), async |state| {
            let (shared, mut pieces) = state?;
            let clock = SystemClock::new();
            let piece = tokio::select! {
                piece = pieces.next() => Some(piece?),
                () = clock.sleep(shared.patience) => None,
                () = shared.hang_up.notified() => None,
            };
            let Some(piece) = piece else {
                shared.cut.fetch_add(1, Ordering::Relaxed);
                return Some((Err(io::ErrorKind::TimedOut.into()), None));
            };
            Some((piece.map(Frame::data).map_err(io::Error::other), Some((shared, pieces))))
        });
        BodyExt::boxed_unsync(StreamBody::new(pieces))
    }
}

async fn forward(engine: &Path, request: Request<Incoming>) -> Result<Response<Incoming>, hyper::Error> {
    // Without an engine there is nothing to test.
    let engine = UnixStream::connect(engine).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(engine)).await?;
    // It ends with the answer, or with the one who reads it.
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// A refusal in the words of haproxy, which are HTML.
fn page(status: StatusCode) -> Response<Body> {
    let text = format!("<html><body><h1>{status}</h1>\n</body></html>\n");
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header(CONTENT_TYPE, "text/html").body(body).unwrap()
}

/// Whether `docker-socket-proxy` with these variables lets the call through.
fn allows(variables: &BTreeSet<&str>, method: &Method, path: &str) -> bool {
    if ![Method::GET, Method::HEAD].contains(method) && !variables.contains("POST") {
        return false;
    }
    let path = path.to_ascii_lowercase();
    let path = without_version(&path);
    let action = path.strip_prefix("/containers/").and_then(|rest| rest.split_once('/'));
    let is_named =
        |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if let Some((_, action)) = action.filter(|(id, _)| is_named(id)) {
        let by = |actions: &[&str]| actions.iter().any(|name| action.starts_with(name));
        if ACTIONS.iter().any(|(variable, actions)| variables.contains(variable) && by(actions)) {
            return true;
        }
    }
    let is_open = |section: &&str| {
        let variable = section.trim_start_matches('_').to_ascii_uppercase();
        path.strip_prefix('/').is_some_and(|rest| rest.starts_with(*section))
            && variables.contains(&*variable)
    };
    SECTIONS.iter().any(is_open)
}

fn without_version(path: &str) -> &str {
    let rest =
        path.strip_prefix("/v").map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    rest.filter(|rest| rest.starts_with('/') && !path.starts_with("/v/")).unwrap_or(path)
}

#[test]
fn it_decides_as_docker_socket_proxy_does() {
    let get =
        |variables: &[&'static str], path| allows(&variables.iter().copied().collect(), &Method::GET, path);
    let post =
        |variables: &[&'static str], path| allows(&variables.iter().copied().collect(), &Method::POST, path);
    assert!(get(&["CONTAINERS"], "/containers/json") && get(&["CONTAINERS"], "/v1.41/Containers/x/json"));
    assert!(
        !post(&["CONTAINERS"], "/containers/create") && post(&["CONTAINERS", "POST"], "/containers/create")
    );
    assert!(post(&["ALLOW_START", "POST"], "/v1.41/containers/x/start"));
    assert!(!post(&["ALLOW_START", "POST"], "/v1.41/containers/create"));
    assert!(!post(&["ALLOW_START"], "/v1.41/containers/x/start"));
    assert!(post(&["ALLOW_RESTARTS", "POST"], "/containers/x/kill"));
    assert!(!post(&["ALLOW_STOP", "POST"], "/containers/x/kill"));
    assert!(get(&["PING"], "/_ping") && get(&["VERSION"], "/version") && !get(&[], "/version"));
    assert!(!get(&["VERSION"], "/volumes") && get(&["VOLUMES"], "/v1.41/volumes"));
}
