//! Calls uv, and the interpreters it finds, in the place where an environment is made.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    EnvironmentFailure, EnvironmentFailureKind, SetupLog, ToolCall, ToolEnd, ToolFailure, ToolStatus,
    Workbench,
    folder::{Folder, Guard},
};
use crate::{Clock, Error, ErrorKind};

/// The uv to start, and what it needs to know.
#[derive(Debug)]
pub(super) struct Uv {
    pub(super) given: Option<PathBuf>,
    pub(super) candidates: Vec<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
}

/// Which of uv's caches a call writes to, in a place that is not this machine. On this machine it is always the user's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cache<'a> {
    /// That of the place, which all its environments come from. No code of a package may run meanwhile.
    Shared,
    /// One for this owner of a guard alone, thrown away afterwards.
    Private(&'a str),
}

/// Where a tool is called: which uv, in which place, in which folder, until when, and who listens.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) uv: &'a Uv,
    pub(super) place: &'a dyn Workbench,
    pub(super) folder: &'a Folder,
    pub(super) clock: &'a dyn Clock,
    /// In [`Clock::elapsed`].
    pub(super) deadline: Duration,
    pub(super) log: &'a dyn SetupLog,
}

impl Site<'_> {
    /// The same, with nobody listening.
    pub(super) fn quiet(self) -> Self {
        Self { log: &Quiet, ..self }
    }

    /// A call of uv that works in `directory`.
    pub(super) fn uv(&self, directory: &Path, cache: Cache<'_>) -> Call {
        let mut call = Call::new(self.program(), directory);
        call.env("UV_PREVIEW_FEATURES", "pylock").env("NO_COLOR", "1");
        call.env.extend(self.uv.env.clone());
        call.args(["--no-progress", "--color", "never"]);
        if !self.place.is_this_machine() {
            let cache = self.folder.uv_cache(self.place, cache);
            call.env("UV_CACHE_DIR", &cache).writes(cache);
        }
        call
    }

    /// The interpreters that uv installed in this place, and in no other.
    pub(super) fn pythons(&self) -> PathBuf {
        self.folder.pythons(self.place)
    }

    fn program(&self) -> PathBuf {
        let found = self.uv.given.as_ref().or_else(|| self.uv.candidates.iter().find(|path| path.is_file()));
        // Those paths are of this machine.
        found.filter(|_| self.place.is_this_machine()).cloned().unwrap_or_else(|| "uv".into())
    }

    /// Runs a tool to its end.
    ///
    /// # Errors
    ///
    /// [`Failed::Start`] if it cannot be started, [`Failed::Other`] for whatever else keeps it from its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the tool and all that it has started.
    pub(super) async fn run(&self, call: Call, guard: Option<&Guard>) -> Result<Ended, Failed> {
        let lock = guard.map(Guard::share).transpose().map_err(Failed::Start)?;
        let timeout = self.deadline.saturating_sub(self.clock.elapsed());
        let Call { program, args, env, directory, mut reads, writes } = call;
        // Each path once: an engine takes no mount twice.
        reads.sort();
        reads.dedup();
        reads.retain(|path| *path != directory && !writes.contains(path));
        let call = ToolCall { program, args, env, directory, reads, writes, timeout, lock };
        self.place.run(call, self.log).await.map(Ended::from).map_err(Failed::from)
    }

    /// What it means that uv did not come to an end of its own.
    pub(super) fn explain(&self, failed: Failed) -> EnvironmentFailure {
        match failed {
            Failed::Start(error) => self.missing(&error),
            Failed::Other(failure) => failure,
        }
    }

    fn missing(&self, error: &io::Error) -> EnvironmentFailure {
        let here = self.place.is_this_machine();
        let by_name = if here { "`uv` on the PATH" } else { "`uv` on the PATH of the image" };
        let places: Vec<String> = match &self.uv.given {
            Some(path) if here => vec![path.display().to_string()],
            _ => {
                let candidates = self.uv.candidates.iter().filter(|_| here);
                candidates.map(|path| path.display().to_string()).chain([by_name.to_owned()]).collect()
            }
        };
        EnvironmentFailure::new(
            EnvironmentFailureKind::ToolMissing,
            format!("uv could not be started: {error} (looked for {})", places.join(", ")),
        )
        .with_help(if here {
            "install uv with `pip install uv` or `pipx install uv` (see \
             https://docs.astral.sh/uv/getting-started/installation/), or set the path of the uv to use"
        } else {
            "put uv into the image (see https://docs.astral.sh/uv/guides/integration/docker/)"
        })
    }
}

