//! From what a pipeline asks for to the exact packages: locks, resolved once and kept.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    EnvironmentFailure, EnvironmentFailureKind, EnvironmentId, LockHash,
    classify::{self, Stage, Verdict},
    digest::Digest,
    folder::{Folder, blocking, create_anew, remove_tree, write_whole},
    input::{self, Input},
    interpreter::Interpreter,
    phase::{Builds, Obedience, Phase, Phased},
    requirement,
    tool::{Call, Ended, Site},
};
use crate::pipeline::DependencySource;

/// The exact packages of an environment.
#[derive(Clone, Debug)]
pub(super) struct Lock {
    pub(super) text: String,
    pub(super) form: Form,
}

/// How a lock is written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Requirements,
    /// PEP 751. Used where packages may come from different indexes: it says for each which file.
    Pylock,
}

impl Form {
    fn of(source: &DependencySource) -> Self {
        match source {
            DependencySource::None
            | DependencySource::Requirements { .. }
            | DependencySource::RequirementsLock { .. } => Self::Requirements,
            DependencySource::Pylock { .. }
            | DependencySource::Script { .. }
            | DependencySource::UvLock { .. }
            | DependencySource::Project { .. } => Self::Pylock,
        }
    }

    /// The name under which uv recognises the form.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Requirements => "requirements.txt",
            Self::Pylock => "pylock.toml",
        }
    }
}

impl Lock {
    /// The lock that the input is already, if it is one.
    pub(super) fn given(
        source: &DependencySource,
        input: &Input,
    ) -> Result<Option<Self>, EnvironmentFailure> {
        input.lock.clone().map(|text| Self::checked(text, Form::of(source))).transpose()
    }

    /// The lock that was resolved for `key` before. Blocks.
    pub(super) fn kept(
        source: &DependencySource,
        folder: &Folder,
        key: &str,
    ) -> Result<Option<Self>, EnvironmentFailure> {
        let path = folder.lock(key);
        match fs::read_to_string(&path) {
            Ok(text) => Self::checked(text, Form::of(source)).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EnvironmentFailure::io("read", &path, &error)),
        }
    }

    fn checked(text: String, form: Form) -> Result<Self, EnvironmentFailure> {
        input::check_lock(&text, form == Form::Pylock)?;
        Ok(Self { text, form })
    }

    /// Whether there is nothing to install.
    pub(super) fn is_empty(&self) -> bool {
        self.form == Form::Requirements && self.text.trim().is_empty()
    }

    /// An empty lock has one name in every form, since it makes one environment.
    pub(super) fn hash(&self) -> Result<LockHash, EnvironmentFailure> {
        let mut digest = Digest::new("fastflow-lock-1");
        if !self.is_empty() {
            digest.add(self.form.file_name());
        }
        digest.add(self.content().trim());
        named(&digest.finish())
    }

    /// What is installed. The index that a package came from is no part of it where the hash says which file it is.
    fn content(&self) -> Cow<'_, str> {
        if self.form == Form::Pylock {
            return Cow::Borrowed(&self.text);
        }
        let is_content = |line: &&str| requirement::index_of(line.trim()).is_none();
        Cow::Owned(self.text.lines().filter(is_content).collect::<Vec<_>>().join("\n"))
    }

    /// The id of the environment that this makes with `interpreter`, from what `key` names.
    ///
    /// On this machine equal locks share one environment. In other places pipelines do not trust each other, and a lock
    /// does not say everything: packages without a hash, and what is used to build one, come from wherever the pipeline
    /// says. So there only equal inputs share one.
    pub(super) fn environment(
        &self,
        interpreter: &Interpreter,
        key: &str,
    ) -> Result<EnvironmentId, EnvironmentFailure> {
        let mut digest = Digest::new("fastflow-environment-1");
        digest.add(self.hash()?.as_str());
        digest.add(interpreter.digest());
        if !interpreter.is_of_this_machine() && !self.is_empty() {
            digest.add(key);
        }
        named(&digest.finish())
    }
}

fn named<T: std::str::FromStr<Err = crate::Error>>(digest: &str) -> Result<T, EnvironmentFailure> {
    digest
        .parse()
        .map_err(|error| EnvironmentFailure::new(EnvironmentFailureKind::Internal, format!("{error}")))
}

/// What a resolution needs to know.
#[derive(Clone, Copy)]
pub(super) struct Resolution<'a> {
    pub(super) source: &'a DependencySource,
    /// The pipeline's folder, absolute.
    pub(super) pipeline: &'a Path,
    pub(super) input: &'a Input,
    pub(super) interpreter: &'a Interpreter,
    /// The name under which the result is kept.
    pub(super) key: &'a str,
    pub(super) builds: Builds,
}

