//! Git over https, by a client of our own: gix's takes no certificates, follows redirects to other hosts, and cannot be
//! interrupted while the server is silent.

mod answer;
mod tls;

use std::{
    any::Any,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};
use reqwest::{
    Method, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use self::answer::{Answer, Question};
pub(super) use self::tls::{Trust, distrusts, words};
use super::watch::Watch;
use crate::{Error, ErrorKind, Result, source::SyncFailureKind as Kind};

/// How long it may take until there is a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the first request is sent elsewhere.
const MAX_REDIRECTS: u32 = 5;
/// The most of what is asked, in bytes: what we have and what we want.
const MAX_QUESTION_BYTES: usize = 16 << 20;

/// A client for one exchange with a server.
#[derive(Debug)]
pub(super) struct HttpClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    runtime: Runtime,
    client: reqwest::Client,
    authorization: Option<HeaderValue>,
    watch: Arc<Watch>,
    /// Where the server has sent us, on the same host.
    moved: Mutex<Option<String>>,
}

impl HttpClient {
    /// A client that shows `authorization` with each request, to one host only.
    pub(super) fn new(
        trust: &Trust,
        authorization: Option<Zeroizing<String>>,
        watch: &Arc<Watch>,
    ) -> Result<Self> {
        let internal = |message, error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Internal, message).because(error)
        };
        let authorization = authorization.map(|text| {
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Error::new(ErrorKind::Invalid, "the user of the token cannot be sent"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let client = client(trust)?;
        Ok(Self {
            inner: Arc::new(Inner {
                runtime: runtime.map_err(|error| internal("no runtime can be had", error.into()))?,
                client,
                authorization: authorization.transpose()?,
                watch: Arc::clone(watch),
                moved: Mutex::new(None),
            }),
        })
    }

    fn ask(&self, question: Question) -> PostResponse<Answer, Answer, Question> {
        let headers = Answer::headers(&self.inner, &question);
        let body = Answer::body(&headers);
        PostResponse { post_body: question, headers, body }
    }
}

/// A client that speaks to whom it is told to and to nobody else: no proxy of the environment, no redirects.
pub(super) fn client(trust: &Trust) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(trust.config()?)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .user_agent(concat!("git/2 fast-flow/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Internal, "no client for https can be had").because(words(error))
        })
}

impl Inner {
    /// Sends a question, and follows to where it is sent, which has to be the same host.
    fn send(&self, question: &Question) -> io::Result<reqwest::Response> {
        let (mut url, tail) = self.place(question)?;
        for _ in 0..=MAX_REDIRECTS {
            let request = self.client.request(question.method.clone(), url.clone());
            let mut headers = question.headers.clone();
            if let Some(authorization) = &self.authorization {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let request = request.headers(headers).body(question.body());
            let response = self.runtime.block_on(self.watch.wait(request.send()))?;
            let response = response.map_err(|error| self.failed(error))?;
            if !response.status().is_redirection() {
                return self.accepted(response);
            }
            url = self.follow(&url, &response, question, &tail)?;
        }
        Err(self.watch.fail(Kind::Refused, "the server sends us from one address to the next, without end"))
    }

    /// Where a question goes, and what has to be the end of it wherever it is sent.
    fn place(&self, question: &Question) -> io::Result<(Url, String)> {
        let tail = question.url.strip_prefix(&question.base).unwrap_or_default().to_owned();
        let base = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = base.map_or_else(|| question.url.clone(), |base| format!("{base}{tail}"));
        let url = Url::parse(&text).map_err(|error| {
            self.watch.fail(Kind::Refused, format!("this is not an address of a server: {error}"))
        })?;
        Ok((url, tail))
    }

    fn follow(
        &self,
        from: &Url,
        response: &reqwest::Response,
        question: &Question,
        tail: &str,
    ) -> io::Result<Url> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.join(location).ok());
        let Some(to) = to.filter(|_| question.method == Method::GET) else {
            return Err(self
                .watch
                .fail(Kind::Refused, "the server sends us elsewhere, and does not say where"));
        };
        if to.origin() != from.origin() || !to.username().is_empty() || to.password().is_some() {
            let message = format!(
                "the server sends us to another one, {}, which is not followed; if that is right, make it the \
                 address",
                to.origin().ascii_serialization()
            );
            return Err(self.watch.fail(Kind::Refused, message));
        }
        let Some(base) = to.as_str().strip_suffix(tail) else {
            let message = "the server sends us to something that is not a repository";
            return Err(self.watch.fail(Kind::Refused, message));
        };
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(base.to_owned());
        Ok(to)
    }

    /// The answer, if it is one.
    fn accepted(&self, response: reqwest::Response) -> io::Result<reqwest::Response> {
        let status = response.status();
        let who = if self.authorization.is_some() { "the token" } else { "us without a token" };
        let (kind, message) = match status {
            _ if status.is_success() => return Ok(response),
            StatusCode::UNAUTHORIZED => (Kind::Authentication, format!("the server does not accept {who}")),
            StatusCode::FORBIDDEN => {
                (Kind::Authentication, format!("the server does not let {who} read this repository"))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                (Kind::Missing, format!("the server has no such repository, or does not let {who} see it"))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                (Kind::Unreachable, "the server wants fewer requests".to_owned())
            }
            _ if status.is_server_error() => (Kind::Unreachable, "the server has failed".to_owned()),
            _ => (Kind::Refused, "the server does not answer as one of git does".to_owned()),
        };
        Err(self.watch.fail(kind, format!("{message} (status {})", status.as_u16())))
    }

    fn failed(&self, error: reqwest::Error) -> io::Error {
        if distrusts(&error) {
            let message = format!(
                "the certificate of the server is not trusted; if its authority is your own, name it in \
                 ca_certificates: {}",
                words(error)
            );
            return self.watch.fail(Kind::HostKey, message);
        }
        self.watch
            .fail(Kind::Unreachable, format!("the server cannot be reached, or broke off: {}", words(error)))
    }
}

impl Http for HttpClient {
    type Headers = Answer;
    type ResponseBody = Answer;
    type PostBody = Question;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Answer, Answer>> {
        let question = Question::new(Method::GET, url, base_url, parsed(headers));
        Ok(self.ask(question).into())
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Answer, Answer, Question>> {
        Ok(self.ask(Question::new(Method::POST, url, base_url, parsed(headers))))
    }

    fn configure(&mut self, _: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.inner.moved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn parsed(lines: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Some((name, value)) = line.as_ref().split_once(':')
            && let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.trim().parse())
        {
            headers.append(name, value);
        }
    }
    headers
}
