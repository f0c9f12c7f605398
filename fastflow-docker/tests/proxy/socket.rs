//! The engine itself, for what tests do beside the code under test.

use std::path::Path;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error};
use futures::FutureExt as _;
use hyper::Uri;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// How long one call may take, in seconds.
const CALL_SECONDS: u64 = 60;

pub(crate) fn docker(socket: &Path) -> Docker {
    let base = Uri::from(hyperlocal::Uri::new(socket, "/")).to_string();
    let client = Client::builder(TokioExecutor::new()).build(hyperlocal::UnixConnector);
    let send = move |request: BollardRequest| {
        let answer = client.request(request);
        answer.map(|answer| answer.map_err(Error::from)).boxed()
    };
    let base = Some(base.trim_end_matches('/'));
    Docker::connect_with_custom_transport(send, base, CALL_SECONDS, API_DEFAULT_VERSION).unwrap()
}
