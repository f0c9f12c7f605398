//! Finds the Python that a pipeline asks for, and remembers it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    EnvironmentFailure, EnvironmentFailureKind, EnvironmentRequest,
    digest::Digest,
    folder::{Folder, blocking, write_whole},
    stamp::Stamp,
    tool::{self, Failed, Uv, Watch},
};
use crate::pipeline::PythonRequest;

/// Asks an interpreter what it is. Runs in all Pythons from 3.4 on, without its packages or the user's.
const INSPECT: &str = "import json, platform, sys, sysconfig
print(json.dumps({
    'version': platform.python_version(),
    'implementation': sys.implementation.name,
    'platform': sysconfig.get_platform(),
    'abi': sysconfig.get_config_var('SOABI') or sys.implementation.cache_tag,
    'build': sys.version,
    'base_prefix': sys.base_prefix,
}))";

/// An interpreter as it was found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Interpreter {
    /// The path that uv gave.
    pub(super) path: PathBuf,
    /// How the file was. Another file means another look.
    stamp: Stamp,
    pub(super) details: Details,
}

/// What an interpreter says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Details {
    pub(super) version: String,
    implementation: String,
    platform: String,
    abi: String,
    /// Version, build date and compiler: a rebuilt interpreter says something else.
    build: String,
    base_prefix: String,
}

impl Interpreter {
    /// Names what an environment for this interpreter depends on.
    pub(super) fn digest(&self) -> String {
        let mut digest = Digest::new("fastflow-interpreter-1");
        let Details { version, implementation, platform, abi, build, base_prefix } = &self.details;
        for field in [version, implementation, platform, abi, build, base_prefix] {
            digest.add(field);
        }
        digest.add_path(&self.path);
        digest.finish()
    }

    /// What was found for `wanted` before, if it is still the same file. Blocks.
    pub(super) fn remembered(folder: &Folder, wanted: &Wanted) -> Option<Self> {
        let record = fs::read(folder.interpreter(&wanted.key())).ok()?;
        let found: Self = serde_json::from_slice(&record).ok()?;
        (Stamp::of(&found.path) == Some(found.stamp)).then_some(found)
    }
}

/// Which Python is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// As uv takes it; none for the one that uv finds first.
    request: Option<String>,
    may_download: bool,
}

impl Wanted {
    /// `python_version` of the pipeline, else its `.python-version`, else `requires-python`, else the default.
    pub(super) fn of(
        request: &EnvironmentRequest,
        pinned: Option<&str>,
        default: Option<&str>,
        may_download: bool,
    ) -> Result<Self, EnvironmentFailure> {
        let pinned = pinned.map(str::parse::<PythonRequest>).transpose().map_err(|error| {
            EnvironmentFailure::new(
                EnvironmentFailureKind::InterpreterMissing,
                format!("the first line of .python-version is {error}"),
            )
        })?;
        let asked = [request.python.as_ref(), pinned.as_ref(), request.requires_python.as_ref()];
        let asked = asked.into_iter().flatten().next().map(PythonRequest::as_str).or(default);
        Ok(Self { request: asked.map(str::to_owned), may_download })
    }

    fn key(&self) -> String {
        let mut digest = Digest::new("fastflow-python-request-1");
        digest.add(self.request.as_deref().unwrap_or_default());
        digest.finish()
    }

    /// Finds it with uv, has uv install it where that is allowed, and remembers it.
    pub(super) async fn find(
        &self,
        uv: &Uv,
        folder: &Folder,
        watch: Watch<'_>,
    ) -> Result<Interpreter, EnvironmentFailure> {
        let (path, words) = self.ask(uv, folder, false, watch).await?;
        let path = match path {
            Some(path) => path,
            None => self.install(uv, folder, words, watch).await?,
        };
        let found = inspect(path, folder, watch).await?;
        let (record, content) = (folder.interpreter(&self.key()), serde_json::to_vec(&found));
        let content = content.map_err(|error| internal(&error))?;
        blocking(move || write_whole(&record, &content)).await?;
        watch.log.line(&format!("using Python {} at {}", found.details.version, found.path.display()));
        Ok(found)
    }

