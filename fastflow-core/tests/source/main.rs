//! Folders of pipelines on a real file system: what is loaded, what is refused, and what a revision keeps.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files has failed")]

mod chain;
mod load;
mod snapshot;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use fastflow_core::{
    PipelineName,
    pipeline::Diagnostic,
    source::{CatalogEntry, DirectorySource, Revision},
};

struct Place {
    _dir: tempfile::TempDir,
    pipelines: PathBuf,
    snapshots: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pipelines = dir.path().join("pipelines");
        fs::create_dir(&pipelines).unwrap();
        Self { pipelines, snapshots: dir.path().join("state/snapshots"), _dir: dir }
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.pipelines.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn source(&self) -> DirectorySource {
        DirectorySource::new(&self.pipelines, &self.snapshots)
    }
}

fn name(text: &str) -> PipelineName {
    text.parse().unwrap()
}

/// The errors of a broken pipeline, one per line.
fn errors(entry: &CatalogEntry) -> String {
    let findings = entry.pipeline.as_ref().expect_err("the pipeline is broken");
    assert!(findings.iter().any(Diagnostic::is_error));
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn revision(entry: &CatalogEntry) -> Revision {
    entry.runnable().unwrap().revision.clone()
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let list = fs::read_dir(folder).unwrap();
    list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
