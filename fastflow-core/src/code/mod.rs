//! Code that is in no source: a script, a snippet, a function. It is given with the submission, and from then on it is
//! run as pipelines are: durably, in an environment and a sandbox of its own.
//!
//! Its files become a snapshot, named by their content, before the run is accepted; the run names that revision. So a
//! run of code is taken over, tried again and run anew like any other, and the same code is written down once.

mod settings;
mod shelf;

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

pub(crate) use self::shelf::CodeShelf;
use crate::{Error, ErrorKind, PipelineName, Result, source::TreeLimits};

/// The name of the file that holds the settings.
const SETTINGS_FILE: &str = "pipeline.json";

/// Code to run that is in no source: files, one of them a `main.py`, and settings.
///
/// What holds for a pipeline's folder holds for its files: metadata in the first lines of `main.py` (PEP 723) and a
/// `requirements.txt` say which packages it needs, and a `pipeline.json` what it may use. Fields that only make sense
/// for pipelines of a source are refused by name: those of schedules, webhooks, daemons, warm sandboxes, what follows,
/// and `encrypted_env`. So are fields that nobody knows, which are warnings of a pipeline: nobody would see those of code.
///
/// Its runs are those of the name `code.<name>`, which no pipeline of a source can have. It may name `secrets`; it gets
/// those of the global scope.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use fastflow_core::{Code, Submission};
///
/// let code = Code::new("sum")?
///     .file("main.py", "import polars, sys\nprint(polars.read_csv('table.csv').sum())\n")
///     .file("requirements.txt", "polars==1.*\n")
///     .file("table.csv", "a,b\n1,2\n")
///     .settings(serde_json::json!({"mem_hard_limit": "2g", "timeout": 60}).as_object().unwrap());
/// let run = flow.submit(Submission::code(code).parameter("MONTH", "2026-11").key("sum-2026-11")).await?;
/// println!("{}", flow.runs().wait(run.id).await?.status());
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "code does nothing until it is submitted"]
pub struct Code {
    name: PipelineName,
    files: Vec<(String, Bytes)>,
}

impl Code {
    /// What it may hold: 1,000 files and folders, 64 MiB, and 32 folders inside each other.
    pub const LIMITS: TreeLimits =
        TreeLimits { max_files: 1_000, max_bytes: 64 << 20, max_depth: TreeLimits::MAX_DEPTH };
    /// The longest name, in characters.
    pub const MAX_NAME_CHARS: usize = PipelineName::MAX_CHARS - PipelineName::CODE_PREFIX.len();

    /// Code without any file yet. The name groups its runs, as a pipeline's does; every name that is ever used leaves a
    /// row in the store, so it says what is run, and not which time.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that does not begin with a letter, a digit or `_`, holds others than those, `-` and `.`, or
    /// has more than 58 characters.
    pub fn new(name: &str) -> Result<Self> {
        let invalid = || {
            Error::new(
                ErrorKind::Invalid,
                "not a valid name of code: it begins with a letter, a digit or `_`, holds only a-z, A-Z, 0-9, `_`, `-` \
                 and `.`, and has at most 58 characters",
            )
            .with("found", name.escape_debug().take(200).collect::<String>())
        };
        let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        let name = format!("{}{name}", PipelineName::CODE_PREFIX).parse().ok().filter(|_| begins_well);
        Ok(Self { name: name.ok_or_else(invalid)?, files: Vec::new() })
    }

    /// Adds a file. The path is relative, with `/` between names, and keeps the rules that hold for a source of
    /// pipelines; it is checked when the code is submitted.
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), Bytes::from(content.into())));
        self
    }

    /// What a `pipeline.json` may say. It becomes one, so a file of that name is given in its place, not beside it.
    pub fn settings(self, settings: &Map<String, Value>) -> Self {
        self.file(SETTINGS_FILE, Value::Object(settings.clone()).to_string())
    }

    /// The name that its runs have: `code.<name>`.
    pub fn name(&self) -> &PipelineName {
        &self.name
    }
}

impl fmt::Debug for Code {
    /// Without what the files hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<(&str, usize)> =
            self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.len())).collect();
        f.debug_struct("Code").field("name", &self.name).field("file_bytes", &files).finish()
    }
}
