//! A Python file that is no pipeline, as code to run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fastflow_core::{Code, Error, ErrorKind};

/// The name of the program in what is run.
const ENTRY: &str = "main.py";
/// How the name of a Python file ends.
const SUFFIX: &str = "py";

/// What is to run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    /// A pipeline, by its name.
    Pipeline(String),
    /// A file.
    Script(PathBuf),
}

impl Subject {
    /// What was meant: no name of a pipeline is a path, or ends in `.py`.
    pub(crate) fn of(word: &str) -> Self {
        let path = Path::new(word);
        if word.contains('/') || path.extension().is_some_and(|suffix| suffix == SUFFIX) {
            Self::Script(path.to_owned())
        } else {
            Self::Pipeline(word.to_owned())
        }
    }
}

/// The file as code that is called like it.
///
/// # Errors
///
/// `NotFound`, `Denied` by the file system's word; `Invalid` for what is no Python file, or too large.
pub(crate) fn code(path: &Path) -> Result<Code, Error> {
    let at = |error: Error| error.with("file", path.display());
    let size = fs::metadata(path).map_err(|error| at(error.into()))?;
    if !size.is_file() || path.extension().is_none_or(|suffix| suffix != SUFFIX) {
        return Err(at(Error::new(ErrorKind::Invalid, "only a Python file can be run by its path")));
    }
    if size.len() > Code::LIMITS.max_bytes {
        return Err(at(Error::new(ErrorKind::Invalid, "the file is too large")
            .with("found_bytes", size.len())
            .with("allowed_bytes", Code::LIMITS.max_bytes)));
    }
    let text = fs::read(path).map_err(|error| at(error.into()))?;
    Ok(Code::new(&name(path))?.file(ENTRY, text))
}

/// The name before the dot; what names may not hold is `_` in it.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let fitting = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name: String = stem.chars().map(fitting).take(Code::MAX_NAME_CHARS).collect();
    if name.starts_with(['-', '.']) { name.replacen(['-', '.'], "_", 1) } else { name }
}
