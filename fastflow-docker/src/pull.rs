//! Getting an image: progress for people, a limit by progress, and failures in the middle of a success.

use std::{path::Path, time::Duration};

use bollard::{
    Docker,
    models::CreateImageInfo,
    query_parameters::{CreateImageOptions, CreateImageOptionsBuilder},
};
use fastflow_core::{Clock, Error, ErrorKind, Result, environment::SetupLog, executor::ImageName};
use futures::StreamExt;
use hyper::header::HeaderValue;
use serde::de::IgnoredAny;

use crate::{
    connect::{Api, REGISTRY_AUTH},
    credentials::{self, Found},
    engine::DockerEngine,
    error::Failure,
};

/// The time between two lines of progress.
const LINE_INTERVAL: Duration = Duration::from_millis(500);

/// What is to be got, and how.
#[derive(Clone, Copy)]
pub(crate) struct Pull<'a> {
    pub image: &'a ImageName,
    /// Where the credentials are.
    pub folder: Option<&'a Path>,
    /// How long there may be no progress.
    pub stall: Duration,
    pub clock: &'a dyn Clock,
}

pub(crate) async fn pull(engine: &DockerEngine, pull: Pull<'_>, log: &dyn SetupLog) -> Result<()> {
    let auth = auth(pull, log).await?;
    let Err(failure) = get(engine, pull, auth.as_ref(), log).await else { return Ok(()) };
    let kind = classify(engine, &failure, pull.image, auth.as_ref()).await;
    let what = "an image cannot be had";
    Err(match kind {
        Some(kind) => failure.into_error_of(kind, what),
        None => failure.into_error(what),
    })
}

async fn auth(pull: Pull<'_>, log: &dyn SetupLog) -> Result<Option<HeaderValue>> {
    let (folder, image) = (pull.folder.map(Path::to_owned), pull.image.clone());
    let found = tokio::task::spawn_blocking(move || credentials::find(folder.as_deref(), &image));
    let found = tokio::select! {
        found = found => found,
        () = pull.clock.sleep(pull.stall) => {
            return Err(Error::new(ErrorKind::Unavailable, "the credentials for the registry cannot be had")
                .with("no answer within", format_args!("{:?}", pull.stall)));
        }
    };
    match found
        .map_err(|error| Error::new(ErrorKind::Internal, "looking for credentials failed").because(error))??
    {
        Found::Auth(auth) => Ok(Some(auth)),
        Found::Nothing => Ok(None),
        Found::HelperFailed(helper) => {
            log.line(&format!("{helper} gave no credentials for {}: trying without", pull.image));
            Ok(None)
        }
    }
}

async fn get(
    engine: &DockerEngine,
    pull: Pull<'_>,
    auth: Option<&HeaderValue>,
    log: &dyn SetupLog,
) -> Result<(), Failure> {
    let docker = with_auth(engine.ask(async |api: Api| Ok(api.docker().clone())).await?, auth);
    let mut lines = docker.create_image(Some(options(pull.image)), None, None);
    let mut progress = Progress { clock: pull.clock, log, last: None };
    loop {
        let line = tokio::select! {
            biased;
            line = lines.next() => line,
            () = pull.clock.sleep(pull.stall) => return Err(Failure::TimedOut(pull.stall)),
        };
        match line {
            Some(line) => progress.tell(&line?),
            None => return Ok(()),
        }
    }
}

/// Bollard would encode the credentials wrongly, so the header comes from here.
fn with_auth(docker: Docker, auth: Option<&HeaderValue>) -> Docker {
    let Some(auth) = auth.cloned() else { return docker };
    docker.with_request_modifier(move |mut request| {
        request.headers_mut().insert(REGISTRY_AUTH, auth.clone());
        request
    })
}

/// Without a tag Docker would get all that there are.
fn options(image: &ImageName) -> CreateImageOptions {
    let tag = if image.tag().is_none() && image.digest().is_none() { "latest" } else { "" };
    CreateImageOptionsBuilder::new().from_image(image.as_str()).tag(tag).build()
}

/// Docker says 500 when the registry wants other credentials, and anything within the stream. What the registry itself
/// answers when it is asked for nothing but the image's description, Docker hands on as it is.
async fn classify(
    engine: &DockerEngine,
    failure: &Failure,
    image: &ImageName,
    auth: Option<&HeaderValue>,
) -> Option<ErrorKind> {
    if !matches!(failure, Failure::Status { .. } | Failure::Late { .. }) {
        return None;
    }
    let path = format!("/distribution/{image}/json");
    let asked = engine.ask(async |api: Api| api.get_with_auth::<IgnoredAny>(&path, auth).await).await;
    match asked.err()?.status()? {
        401 | 403 => Some(ErrorKind::Denied),
        404 => Some(ErrorKind::NotFound),
        _ => None,
    }
}

struct Progress<'a> {
    clock: &'a dyn Clock,
    log: &'a dyn SetupLog,
    last: Option<Duration>,
}

impl Progress<'_> {
    /// Tells the person who waits what happens now, but not all of it.
    fn tell(&mut self, info: &CreateImageInfo) {
        let Some(status) = info.status.as_deref().filter(|status| !status.is_empty()) else { return };
        let now = self.clock.elapsed();
        let layer = info.id.as_deref().unwrap_or_default();
        if !layer.is_empty() && self.last.is_some_and(|last| now.saturating_sub(last) < LINE_INTERVAL) {
            return;
        }
        self.last = Some(now);
        let detail = info.progress_detail.as_ref();
        let bytes = detail.and_then(|detail| Some((detail.current?, detail.total?)));
        self.log.line(&match bytes {
            Some((current, total)) => {
                format!("{layer}: {status}, {} of {}", Megabytes(current), Megabytes(total))
            }
            None if layer.is_empty() => status.to_owned(),
            None => format!("{layer}: {status}"),
        });
    }
}

struct Megabytes(i64);

impl std::fmt::Display for Megabytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = self.0 / 100_000;
        write!(f, "{}.{} MB", tenths / 10, tenths % 10)
    }
}
