//! Finds the Python that a pipeline asks for, and remembers it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    EnvironmentFailure, EnvironmentFailureKind, EnvironmentRequest,
    digest::Digest,
    folder::{Folder, blocking, write_whole},
    stamp::Stamp,
    tool::{Cache, Call, Failed, Site},
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
    /// How the file was, if it is one of this machine. Another file means another look.
    stamp: Option<Stamp>,
    /// The identity of the place it was found in, unless that is this machine. What changes there changes that.
    #[serde(default)]
    place: Option<String>,
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
        if let Some(place) = &self.place {
            digest.add(place);
        }
        digest.finish()
    }

    /// What was found for `wanted` before, if it is still the same file. Blocks.
    pub(super) fn remembered(folder: &Folder, wanted: &Wanted) -> Option<Self> {
        let record = fs::read(folder.interpreter(&wanted.key())).ok()?;
        let found: Self = serde_json::from_slice(&record).ok()?;
        let is_unchanged = match found.stamp {
            Some(stamp) => Stamp::of(&found.path) == Some(stamp),
            None => found.place.is_some(),
        };
        (is_unchanged && found.place == wanted.place).then_some(found)
    }

    pub(super) fn is_of_this_machine(&self) -> bool {
        self.place.is_none()
    }

    /// The file that an answer depends on, if it is one of this machine.
    pub(super) fn file(&self) -> Option<&Path> {
        self.stamp.map(|_| self.path.as_path())
    }
}

/// Which Python is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// As uv takes it; none for the one that uv finds first.
    request: Option<String>,
    may_download: bool,
    /// The identity of the place, unless that is this machine.
    place: Option<String>,
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
        let place = (!request.place.is_this_machine()).then(|| request.place.identity().to_owned());
        Ok(Self { request: asked.map(str::to_owned), may_download, place })
    }

    fn key(&self) -> String {
        let mut digest = Digest::new("fastflow-python-request-1");
        digest.add(self.request.as_deref().unwrap_or_default());
        if let Some(place) = &self.place {
            digest.add(place);
        }
        digest.finish()
    }

    /// Finds it with uv, has uv install it where that is allowed, and remembers it.
    pub(super) async fn find(&self, site: Site<'_>) -> Result<Interpreter, EnvironmentFailure> {
        let (path, words) = self.ask(site, Among::All).await?;
        let path = match path {
            Some(path) => path,
            None => self.install(site, words).await?,
        };
        let found = self.inspect(path, site).await?;
        let (record, content) = (site.folder.interpreter(&self.key()), serde_json::to_vec(&found));
        let content = content.map_err(|error| internal(&error))?;
        blocking(move || write_whole(&record, &content)).await?;
        site.log.line(&format!("using Python {} at {}", found.details.version, found.path.display()));
        Ok(found)
    }

    /// Where uv finds it, or why not.
    async fn ask(
        &self,
        site: Site<'_>,
        among: Among,
    ) -> Result<(Option<PathBuf>, String), EnvironmentFailure> {
        // It looks from a folder of ours: a pipeline's own folder must not be able to name an interpreter.
        let mut call = site.uv(&site.pythons(), Cache::Shared);
        call.args(["python", "find", "--no-project", "--system", "--no-python-downloads"]);
        if among == Among::Ours {
            call.args(["--managed-python"]).env("UV_PYTHON_INSTALL_DIR", site.pythons());
        }
        if let Some(request) = &self.request {
            call.args(["--", request]);
        }
        let ended = site.quiet().run(call, None).await.map_err(|failed| site.explain(failed))?;
        let path = ended.succeeded().then(|| PathBuf::from(ended.answer.trim()));
        Ok((path.filter(|path| path.is_absolute()), ended.reason()))
    }

    /// Has uv install it into our folder for the place.
    async fn install(&self, site: Site<'_>, mut words: String) -> Result<PathBuf, EnvironmentFailure> {
        if self.may_download
            && let (Some(path), _) = self.ask(site, Among::Ours).await?
        {
            return Ok(path);
        }
        if self.may_download {
            site.log.line(&format!("no {self} is installed here; asking uv for one"));
            let pythons = site.pythons();
            let mut call = site.uv(&pythons, Cache::Shared);
            call.args(["python", "install", "--no-bin", "--install-dir"]).arg(&pythons).writes(&pythons);
            if let Some(request) = &self.request {
                call.args(["--", request]);
            }
            let ended = site.run(call, None).await.map_err(|failed| site.explain(failed))?;
            if ended.succeeded()
                && let (Some(path), _) = self.ask(site, Among::Ours).await?
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

    async fn inspect(&self, path: PathBuf, site: Site<'_>) -> Result<Interpreter, EnvironmentFailure> {
        let pythons = site.pythons();
        let is_ours = self.place.is_none() || path.starts_with(&pythons);
        let stamp = is_ours.then(|| Stamp::of(&path).ok_or_else(|| broken(&path, "it is not there")));
        let stamp = stamp.transpose()?;
        let mut call = Call::new(&path, &pythons);
        call.args(["-I", "-S", "-c", INSPECT]);
        let ended = match site.quiet().run(call, None).await {
            Ok(ended) if ended.succeeded() => ended,
            Ok(ended) => return Err(broken(&path, &ended.words)),
            Err(Failed::Start(error)) => return Err(broken(&path, &error.to_string())),
            Err(Failed::Other(failure)) => return Err(failure),
        };
        let details =
            serde_json::from_str(&ended.answer).map_err(|error| broken(&path, &error.to_string()))?;
        Ok(Interpreter { path, stamp, place: self.place.clone(), details })
    }
}

/// Which interpreters uv looks through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Among {
    All,
    /// Those in our folder for the place.
    Ours,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.request {
            Some(request) => write!(f, "Python {request}"),
            None => f.write_str("Python"),
        }
    }
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
