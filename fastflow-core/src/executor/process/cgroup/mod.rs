//! The kernel's groups of processes: limits, and the certainty of having found them all.

mod find;
mod group;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(super) use self::group::{kill, members, remove};
use crate::{AttemptId, Error, OwnerId, Result, executor::Limits};

/// The directory of this crate in each hierarchy.
const DIRECTORY: &str = "fastflow";

/// The period over which CPU limits are kept.
const CPU_PERIOD_US: u64 = 100_000;

/// The shortest share of a period that the kernel accepts.
const CPU_MIN_QUOTA_US: u64 = 1_000;

/// What the kernel can limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Controller {
    Cpu,
    Memory,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// The two forms in which kernels offer groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    One,
    Two,
}

/// One tree of groups in which this process may make its own.
#[derive(Debug)]
struct Hierarchy {
    /// The directory of this crate in it.
    root: PathBuf,
    version: Version,
    controllers: Vec<Controller>,
}

/// The trees of groups that can be used here; none is fine.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Finds out by trying. What does not work is left out.
    pub(super) fn find() -> Self {
        Self { hierarchies: find::hierarchies() }
    }

    /// Whether limits of this kind can be kept.
    pub(super) fn can(&self, controller: Controller) -> bool {
        self.of(controller).is_some()
    }

    /// The groups of an attempt, whether they exist or not. The first holds all its processes.
    pub(super) fn paths(&self, owner: &OwnerId, attempt: AttemptId) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.path(owner, attempt)).collect()
    }

    /// Makes the groups that `limits` need, and one in any case, by which all processes can be found.
    pub(super) fn create(
        &self,
        owner: &OwnerId,
        attempt: AttemptId,
        limits: &Limits,
    ) -> Result<Vec<PathBuf>> {
        let tracking = self.of(Controller::Pids).or(self.hierarchies.first());
        let needed = [
            (Controller::Cpu, limits.cpu_millis.is_some()),
            (Controller::Memory, limits.memory_bytes.is_some()),
            (Controller::Pids, limits.max_processes.is_some()),
        ];
        let limiting = needed.into_iter().filter(|(_, needed)| *needed).filter_map(|(one, _)| self.of(one));
        let mut paths: Vec<PathBuf> = Vec::new();
        for hierarchy in tracking.into_iter().chain(limiting) {
            let path = hierarchy.path(owner, attempt);
            if paths.contains(&path) {
                continue;
            }
            paths.push(path.clone());
            if let Err(error) = hierarchy.make(&path, limits) {
                let _ = remove(&paths);
                return Err(Error::from(error).with("cgroup", path.display()));
            }
        }
        Ok(paths)
    }

    fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.contains(&controller))
    }
}

impl Hierarchy {
    fn path(&self, owner: &OwnerId, attempt: AttemptId) -> PathBuf {
        // One level, so that nothing is left when the attempt is removed.
        self.root.join(format!("{owner}.{attempt}"))
    }

    fn make(&self, path: &Path, limits: &Limits) -> io::Result<()> {
        create_dir(path)?;
        self.controllers.iter().try_for_each(|controller| self.limit(path, *controller, limits))
    }

    fn limit(&self, path: &Path, controller: Controller, limits: &Limits) -> io::Result<()> {
        match controller {
            Controller::Cpu => limits.cpu_millis.map_or(Ok(()), |millis| self.limit_cpu(path, millis)),
            Controller::Memory => limits.memory_bytes.map_or(Ok(()), |bytes| self.limit_memory(path, bytes)),
            // The one who watches over the program is in the group, too.
            Controller::Pids => limits.max_processes.map_or(Ok(()), |processes| {
                fs::write(path.join("pids.max"), processes.saturating_add(1).to_string())
            }),
        }
    }

    fn limit_cpu(&self, path: &Path, millis: u32) -> io::Result<()> {
        let quota = (u64::from(millis) * CPU_PERIOD_US / 1000).max(CPU_MIN_QUOTA_US);
        match self.version {
            Version::One => {
                fs::write(path.join("cpu.cfs_period_us"), CPU_PERIOD_US.to_string())?;
                fs::write(path.join("cpu.cfs_quota_us"), quota.to_string())
            }
            Version::Two => fs::write(path.join("cpu.max"), format!("{quota} {CPU_PERIOD_US}")),
        }
    }

    fn limit_memory(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let (memory, swap, swap_bytes) = match self.version {
            Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes),
            Version::Two => ("memory.max", "memory.swap.max", 0),
        };
        fs::write(path.join(memory), bytes.to_string())?;
        match fs::write(path.join(swap), swap_bytes.to_string()) {
            // A kernel that does not count swap does not give any to count.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Lets the children of a group of version 2 have limits of their own.
fn pass_on(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    controllers.iter().try_for_each(|controller| {
        fs::write(group.join("cgroup.subtree_control"), format!("+{}", controller.name()))
    })
}

fn create_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
