//! How long run directories are kept: by number, by age, by size. Only those of runs that have ended.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use crate::{Error, PipelineName, Result, RunId, Timestamp, layout::DataDir, removal::remove_folder};

/// What is kept of ended runs' directories (logs, usage, files left behind). The runs themselves stay in the
/// store.
///
/// ```
/// use fastflow_core::Retention;
///
/// let retention = Retention { max_runs_per_pipeline: 20, ..Retention::default() };
/// assert!(retention.max_total_bytes > 0);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retention {
    /// The newest runs of each pipeline that are kept.
    pub max_runs_per_pipeline: usize,
    /// The age, since submission, up to which they are kept.
    pub max_age: Duration,
    /// The bytes that all of them together may take; the oldest go first.
    pub max_total_bytes: u64,
    /// How long an environment that no run uses is kept.
    pub max_unused_environment_age: Duration,
}

impl Default for Retention {
    /// 200 runs a pipeline, 90 days, 20 GiB; environments 30 days.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            max_runs_per_pipeline: 200,
            max_age: 90 * DAY,
            max_total_bytes: 20 << 30,
            max_unused_environment_age: 30 * DAY,
        }
    }
}

/// Sizes of the directories of ended runs, which do not change any more.
pub(super) type Sizes = HashMap<RunId, u64>;

/// All run directories, per pipeline, oldest first: ids of version 7 sort by time.
pub(super) fn scan(data: &DataDir) -> Result<BTreeMap<PipelineName, Vec<RunId>>> {
    let mut found = BTreeMap::new();
    for pipeline in read_names::<PipelineName>(&data.runs_dir())? {
        let mut runs = read_names::<RunId>(&data.runs_dir().join(pipeline.as_str()))?;
        runs.sort_unstable();
        found.insert(pipeline, runs);
    }
    Ok(found)
}

/// The names in a directory that parse; others are not ours and stay.
fn read_names<T: std::str::FromStr>(dir: &Path) -> Result<Vec<T>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::from(error).with("path", dir.display())),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

impl Retention {
    /// The directories to remove, given which runs have ended and what they take.
    pub(super) fn surplus(
        &self,
        ended: &BTreeMap<PipelineName, Vec<RunId>>,
        sizes: &Sizes,
        now: Timestamp,
    ) -> Vec<(PipelineName, RunId)> {
        let mut surplus = Vec::new();
        let mut kept: Vec<(RunId, &PipelineName)> = Vec::new();
        for (pipeline, runs) in ended {
            let too_many = runs.len().saturating_sub(self.max_runs_per_pipeline);
            for (index, run) in runs.iter().enumerate() {
                let age = Duration::try_from(now.duration_since(run.created_at())).unwrap_or_default();
                if index < too_many || age > self.max_age {
                    surplus.push((pipeline.clone(), *run));
                } else {
                    kept.push((*run, pipeline));
                }
            }
        }
        kept.sort_unstable();
        let size = |run: &RunId| sizes.get(run).copied().unwrap_or(0);
        let mut total: u64 = kept.iter().map(|(run, _)| size(run)).sum();
        for (run, pipeline) in kept {
            if total <= self.max_total_bytes {
                break;
            }
            total -= size(&run);
            surplus.push((pipeline.clone(), run));
        }
        surplus
    }
}

/// The bytes that all files below `dir` take; what vanishes meanwhile counts nothing.
pub(super) fn tree_bytes(dir: &Path) -> u64 {
    let (mut bytes, mut folders) = (0_u64, vec![dir.to_owned()]);
    // Not by recursion: programs make these trees, as deep as they like.
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                // What it takes on the disk, not what a file with holes pretends to be.
                Ok(found) => bytes = bytes.saturating_add(found.blocks() * 512),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Removes a run's directory. Fine when it is gone.
pub(super) fn remove(data: &DataDir, pipeline: &PipelineName, run: RunId) -> Result<()> {
    let dir = data.run_dir(pipeline, run);
    remove_folder(&dir).map_err(|error| Error::from(error).with("path", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seconds: i64) -> RunId {
        format!("{:012x}", seconds * 1000)
            .parse::<String>()
            .map(|hex| format!("{}-{}-7000-8000-000000000000", &hex[..8], &hex[8..]))
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn the_oldest_go_first_by_number_age_and_size() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let name: PipelineName = "a".parse().unwrap();
        let runs: Vec<RunId> = [10, 999_000, 999_100, 999_200, 999_300].map(run).to_vec();
        let ended = BTreeMap::from([(name.clone(), runs.clone())]);
        let sizes: Sizes = runs.iter().map(|run| (*run, 100)).collect();
        let names = |surplus: Vec<(PipelineName, RunId)>| {
            surplus
                .into_iter()
                .map(|(_, run)| runs.iter().position(|r| *r == run).unwrap())
                .collect::<Vec<_>>()
        };

        let all = Retention { max_age: Duration::MAX, ..Retention::default() };
        assert_eq!(names(all.surplus(&ended, &sizes, now)), Vec::<usize>::new());
        let young = Retention { max_age: Duration::from_hours(1), ..all.clone() };
        assert_eq!(names(young.surplus(&ended, &sizes, now)), [0]);
        let few = Retention { max_runs_per_pipeline: 2, ..all.clone() };
        assert_eq!(names(few.surplus(&ended, &sizes, now)), [0, 1, 2]);
        let small = Retention { max_total_bytes: 250, ..all };
        assert_eq!(names(small.surplus(&ended, &sizes, now)), [0, 1, 2]);
    }
}
