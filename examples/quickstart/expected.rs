//! How the pipelines of a folder are supposed to end.

use std::{collections::BTreeMap, io, path::Path};

use serde::Deserialize;

/// The file beside the pipelines.
pub(crate) const FILE: &str = "expected.toml";

/// What one pipeline is supposed to come to.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// The status, as `SUCCESS`.
    pub(crate) status: String,
    /// The reason, as `exit code 1`.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Lines on both streams together.
    #[serde(default)]
    pub(crate) lines: Option<u64>,
    /// Files left in the working directory.
    #[serde(default)]
    pub(crate) files: Vec<String>,
}

impl Default for Expected {
    fn default() -> Self {
        Self { status: "SUCCESS".into(), reason: None, lines: None, files: Vec::new() }
    }
}

/// What one pipeline came to.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    /// The status, as `SUCCESS`.
    pub(crate) status: String,
    /// The reason, as `exit code 1`.
    pub(crate) reason: Option<String>,
    /// Lines on both streams together.
    pub(crate) lines: u64,
    /// Where its files are.
    pub(crate) directory: Option<&'a Path>,
}

/// Reads the expectations of a folder; without the file, all are supposed to succeed.
///
/// # Errors
///
/// When the file is there and cannot be read or understood.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<String, Expected>, String> {
    let path = folder.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

impl Expected {
    /// Every way in which `found` is not as expected, in words.
    pub(crate) fn differences(&self, found: &Found<'_>) -> Vec<String> {
        let mut differences = Vec::new();
        if self.status != found.status {
            differences.push(format!("expected {}, was {}", self.status, found.status));
        }
        if self.reason != found.reason {
            let word = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "none".into());
            differences.push(format!(
                "expected as reason {}, was {}",
                word(&self.reason),
                word(&found.reason)
            ));
        }
        if self.lines.is_some_and(|lines| lines != found.lines) {
            differences.push(format!(
                "expected {} lines, saw {}",
                self.lines.unwrap_or_default(),
                found.lines
            ));
        }
        let there = |file: &&String| found.directory.is_some_and(|directory| directory.join(file).is_file());
        for missing in self.files.iter().filter(|file| !there(file)) {
            differences.push(format!("expected the file {missing}, which is not there"));
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: &str) -> Found<'static> {
        Found { status: status.into(), reason: None, lines: 3, directory: None }
    }

    #[test]
    fn every_difference_is_named() {
        let expected = Expected {
            status: "FAILED".into(),
            reason: Some("exit code 1".into()),
            lines: Some(4),
            files: vec!["a.txt".into()],
        };
        assert_eq!(
            expected.differences(&found("SUCCESS")),
            [
                "expected FAILED, was SUCCESS",
                "expected as reason exit code 1, was none",
                "expected 4 lines, saw 3",
                "expected the file a.txt, which is not there"
            ]
        );
        assert_eq!(Expected::default().differences(&found("SUCCESS")), <[String; 0]>::default());
    }

    #[test]
    fn the_expectations_of_the_demo_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let expected = read(&folder).unwrap();
        assert_eq!(expected["broken"].reason.as_deref(), Some("exit code 1"));
        for name in expected.keys() {
            assert!(
                folder.join(name).join("main.py").is_file() || folder.join(format!("{name}.py")).is_file(),
                "{name} is no pipeline of this folder"
            );
        }
    }
}
