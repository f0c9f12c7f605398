//! What may be left on a machine when everything has come to rest: nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::Books;
use crate::run::Failure;

impl Books {
    /// Nothing of any run is left on the machine.
    pub fn check_machine(&self, stage: &Path) {
        let runs: BTreeSet<String> = self.runs.iter().map(|run| run.id.to_string()).collect();
        assert_eq!(processes(stage, &runs), Vec::<String>::new(), "processes are left");
        let cgroups: Vec<_> = find(Path::new("/sys/fs/cgroup"), &|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            runs.iter().any(|run| name.contains(run.as_str()))
        });
        assert_eq!(cgroups, Vec::<PathBuf>::new(), "control groups are left");
        let live: Vec<_> = find(&self.data.executor_dir().join("live"), &|path| path.is_file());
        assert_eq!(live, Vec::<PathBuf>::new(), "attempts are still listed as live");
        let half_done = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Half a guard may stay: who is killed while it writes one leaves it, and it decides nothing.
            name.starts_with("order.json") || name.ends_with(".reserved") || name.starts_with("log.tail")
        };
        let mut left = find(&self.data.runs_dir(), &half_done);
        // What watched over a lost attempt was killed, and could not clear away.
        for run in &self.runs {
            if matches!(run.failure(), Some(Failure::Lost(_))) {
                left.retain(|path| !path.starts_with(self.data.run_dir(run.pipeline(), run.id)));
            }
        }
        assert_eq!(left, Vec::<PathBuf>::new(), "half done files are left");
        for dir in [self.data.snapshots_dir(), self.data.executor_dir()] {
            let hidden = |path: &Path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
                    && !path.is_dir()
                    && !path.to_string_lossy().contains("lock")
            };
            assert_eq!(find(&dir, &hidden), Vec::<PathBuf>::new(), "temporary files are left");
        }
    }
}

/// Processes that carry one of these runs in their environment, or execute or work below `stage`.
fn processes(stage: &Path, runs: &BTreeSet<String>) -> Vec<String> {
    let this = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name == this || name.parse::<u32>().is_err() {
            continue;
        }
        let proc = entry.path();
        let environ = fs::read(proc.join("environ")).unwrap_or_default();
        let of_run = environ.split(|byte| *byte == 0).any(|entry| {
            let run = entry.strip_prefix(b"FASTFLOW_RUN_ID=").unwrap_or_default();
            std::str::from_utf8(run).is_ok_and(|run| runs.contains(run))
        });
        let below = |link: &str| fs::read_link(proc.join(link)).is_ok_and(|path| path.starts_with(stage));
        if of_run || below("exe") || below("cwd") {
            let command = fs::read(proc.join("cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
            found.push(format!("{name}: {} [{stat}]", String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// All paths below `dir` that are wanted; links are not followed.
fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if wanted(&path) {
            found.push(path.clone());
        }
        // What programs leave in their own directory is theirs.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "work" {
            found.extend(find(&path, wanted));
        }
    }
    found
}
