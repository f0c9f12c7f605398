//! From the texts of a pipeline's files to a pipeline.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    Definition, DependencySource, Diagnostic, Pipeline, PipelineKind, Program, PythonRequest,
    inline::{self, Script},
    manifest::{Document, Read, Report},
};
use crate::PipelineName;

/// A text file of a pipeline: its name and its text.
pub type TextFile<'a> = (&'a str, &'a str);

/// The texts that say what a pipeline is. Names are relative to its folder.
///
/// ```
/// use fastflow_core::pipeline::{DependencySource, PipelineTexts};
///
/// let texts = PipelineTexts {
///     script: Some(("main.py", "print('hello')")),
///     manifest: Some(("pipeline.json", r#"{"timeout": 60}"#)),
///     files: ["main.py", "requirements.txt"].map(str::to_owned).into(),
///     ..PipelineTexts::default()
/// };
/// let pipeline = texts.assemble("hello".parse().unwrap()).unwrap();
/// assert_eq!(pipeline.dependencies, DependencySource::Requirements { path: "requirements.txt".into() });
/// ```
#[derive(Clone, Debug, Default)]
pub struct PipelineTexts<'a> {
    /// The Python script: `main.py`, or the single file that is the pipeline.
    pub script: Option<TextFile<'a>>,
    /// `pipeline.json`, or `<name>.json`.
    pub manifest: Option<TextFile<'a>>,
    /// `pyproject.toml`.
    pub project: Option<TextFile<'a>>,
    /// The names of all files at the top of the folder.
    pub files: BTreeSet<String>,
}

impl PipelineTexts<'_> {
    /// Puts the pipeline together.
    ///
    /// # Errors
    ///
    /// Everything that is wrong and odd when at least one finding is an error.
    pub fn assemble(&self, name: PipelineName) -> Result<Pipeline, Vec<Diagnostic>> {
        let mut report = if name.is_code() { Report::that_refuses_unknown_fields() } else { Report::new() };
        let manifest = self.manifest.map(|(file, text)| (Document::json(&mut report, file, text), file));
        let script = self.script.and_then(|(file, text)| inline::read(&mut report, file, text));
        let project: Option<Project> =
            self.project.and_then(|(file, text)| read_project(&mut report, file, text));
        let (metadata, fields) = match script {
            Some(Script { metadata, fields }) => (metadata, fields),
            None => Default::default(),
        };
        let document = match (manifest, fields) {
            (Some((Some(manifest), _)), Some(fields)) => Some(manifest.merge(&mut report, fields)),
            (Some((manifest, _)), None) => manifest,
            // A manifest that cannot be read leaves the other fields to be checked, too.
            (Some((None, _)) | None, Some(fields)) => Some(fields),
            (None, None) => None,
        };
        let read = document.and_then(|document| document.read(&mut report, Some(&name)));
        let (definition, locations) = match read {
            Some(Read { definition, locations }) => (definition, locations),
            None => Default::default(),
        };
        let mut others = Vec::new();
        let program = self.program(&definition, &mut others);
        let dependencies =
            self.dependencies(metadata.dependencies.as_deref(), project.is_some(), &mut others);
        let failed = report.has_errors() || others.iter().any(Diagnostic::is_error);
        let mut findings = report.into_diagnostics();
        findings.append(&mut others);
        let Some(program) = program.filter(|_| !failed) else { return Err(findings) };
        Ok(Pipeline {
            name,
            definition,
            program,
            dependencies,
            requires_python: metadata.requires_python.or(project.and_then(|project| project.requires_python)),
            warnings: findings,
            locations,
        })
    }

    fn program(&self, definition: &Definition, findings: &mut Vec<Diagnostic>) -> Option<Program> {
        let kind = definition.kind;
        if let (PipelineKind::Script, Some((file, _))) = (kind, self.script) {
            return Some(Program::script(file));
        }
        if kind == PipelineKind::Notebook && self.files.contains(kind.entry()) {
            return Some(Program { entry: PathBuf::from(kind.entry()), kind });
        }
        let has_notebook = self.files.contains(PipelineKind::Notebook.entry());
        let message = match kind {
            PipelineKind::Script if has_notebook => {
                "found main.ipynb and no main.py: set `type` to \"notebook\" in pipeline.json, or add a main.py"
            }
            PipelineKind::Script => "missing: a pipeline starts with a main.py",
            PipelineKind::Notebook => "missing: `type` is \"notebook\", and a notebook is a main.ipynb",
        };
        findings.push(Diagnostic::error(kind.entry(), "", message));
        None
    }

    /// The first source that is there, in the order of [`DependencySource`].
    fn dependencies(
        &self,
        inline: Option<&[String]>,
        has_project: bool,
        findings: &mut Vec<Diagnostic>,
    ) -> DependencySource {
        let has = |name: &str| self.files.contains(name);
        let mut found: Vec<(&str, DependencySource)> = Vec::new();
        if let (Some(packages), Some((file, _))) = (inline, self.script) {
            let source = if packages.is_empty() {
                DependencySource::None
            } else {
                DependencySource::Script { path: file.into() }
            };
            found.push((file, source));
        }
        if has("uv.lock") && has_project {
            found.push(("uv.lock", DependencySource::UvLock { dir: PathBuf::new() }));
        } else if has("uv.lock") {
            let message = "has no effect without a pyproject.toml with a [project] table beside it";
            findings.push(Diagnostic::warning("uv.lock", "", message));
        }
        if has("pylock.toml") {
            found.push(("pylock.toml", DependencySource::Pylock { path: "pylock.toml".into() }));
        }
        if has("requirements.txt.lock") {
            let path = "requirements.txt.lock";
            found.push((path, DependencySource::RequirementsLock { path: path.into() }));
        } else if has("requirements.txt") {
            let path = "requirements.txt";
            found.push((path, DependencySource::Requirements { path: path.into() }));
        }
        if has_project && !has("uv.lock") {
            found.push(("pyproject.toml", DependencySource::Project { dir: PathBuf::new() }));
        }
        let mut found = found.into_iter();
        let Some((used, source)) = found.next() else { return DependencySource::None };
        let unused: Vec<_> = found.map(|(name, _)| name).collect();
        if !unused.is_empty() {
            let message = format!(
                "the packages come from this file; what {} says has no effect: keep one of them",
                unused.join(" and ")
            );
            findings.push(Diagnostic::warning(used, "dependencies", message));
        }
        source
    }
}

/// The `[project]` table of a `pyproject.toml`. A file without it only configures tools.
struct Project {
    requires_python: Option<PythonRequest>,
}

fn read_project<'a>(report: &mut Report<'a>, file: &'a str, text: &'a str) -> Option<Project> {
    let file = report.add_file(file, text);
    let mut document = Document::toml(report, file, text, &|offset| offset)?;
    let project = document.take_table(report, &["project"])?;
    Some(Project { requires_python: inline::requires_python(report, &project) })
}
