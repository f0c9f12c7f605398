//! Getting an image from its registry.

use std::time::Duration;

use fastflow_core::{Error, ErrorKind, Result, environment::SetupLog, executor::ImageName};
use serde::Deserialize;

use crate::{
    credentials,
    engine::PodmanEngine,
    error::{Failure, short},
    libpod::Call,
};

const WHAT: &str = "Podman does not get the image";
/// How much time lies between two lines that only say how far something is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

impl PodmanEngine {
    pub(crate) async fn pull_image(&self, image: &ImageName, log: &dyn SetupLog) -> Result<()> {
        let call = self.pull_call(image).await?;
        let limit = self.config.pull_stall_timeout;
        let failed = |failure: Failure| failure.into_error(WHAT).with("image", image);
        let mut lines = self.libpod.lines(call, limit).await.map_err(failed)?;
        let mut progress_at = None;
        while let Some(line) = lines.next().await.map_err(failed)? {
            let line: Line =
                serde_json::from_slice(&line).map_err(|error| failed(Failure::Garbled(error.into())))?;
            if let Some(words) = line.error {
                return Err(Error::new(kind(&words), WHAT)
                    .with("image", image)
                    .with("podman", short(&words)));
            }
            let now = self.clock.elapsed();
            let is_soon = progress_at.is_some_and(|at: Duration| now.saturating_sub(at) < PROGRESS_INTERVAL);
            if line.is_progress() && is_soon {
                continue;
            }
            if let Some(text) = line.text() {
                log.line(&text);
                progress_at = line.is_progress().then_some(now).or(progress_at);
            }
        }
        // An answer without a word of failure is no proof.
        match self.find_image(image.as_str()).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::Unavailable, WHAT).with("image", image)),
        }
    }

    /// The request. Podman has two: only the one that is like Docker's says how much of a layer has come, without which
    /// a slow registry looks like a silent one. But it looks for a name without a registry on Docker's hub alone, and
    /// not where the engine's user has said; such names take the other.
    async fn pull_call(&self, image: &ImageName) -> Result<Call> {
        if image.registry().is_none() {
            let call = Call::post(&["images", "pull"]);
            return Ok(call.query("reference", image.as_str()).query("policy", "always"));
        }
        let (files, name) = (self.config.auth_files(&self.variables), image.clone());
        let find = async {
            let found = tokio::task::spawn_blocking(move || credentials::find(&files, &name)).await;
            Ok(found.map_err(|error| {
                Error::new(ErrorKind::Internal, "credentials cannot be read").because(error)
            }))
        };
        let found = self.libpod.within(self.config.call_timeout, find).await;
        let auth = found
            .map_err(|failure| failure.into_error("the program for credentials does not answer"))???;
        let call = Call::post_as_docker(&["images", "create"]).query("fromImage", image.as_str());
        Ok(call.auth(auth))
    }
}

/// One line of an answer, of either request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    error: Option<String>,
    stream: Option<String>,
    status: Option<String>,
    id: Option<String>,
    #[serde(rename = "progressDetail")]
    progress: Option<Progress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Progress {
    current: u64,
    total: i64,
}

impl Line {
    fn is_progress(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.current > 0)
    }

    /// The line for a person.
    fn text(&self) -> Option<String> {
        if let Some(stream) = &self.stream {
            return Some(stream.trim().to_owned()).filter(|text| !text.is_empty());
        }
        let (status, id) = (self.status.as_deref()?, self.id.as_deref().unwrap_or_default());
        let part = match &self.progress {
            Some(Progress { current, total }) if *current > 0 => match u64::try_from(*total) {
                Ok(total) if total > 0 => format!(" {} of {} KiB", current / 1024, total / 1024),
                _ => format!(" {} KiB", current / 1024),
            },
            _ => String::new(),
        };
        Some(format!("{id}: {status}{part}"))
    }
}

/// What a failure within a pull means. This is the only place that looks into words, for Podman reports these failures
/// in no other way: as a line of text in an answer that has begun as a success. Most of the words that are looked for are
/// not Podman's: they are the error codes of the protocol of registries, and the kernel's name of an error. Its own are
/// those for a name without a registry where its user has set none to look in: no registry was asked, so none has a code
/// for it, and it stays so until somebody changes that. What has none of these words may work later.
fn kind(words: &str) -> ErrorKind {
    let has = |codes: &[&str]| codes.iter().any(|code| words.contains(code));
    if has(&["no space left on device", "disk quota exceeded"]) {
        ErrorKind::StorageFull
    } else if has(&["unauthorized", "denied: ", "authentication required"]) {
        ErrorKind::Denied
    } else if has(&["manifest unknown", "name unknown", "name invalid", "did not resolve to an alias"]) {
        ErrorKind::NotFound
    } else {
        ErrorKind::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_requests_are_read() {
        for (line, text, is_progress) in [
            (r#"{"stream":"Copying blob sha256:1\n"}"#, Some("Copying blob sha256:1"), false),
            (r#"{"images":["1"],"id":"1"}"#, None, false),
            (
                r#"{"status":"Pulling fs layer","progressDetail":{},"id":"8f"}"#,
                Some("8f: Pulling fs layer"),
                false,
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":80000,"total":200247},"progress":"[=>]","id":"8f"}"#,
                Some("8f: Downloading 78 of 195 KiB"),
                true,
            ),
            (
                r#"{"status":"Downloading","progressDetail":{"current":80000,"total":-1},"id":"8f"}"#,
                Some("8f: Downloading 78 KiB"),
                true,
            ),
        ] {
            let line: Line = serde_json::from_str(line).unwrap();
            assert_eq!((line.text().as_deref(), line.is_progress()), (text, is_progress), "{line:?}");
        }
    }
}