    /// Where uv finds it, or why not.
    async fn ask(
        &self,
        uv: &Uv,
        folder: &Folder,
        only_ours: bool,
        watch: Watch<'_>,
    ) -> Result<(Option<PathBuf>, String), EnvironmentFailure> {
        // It looks from our folder: a pipeline's own folder must not be able to name an interpreter.
        let mut command = uv.command(folder.root());
        command.args(["python", "find", "--no-project", "--system", "--no-python-downloads"]);
        if only_ours {
            command.arg("--managed-python").env("UV_PYTHON_INSTALL_DIR", folder.pythons());
        }
        if let Some(request) = &self.request {
            command.arg("--").arg(request);
        }
        let ended = tool::run(command, None, Watch { log: &Quiet, ..watch })
            .await
            .map_err(|failed| explain(failed, uv))?;
        let path = ended.succeeded().then(|| PathBuf::from(ended.answer.trim()));
        Ok((path.filter(|path| path.is_absolute()), ended.reason()))
    }

    /// Has uv install it into our folder.
    async fn install(
        &self,
        uv: &Uv,
        folder: &Folder,
        mut words: String,
        watch: Watch<'_>,
    ) -> Result<PathBuf, EnvironmentFailure> {
        if self.may_download
            && let (Some(path), _) = self.ask(uv, folder, true, watch).await?
        {
            return Ok(path);
        }
        if self.may_download {
            watch.log.line(&format!("no {self} is installed here; asking uv for one"));
            let mut command = uv.command(folder.root());
            command.args(["python", "install", "--no-bin", "--install-dir"]).arg(folder.pythons());
            if let Some(request) = &self.request {
                command.arg("--").arg(request);
            }
            let ended = tool::run(command, None, watch).await.map_err(|failed| explain(failed, uv))?;
            if ended.succeeded()
                && let (Some(path), _) = self.ask(uv, folder, true, watch).await?
            {
                return Ok(path);
            }
            words.push('\n');
            words.push_str(&ended.reason());
        }
        let how = if self.may_download { "" } else { " (downloading one is switched off)" };
        Err(EnvironmentFailure::new(
            EnvironmentFailureKind::InterpreterMissing,
            format!("no {self} was found{how}\n{words}"),
        )
        .with_help(
            "install that Python so that `uv python find` sees it (your system's packages, pyenv, or \
             `uv python install`), or change `python_version` in pipeline.json",
        ))
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.request {
            Some(request) => write!(f, "Python {request}"),
            None => f.write_str("Python"),
        }
    }
}

/// Turns a call that did not end by itself into a failure.
pub(super) fn explain(failed: Failed, uv: &Uv) -> EnvironmentFailure {
    match failed {
        Failed::Start(error) => uv.missing(&error),
        Failed::Other(failure) => failure,
    }
}

async fn inspect(
    path: PathBuf,
    folder: &Folder,
    watch: Watch<'_>,
) -> Result<Interpreter, EnvironmentFailure> {
    let stamp = Stamp::of(&path).ok_or_else(|| broken(&path, "it is not there"))?;
    let mut command = tool::command(path.as_os_str(), folder.root());
    command.args([OsStr::new("-I"), OsStr::new("-S"), OsStr::new("-c"), OsStr::new(INSPECT)]);
    let ended = match tool::run(command, None, Watch { log: &Quiet, ..watch }).await {
        Ok(ended) if ended.succeeded() => ended,
        Ok(ended) => return Err(broken(&path, &ended.words)),
        Err(Failed::Start(error)) => return Err(broken(&path, &error.to_string())),
        Err(Failed::Other(failure)) => return Err(failure),
    };
    let details = serde_json::from_str(&ended.answer).map_err(|error| broken(&path, &error.to_string()))?;
    Ok(Interpreter { path, stamp, details })
}

fn broken(path: &Path, why: &str) -> EnvironmentFailure {
    EnvironmentFailure::new(
        EnvironmentFailureKind::InterpreterMissing,
        format!("the interpreter {} does not say what it is: {why}", path.display()),
    )
}

fn internal(error: &serde_json::Error) -> EnvironmentFailure {
    EnvironmentFailure::new(EnvironmentFailureKind::Internal, format!("cannot encode a record: {error}"))
}

/// For calls whose words matter only if they fail.
pub(super) struct Quiet;

impl super::SetupLog for Quiet {
    fn line(&self, _text: &str) {}
}
