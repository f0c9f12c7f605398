//! What stands between the engine and its client, or in the engine's place when that cannot be had as it must be.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

/// A socket in a folder of its own. Dropping it ends all connections.
pub(crate) struct StandIn {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl StandIn {
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// The first lines of all requests, as `GET /v1.41/info`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Answers each request with what `answer` makes of its first line, and closes; or keeps silent.
    pub(crate) fn answering(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::serving(move |mut stream, line| {
            let answer = answer(&line);
            async move {
                let Some(answer) = answer else { return std::future::pending().await };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
    }

    /// Hands everything on to the engine, and writes down what was asked.
    pub(crate) fn before(engine: &Path) -> Self {
        let engine = engine.to_owned();
        Self::serving(move |mut stream, head| {
            let engine = engine.clone();
            async move {
                let mut inner = UnixStream::connect(engine).await.unwrap();
                inner.write_all(head.as_bytes()).await.unwrap();
                // Whoever hangs up first is right.
                let _ = copy_bidirectional(&mut stream, &mut inner).await;
            }
        })
    }

    fn serving<F>(serve: impl Fn(UnixStream, String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = head(&mut stream).await;
                let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
                seen.lock().unwrap().push(line.to_owned());
                connections.spawn(serve(stream, head));
            }
        });
        Self { folder, requests, _tasks: tasks }
    }
}

/// All up to the empty line.
async fn head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A whole answer of an engine.
pub(crate) fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