impl Resolution<'_> {
    /// Resolves and keeps the result. The caller holds the guard of the key.
    pub(super) async fn run(&self, site: Site<'_>) -> Result<Lock, EnvironmentFailure> {
        let (scratch, obedience) = match self.source {
            DependencySource::Project { .. } => {
                (Some(self.copy_project(site.folder).await?), Obedience::ProjectsAreBuilt)
            }
            _ => (None, Obedience::Kept),
        };
        let phased = Phased {
            stage: Stage::Lock,
            owner: self.key,
            guard: None,
            builds: self.builds,
            obedience,
            call: &|phase| self.call(site, scratch.as_deref(), phase),
        };
        let ended = phased.run(site).await;
        if let Some(scratch) = scratch {
            let _ = blocking(move || remove_tree(&scratch)).await;
        }
        let lock = Lock::checked(ended?.answer, Form::of(self.source))?;
        let (path, text) = (site.folder.lock(self.key), lock.text.clone());
        blocking(move || write_whole(&path, text.as_bytes())).await?;
        Ok(lock)
    }

    fn call(&self, site: Site<'_>, scratch: Option<&Path>, phase: Phase<'_>) -> Call {
        let mut call = site.uv(scratch.unwrap_or(&self.input.directory), phase.cache);
        call.reads(self.pipeline).reads(site.pythons());
        if let Some(scratch) = scratch {
            call.writes(scratch);
        }
        match self.source {
            DependencySource::Script { path } => {
                let script = self.pipeline.join(path);
                call.args(["export", "--format", "pylock.toml", "--script"]).arg(&script);
                if input::lock_of_script(&script).exists() {
                    call.args(["--frozen"]);
                }
            }
            DependencySource::UvLock { .. } => {
                call.args(["export", "--format", "pylock.toml", "--no-emit-project", "--frozen"]);
            }
            DependencySource::Project { .. } => {
                call.args(["export", "--format", "pylock.toml", "--no-emit-project"]);
            }
            DependencySource::Requirements { path }
            | DependencySource::RequirementsLock { path }
            | DependencySource::Pylock { path } => {
                call.args(["pip", "compile", "--generate-hashes", "--emit-index-annotation"]);
                call.arg(self.pipeline.join(path));
            }
            DependencySource::None => {}
        }
        call.args(["--no-header", "--no-annotate", "--no-python-downloads", "--python"]);
        call.arg(&self.interpreter.path);
        if phase.builds == Builds::Refused {
            call.args(["--no-build"]);
        }
        call
    }

    /// uv writes its lock beside a project, and the pipeline's folder is not ours to write to.
    async fn copy_project(&self, folder: &Folder) -> Result<PathBuf, EnvironmentFailure> {
        let from = self.input.directory.clone();
        let to = folder.resolving(self.key);
        blocking(move || {
            create_anew(&to)?;
            let copy = || -> io::Result<()> {
                for name in ["pyproject.toml", "uv.toml"] {
                    if from.join(name).exists() {
                        fs::copy(from.join(name), to.join(name))?;
                    }
                }
                Ok(())
            };
            copy().map_err(|error| EnvironmentFailure::io("copy the project to", &to, &error))?;
            Ok(to)
        })
        .await
    }
}

/// Names what a failed call means, asking uv once more where its answer leaves that open.
pub(super) async fn failure(stage: Stage, ended: &Ended, again: &Call, site: Site<'_>) -> EnvironmentFailure {
    let ask = async |arguments: &[&str]| {
        let mut call = again.clone();
        call.args(arguments.iter().copied());
        let ended = site.quiet().run(call, None).await.ok();
        ended.and_then(|ended| ended.code())
    };
    let kind = match classify::judge(stage, ended.code(), &ended.words) {
        Verdict::Certain(kind) => kind,
        Verdict::AskOffline(same, other) => {
            let dry: &[&str] =
                if stage == Stage::Install { &["--offline", "--dry-run"] } else { &["--offline"] };
            if ask(dry).await == Some(classify::STATUS_ERROR) { same } else { other }
        }
        Verdict::AskDry(same, other) => {
            if ask(&["--dry-run"]).await == Some(0) {
                other
            } else {
                same
            }
        }
    };
    let failure = EnvironmentFailure::new(kind, ended.reason());
    match help(kind) {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

fn help(kind: EnvironmentFailureKind) -> Option<&'static str> {
    match kind {
        EnvironmentFailureKind::ResolutionFailed => {
            Some("check the names and versions that the pipeline requires, and the index they come from")
        }
        EnvironmentFailureKind::DownloadFailed => Some(
            "check that this machine reaches the package index (UV_DEFAULT_INDEX, HTTPS_PROXY and uv.toml apply)",
        ),
        EnvironmentFailureKind::BuildFailed => Some(
            "require a version of the package that has a wheel for this Python, or install what its build needs",
        ),
        EnvironmentFailureKind::StorageFull => Some("make room where environments and uv's cache are kept"),
        EnvironmentFailureKind::Denied => {
            Some("let this user write where environments and uv's cache are kept")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_package_is_no_part_of_what_is_installed() {
        let lock = |text: &str| Lock { text: text.into(), form: Form::Requirements }.hash().unwrap();
        let plain = lock("six==1.17.0 \\\n    --hash=sha256:aa\n");
        assert_eq!(
            lock("six==1.17.0 \\\n    --hash=sha256:aa\n    # from https://i.example/simple\n"),
            plain
        );
        assert_ne!(
            lock("six==1.17.0 \\\n    --hash=sha256:bb\n    # from https://i.example/simple\n"),
            plain
        );
    }
}
