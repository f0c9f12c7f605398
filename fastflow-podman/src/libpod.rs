//! A small client of Podman's own API, for the calls that `podman-api` does not make soundly.
//!
//! Every request asks for version 4.0.0 of the API, so that newer engines answer in the same words.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use fastflow_core::Clock;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST, HeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{config::PodmanHost, connect, error::Failure};

/// The longest answer that is read as a whole. Lists do not come through here.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// The longest line of an answer that is read line by line.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What needs no escape in a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The way to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Libpod {
    host: PodmanHost,
    clock: Arc<dyn Clock>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    target: String,
    body: Bytes,
    auth: Option<HeaderValue>,
}

impl Call {
    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, "/v4.0.0/libpod", path)
    }

    pub(crate) fn post(path: &[&str]) -> Self {
        Self::new(Method::POST, "/v4.0.0/libpod", path)
    }

    pub(crate) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, "/v4.0.0/libpod", path)
    }

    /// A request to the part of the API that is like Docker's.
    pub(crate) fn post_as_docker(path: &[&str]) -> Self {
        Self::new(Method::POST, "/v1.41", path)
    }

    fn new(method: Method, prefix: &str, path: &[&str]) -> Self {
        let mut target = prefix.to_owned();
        for part in path {
            target.push('/');
            target.extend(utf8_percent_encode(part, PLAIN));
        }
        Self { method, target, body: Bytes::new(), auth: None }
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.extend(utf8_percent_encode(name, PLAIN));
        self.target.push('=');
        self.target.extend(utf8_percent_encode(value, PLAIN));
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Failure> {
        self.body = serde_json::to_vec(body).map_err(|error| Failure::Garbled(error.into()))?.into();
        Ok(self)
    }

    /// Credentials for a registry, as a header's value.
    pub(crate) fn auth(mut self, auth: Option<HeaderValue>) -> Self {
        self.auth = auth;
        self
    }

    fn into_request(self) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder().method(self.method).uri(self.target).header(HOST, "podman");
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(auth) = self.auth {
            request = request.header("X-Registry-Auth", auth);
        }
        request.body(Full::new(self.body)).map_err(|error| Failure::Garbled(error.into()))
    }
}

/// An answer that has been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Garbled(error.into()))
    }
}

/// What Podman says with a code other than success.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Libpod {
    pub(crate) fn new(host: PodmanHost, clock: Arc<dyn Clock>) -> Self {
        Self { host, clock }
    }

    /// Asks, and reads the answer, within `limit`. Codes of 400 and above are failures.
    pub(crate) async fn ask(&self, call: Call, limit: Duration) -> Result<Answer, Failure> {
        self.within(limit, async { self.send(call).await?.read().await }).await
    }

    /// Asks, and reads the answer however long it takes to come: only the way to the engine has a `limit`.
    pub(crate) async fn ask_patiently(&self, call: Call, limit: Duration) -> Result<Answer, Failure> {
        let connection = self.within(limit, connect::open(&self.host)).await?;
        connection.send(call.into_request()?).await?.read().await
    }

    /// Asks for an answer that is read line by line. The `limit` is that of its beginning, and of each line.
    pub(crate) async fn lines(&self, call: Call, limit: Duration) -> Result<Lines<'_>, Failure> {
        let reply = self.within(limit, self.send(call)).await?;
        if reply.response.status().is_success() {
            return Ok(Lines { libpod: self, reply, limit, read: BytesMut::new(), has_ended: false });
        }
        // Never a success: the code is looked at before the answer is read.
        let answer = self.within(limit, reply.read()).await?;
        Err(Failure::Status { code: answer.status.as_u16(), words: String::new() })
    }

    /// What `work` gives, if it does so in time.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.clock.sleep(limit) => Err(Failure::TimedOut(limit)),
        }
    }

    async fn send(&self, call: Call) -> Result<Reply, Failure> {
        connect::open(&self.host).await?.send(call.into_request()?).await
    }
}

/// The beginning of an answer, and the connection that brings the rest.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: connect::Driver,
}

impl Reply {
    async fn read(self) -> Result<Answer, Failure> {
        let (head, body) = self.response.into_parts();
        let body =
            Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(Failure::of_connection)?.to_bytes();
        drop(self.connection);
        if head.status.as_u16() < 400 {
            return Ok(Answer { status: head.status, body });
        }
        let words = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.message);
        let words = words.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned());
        Err(Failure::Status { code: head.status.as_u16(), words })
    }
}

/// An answer that comes line by line.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    libpod: &'a Libpod,
    reply: Reply,
    limit: Duration,
    read: BytesMut,
    has_ended: bool,
}

impl Lines<'_> {
    /// The next line that is not empty, without its end. `None` after the last one; an answer that breaks off is a
    /// failure.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let end = self.read.iter().position(|byte| *byte == b'\n');
            let line = match end {
                Some(end) => {
                    let mut line = self.read.split_to(end + 1);
                    line.truncate(end);
                    line
                }
                None if self.has_ended && self.read.is_empty() => return Ok(None),
                None if self.has_ended => self.read.split(),
                None if self.read.len() > MAX_LINE_BYTES => {
                    return Err(Failure::Garbled("a line without an end".into()));
                }
                None => {
                    self.fill().await?;
                    continue;
                }
            };
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        let frame = self.reply.response.body_mut().frame();
        let limited =
            self.libpod.within(self.limit, async { frame.await.transpose().map_err(Failure::of_connection) });
        match limited.await? {
            Some(frame) => self.read.extend(frame.into_data().ok()),
            None => self.has_ended = true,
        }
        Ok(())
    }
}
