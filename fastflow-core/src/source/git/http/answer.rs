//! One request and its answer, as the library that speaks git wants them: streams.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf as _, Bytes};
use reqwest::{Method, header::HeaderMap};

use super::{Inner, MAX_QUESTION_BYTES};

/// A request. It is written to, then sent as a whole when somebody wants the answer.
#[derive(Clone, Debug)]
pub(in crate::source::git) struct Question {
    pub(super) method: Method,
    pub(super) url: String,
    /// The beginning of the address, which is that of the repository.
    pub(super) base: String,
    pub(super) headers: HeaderMap,
    body: Arc<Mutex<Vec<u8>>>,
}

impl Question {
    pub(super) fn new(method: Method, url: &str, base: &str, headers: HeaderMap) -> Self {
        Self { method, url: url.to_owned(), base: base.to_owned(), headers, body: Arc::default() }
    }

    pub(super) fn body(&self) -> Vec<u8> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Question {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        if body.len() + bytes.len() > MAX_QUESTION_BYTES {
            return Err(io::Error::other("the request has become too large"));
        }
        body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers or the content of an answer, which is asked for when the first of it is read.
#[derive(Debug)]
pub(in crate::source::git) struct Answer {
    shared: Arc<Mutex<Shared>>,
    part: Part,
    /// What has come and was not taken yet.
    here: Bytes,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Headers,
    Body,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<Inner>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Unasked(Question),
    /// The headers are there; they are taken once.
    Answered(reqwest::Response, Bytes),
    Over,
}

impl Answer {
    pub(super) fn headers(inner: &Arc<Inner>, question: &Question) -> Self {
        let shared = Shared { inner: Arc::clone(inner), stage: Stage::Unasked(question.clone()) };
        Self { shared: Arc::new(Mutex::new(shared)), part: Part::Headers, here: Bytes::new() }
    }

    pub(super) fn body(headers: &Self) -> Self {
        Self { shared: Arc::clone(&headers.shared), part: Part::Body, here: Bytes::new() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn next(&mut self, part: Part) -> io::Result<Bytes> {
        if let Stage::Unasked(question) = &self.stage {
            let response = self.inner.send(question);
            self.stage = Stage::Over;
            let response = response?;
            let lines = lines(response.headers());
            self.stage = Stage::Answered(response, lines);
        }
        let Stage::Answered(response, headers) = &mut self.stage else { return Ok(Bytes::new()) };
        if part == Part::Headers {
            return Ok(std::mem::take(headers));
        }
        let chunk = self.inner.runtime.block_on(self.inner.watch.wait(response.chunk()))?;
        match chunk {
            Ok(Some(chunk)) => self.inner.watch.receive(chunk.len()).map(|()| chunk),
            Ok(None) => {
                self.stage = Stage::Over;
                Ok(Bytes::new())
            }
            Err(error) => Err(self.inner.failed(error)),
        }
    }
}

fn lines(headers: &HeaderMap) -> Bytes {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text.into()
}

impl BufRead for Answer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.here.is_empty() {
            let next = loop {
                let mut shared = self.shared();
                let next = shared.next(self.part)?;
                // A chunk may be empty without being the last one.
                if !next.is_empty() || self.part == Part::Headers || matches!(shared.stage, Stage::Over) {
                    break next;
                }
            };
            self.here = next;
        }
        Ok(&self.here)
    }

    fn consume(&mut self, bytes: usize) {
        self.here.advance(bytes);
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let here = self.fill_buf()?;
        let taken = here.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&here[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}
