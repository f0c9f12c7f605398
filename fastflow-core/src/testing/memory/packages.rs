//! Environments with their packages, who used them, and audits.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use super::{World, world::Row};
use crate::{
    Error, ErrorKind, Result, RunId,
    environment::EnvironmentId,
    run::SetupEnvironment,
    store::{Audit, EnvironmentPackages, PackageInEnvironment, PackageQuery, PackageUse, Page},
};

/// What is kept of environments.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    environments: BTreeMap<EnvironmentId, EnvironmentPackages>,
    /// In the order in which they were recorded.
    recorded: Vec<EnvironmentId>,
    /// Oldest first.
    audits: Vec<Audit>,
}

/// The environments that the attempts of a run name.
fn environments_of(row: &Row) -> impl Iterator<Item = SetupEnvironment> {
    row.attempts().into_iter().filter_map(|attempt| attempt.setup?.environment)
}

impl World {
    pub(super) fn put_environment(&mut self, mut new: EnvironmentPackages) {
        let Inventory { environments, recorded, .. } = &mut self.inventory;
        if let Some(packages) = &mut new.packages {
            packages.sort();
            packages.dedup();
        }
        match environments.get_mut(&new.environment) {
            None => {
                recorded.push(new.environment.clone());
                environments.insert(new.environment.clone(), new);
            }
            Some(old) if old.packages.is_none() && new.packages.is_some() => {
                (old.packages, old.recorded_at) = (new.packages, new.recorded_at);
            }
            Some(_) => {}
        }
    }

    pub(super) fn environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages> {
        self.inventory.environments.get(id).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "this environment is not recorded").with("environment", id)
        })
    }

    pub(super) fn unrecorded(&self, limit: NonZeroU32) -> Vec<SetupEnvironment> {
        let used = self.runs.values().flat_map(environments_of);
        let used: BTreeMap<EnvironmentId, SetupEnvironment> =
            used.map(|environment| (environment.id.clone(), environment)).collect();
        let unrecorded =
            used.into_values().filter(|used| !self.inventory.environments.contains_key(&used.id));
        unrecorded.take(usize::try_from(limit.get()).unwrap_or(usize::MAX)).collect()
    }

    pub(super) fn package_use(&self, query: &PackageQuery) -> PackageUse {
        let known = |id: &EnvironmentId| self.inventory.environments.get(id)?.packages.as_ref();
        let mut environments: Vec<PackageInEnvironment> = Vec::new();
        for id in self.inventory.recorded.iter().rev() {
            let packages = known(id).into_iter().flatten().filter(|package| query.matches(package));
            let environment = id.clone();
            environments.extend(packages.map(|package| PackageInEnvironment {
                environment: environment.clone(),
                package: package.clone(),
            }));
        }
        let having: BTreeSet<&EnvironmentId> = environments.iter().map(|found| &found.environment).collect();
        let (mut pipelines, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        let mut runs: Vec<RunId> = Vec::new();
        for row in self.runs.values().rev() {
            let used: BTreeSet<EnvironmentId> =
                environments_of(row).map(|environment| environment.id).collect();
            unknown.extend(used.iter().filter(|id| known(id).is_none()).cloned());
            if used.iter().any(|id| having.contains(id)) {
                pipelines.insert(row.record.run.pipeline().clone());
                runs.extend(
                    Some(row.record.run.id).filter(|id| query.before.is_none_or(|before| *id < before)),
                );
            }
        }
        let limit = query.runs_max() as usize;
        let more = runs.len() > limit;
        runs.truncate(limit);
        let next = runs.last().copied().filter(|_| more);
        let listed = PackageUse::ENVIRONMENTS_MAX as usize;
        let more_environments = environments.len() > listed;
        environments.truncate(listed);
        PackageUse {
            environments,
            more_environments,
            pipelines: pipelines.into_iter().collect(),
            runs: Page { items: runs, next },
            unknown_environments: unknown.len() as u64,
        }
    }

    pub(super) fn unaudited(&self, limit: NonZeroU32) -> Vec<EnvironmentId> {
        let Inventory { environments, recorded, audits } = &self.inventory;
        let answers = audits.iter().filter(|audit| audit.outcome.is_answer());
        let answered: BTreeSet<&EnvironmentId> = answers.map(|audit| &audit.environment).collect();
        let is_known =
            |id: &EnvironmentId| environments.get(id).is_some_and(|found| found.packages.is_some());
        let unaudited = recorded.iter().rev().filter(|id| is_known(id) && !answered.contains(id));
        unaudited.take(usize::try_from(limit.get()).unwrap_or(usize::MAX)).cloned().collect()
    }

    pub(super) fn put_audit(&mut self, audit: Audit) {
        let audits = &mut self.inventory.audits;
        let environment = audit.environment.clone();
        audits.push(audit);
        let of_it = audits.iter().filter(|audit| audit.environment == environment).count();
        let mut surplus = of_it.saturating_sub(Audit::KEPT_MAX as usize);
        audits.retain(|audit| {
            let is_surplus = surplus > 0 && audit.environment == environment;
            surplus -= usize::from(is_surplus);
            !is_surplus
        });
    }

    pub(super) fn audits_of(&self, environment: Option<&EnvironmentId>, limit: NonZeroU32) -> Vec<Audit> {
        let wanted = |audit: &&Audit| environment.is_none_or(|environment| audit.environment == *environment);
        let limit = limit.get().min(Audit::READ_MAX) as usize;
        self.inventory.audits.iter().rev().filter(wanted).take(limit).cloned().collect()
    }
}