/// What to call, as often as needed.
#[derive(Clone, Debug)]
pub(super) struct Call {
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<String, String>,
    directory: PathBuf,
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
}

impl Call {
    pub(super) fn new(program: impl Into<PathBuf>, directory: &Path) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            directory: directory.to_owned(),
            reads: Vec::new(),
            writes: Vec::new(),
        }
    }

    pub(super) fn arg(&mut self, argument: impl Into<OsString>) -> &mut Self {
        self.args.push(argument.into());
        self
    }

    pub(super) fn args<'b>(&mut self, arguments: impl IntoIterator<Item = &'b str>) -> &mut Self {
        self.args.extend(arguments.into_iter().map(OsString::from));
        self
    }

    pub(super) fn env(&mut self, name: &str, value: impl AsRef<Path>) -> &mut Self {
        self.env.insert(name.to_owned(), value.as_ref().to_string_lossy().into_owned());
        self
    }

    pub(super) fn reads(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.reads.push(path.into());
        self
    }

    pub(super) fn writes(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.writes.push(folder.into());
        self
    }
}

/// A tool that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    status: ToolStatus,
    /// Its standard output.
    pub(super) answer: String,
    /// Its standard error, from the first line that reports an error on; else all of it.
    pub(super) words: String,
}

impl From<ToolEnd> for Ended {
    fn from(end: ToolEnd) -> Self {
        let first = end.words.iter().position(|line| line.starts_with("error")).unwrap_or(0);
        Self {
            status: end.status,
            answer: String::from_utf8_lossy(&end.answer).into_owned(),
            words: end.words[first..].join("\n"),
        }
    }
}

impl Ended {
    pub(super) fn succeeded(&self) -> bool {
        self.status == ToolStatus::Code(0)
    }

    pub(super) fn code(&self) -> Option<i32> {
        match self.status {
            ToolStatus::Code(code) => Some(code),
            ToolStatus::Signal(_) => None,
        }
    }

    /// Its words, or how it ended if it said nothing.
    pub(super) fn reason(&self) -> String {
        match (self.words.trim(), self.status) {
            ("", ToolStatus::Code(code)) => format!("uv ended with exit status: {code}"),
            (words, ToolStatus::Code(_)) => words.to_owned(),
            (words, ToolStatus::Signal(signal)) => format!("uv was ended by signal {signal}\n{words}"),
        }
    }
}

/// Why a tool did not come to an end of its own.
pub(super) enum Failed {
    /// It did not start.
    Start(io::Error),
    /// Anything else.
    Other(EnvironmentFailure),
}

impl From<ToolFailure> for Failed {
    fn from(failure: ToolFailure) -> Self {
        Self::Other(match failure {
            ToolFailure::NotStarted(error) => return Self::Start(error),
            ToolFailure::TimedOut => EnvironmentFailure::new(
                EnvironmentFailureKind::DownloadFailed,
                "uv did not end within the build timeout and was killed",
            )
            .with_help("if the network is only slow, raise the build timeout"),
            ToolFailure::Endless(limit) => EnvironmentFailure::new(
                EnvironmentFailureKind::Internal,
                format!("uv answered with more than {limit} bytes"),
            ),
            ToolFailure::Place(error) => unusable(&error),
        })
    }
}

fn unusable(error: &Error) -> EnvironmentFailure {
    let kind = match error.kind() {
        ErrorKind::Unavailable => EnvironmentFailureKind::PlaceUnavailable,
        ErrorKind::StorageFull => EnvironmentFailureKind::StorageFull,
        ErrorKind::Denied => EnvironmentFailureKind::Denied,
        _ => EnvironmentFailureKind::Internal,
    };
    EnvironmentFailure::new(kind, format!("uv could not be run: {}", error.chain()))
}

/// For calls whose words matter only if they fail.
struct Quiet;

impl SetupLog for Quiet {
    fn line(&self, _text: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_used_now_may_be_used_later() {
        let kind = |kind| match Failed::from(ToolFailure::Place(Error::new(kind, "the engine"))) {
            Failed::Other(failure) => failure.kind,
            Failed::Start(error) => panic!("{error}"),
        };
        assert_eq!(kind(ErrorKind::Unavailable), EnvironmentFailureKind::PlaceUnavailable);
        assert!(kind(ErrorKind::Unavailable).is_transient());
        assert_eq!(kind(ErrorKind::Denied), EnvironmentFailureKind::Denied);
        assert!(!kind(ErrorKind::NotFound).is_transient());
    }
}
