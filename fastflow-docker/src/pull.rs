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
        Found::HelperFailed(reason) => {
            log.line(&format!("no credentials for {} ({reason}): trying without", pull.image));
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
    let mut progress = Progress { log, last: None, pending: None };
    let mut heard = pull.clock.elapsed();
    loop {
        let limit = heard + pull.stall;
        let next = progress.due().map_or(limit, |due| due.min(limit));
        let line = tokio::select! {
            biased;
            line = lines.next() => line,
            () = pull.clock.sleep(next.saturating_sub(pull.clock.elapsed())) => {
                let now = pull.clock.elapsed();
                progress.catch_up(now);
                if now >= limit {
                    return Err(Failure::TimedOut(pull.stall));
                }
                continue;
            }
        };
        let Some(line) = line else { return Ok(()) };
        heard = pull.clock.elapsed();
        progress.tell(&line?, heard);
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
    let mut refusal = refusal(engine, image, auth).await;
    if auth.is_none() && refusal == Some(500) {
        // Without credentials Docker does not even ask a registry that wants a password, and says 500 for it.
        refusal = self::refusal(engine, image, Some(&credentials::of_nobody())).await;
    }
    match refusal? {
        401 | 403 => Some(ErrorKind::Denied),
        404 => Some(ErrorKind::NotFound),
        _ => None,
    }
}

/// The code with which the registry does not describe an image.
async fn refusal(engine: &DockerEngine, image: &ImageName, auth: Option<&HeaderValue>) -> Option<u16> {
    let path = format!("/distribution/{image}/json");
    let asked = engine.ask(async |api: Api| api.get_with_auth::<IgnoredAny>(&path, auth).await).await;
    asked.err()?.status()
}

/// Tells the person who waits what happens now, but not all of it.
struct Progress<'a> {
    log: &'a dyn SetupLog,
    /// When the last line was told.
    last: Option<Duration>,
    /// The newest that was not told yet.
    pending: Option<String>,
}

impl Progress<'_> {
    fn tell(&mut self, info: &CreateImageInfo, now: Duration) {
        let Some(line) = line(info) else { return };
        self.pending = Some(line);
        // What is not about a layer is said once.
        if info.id.is_none() {
            self.last = None;
        }
        self.catch_up(now);
    }

    /// When the next line may be told, if there is one.
    fn due(&self) -> Option<Duration> {
        self.pending.as_ref().map(|_| self.last.map_or(Duration::ZERO, |last| last + LINE_INTERVAL))
    }

    fn catch_up(&mut self, now: Duration) {
        if self.due().is_some_and(|due| due <= now)
            && let Some(line) = self.pending.take()
        {
            self.log.line(&line);
            self.last = Some(now);
        }
    }
}

fn line(info: &CreateImageInfo) -> Option<String> {
    let status = info.status.as_deref().filter(|status| !status.is_empty())?;
    let layer = info.id.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
    let detail = info.progress_detail.as_ref();
    let bytes = detail.and_then(|detail| Some((detail.current?, detail.total?)));
    Some(match bytes {
        Some((current, total)) => format!("{layer}{status}, {} of {}", Megabytes(current), Megabytes(total)),
        None => format!("{layer}{status}"),
    })
}

struct Megabytes(i64);

impl std::fmt::Display for Megabytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = self.0 / 100_000;
        write!(f, "{}.{} MB", tenths / 10, tenths % 10)
    }
}
