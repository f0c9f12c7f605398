//! The view of packages: what is installed where, who used it, and what is known to be vulnerable.

use std::num::NonZeroU32;

use super::{Orchestrator, sbom};
use crate::{
    Error, ErrorKind, Result, RunId,
    environment::EnvironmentId,
    host::packages,
    store::{Audit, EnvironmentPackages, PackageQuery, PackageUse},
};

/// The packages of the environments of an [`Orchestrator`].
///
/// An environment is recorded when the first attempt in it has started, and stays recorded when it is removed from the
/// disk.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use fastflow_core::store::PackageQuery;
///
/// let mut query = PackageQuery::new("urllib3".parse()?);
/// query.versions = Some("<2.2".parse()?);
/// let found = flow.packages().used(&query).await?;
/// for pipeline in found.pipelines {
///     println!("{pipeline} ran with an old urllib3");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Packages<'a> {
    flow: &'a Orchestrator,
}

/// What a bill of materials is for.
///
/// ```
/// use fastflow_core::{RunId, orchestrator::SbomOf};
///
/// fn of(run: RunId) -> SbomOf {
///     run.into()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SbomOf {
    /// The environment of the newest attempt of a run that had one.
    Run(RunId),
    /// An environment.
    Environment(EnvironmentId),
}

impl From<RunId> for SbomOf {
    fn from(run: RunId) -> Self {
        Self::Run(run)
    }
}

impl From<EnvironmentId> for SbomOf {
    fn from(environment: EnvironmentId) -> Self {
        Self::Environment(environment)
    }
}

impl<'a> Packages<'a> {
    pub(super) fn new(flow: &'a Orchestrator) -> Self {
        Self { flow }
    }

    /// An environment as it was recorded.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not recorded; else by the store's word.
    pub async fn of_environment(&self, id: &EnvironmentId) -> Result<EnvironmentPackages> {
        self.flow.inner.ports.store.environment(id).await
    }

    /// The environment of the newest attempt of a run that had one.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such run, or no attempt of it had an environment so far; else by the store's word.
    pub async fn of_run(&self, id: RunId) -> Result<EnvironmentPackages> {
        let ports = &self.flow.inner.ports;
        let attempts = ports.store.attempts(id).await?;
        let mut environments = attempts.into_iter().rev().filter_map(|attempt| attempt.setup?.environment);
        let newest = environments.next().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "no attempt of this run had an environment so far")
                .with("run", id)
        })?;
        packages::packages_of(ports, &newest).await
    }

    /// Who used a package: environments, pipelines and runs.
    ///
    /// # Errors
    ///
    /// By the store's word.
    pub async fn used(&self, query: &PackageQuery) -> Result<PackageUse> {
        self.flow.inner.ports.store.package_use(query).await
    }

    /// A bill of materials as [CycloneDX](https://cyclonedx.org) 1.6 JSON. It is the same whenever it is asked for: its
    /// serial number comes from the environment's id, and its time is when the environment was recorded.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such run or environment, or nobody knows its packages; else by the store's word.
    pub async fn sbom(&self, of: impl Into<SbomOf>) -> Result<serde_json::Value> {
        let environment = match of.into() {
            SbomOf::Run(run) => self.of_run(run).await?,
            SbomOf::Environment(id) => self.of_environment(&id).await?,
        };
        sbom::cyclonedx(&environment)
    }

    /// Audits the packages of an environment that is recorded, now, and keeps what is found. That the tool is missing or
    /// fails is an outcome like any other.
    ///
    /// # Errors
    ///
    /// `NotFound` when the environment is not recorded, or nobody knows its packages; `Unavailable`, `StorageFull` when
    /// the outcome cannot be kept.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the audit, and nothing is kept.
    pub async fn audit(&self, id: &EnvironmentId) -> Result<Audit> {
        packages::audit(&self.flow.inner.ports, id).await
    }

    /// The audits of one environment, or of all, newest first; at most `limit` and never more than
    /// [`Audit::READ_MAX`]. Of each environment the newest [`Audit::KEPT_MAX`] are kept.
    ///
    /// # Errors
    ///
    /// By the store's word.
    pub async fn audits(&self, of: Option<&EnvironmentId>, limit: NonZeroU32) -> Result<Vec<Audit>> {
        self.flow.inner.ports.store.audits(of, limit).await
    }
}
