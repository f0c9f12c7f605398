//! What stores keep of the packages of environments, and who used them.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Page, RunQuery};
use crate::{
    PipelineName, RunId, Timestamp,
    environment::{AuditOutcome, EnvironmentId, Package, PackageName, VersionRange},
    run::SetupEnvironment,
};

/// An environment with its packages, as it was recorded. It stays when the environment is removed from the disk.
///
/// ```
/// use fastflow_core::store::EnvironmentPackages;
///
/// fn versions<'a>(of: &'a EnvironmentPackages, name: &'a str) -> impl Iterator<Item = &'a str> {
///     let packages = of.packages.iter().flatten();
///     packages.filter(move |package| package.name.as_str() == name).map(|package| package.version.as_str())
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvironmentPackages {
    /// The environment's id.
    pub environment: EnvironmentId,
    /// SHA-256 of the lock it was built from, in hexadecimal.
    pub lock_hash: String,
    /// The version of its interpreter, such as `3.12.4`.
    pub python_version: String,
    /// The version of the `uv` that built it.
    pub uv_version: String,
    /// When this was recorded.
    pub recorded_at: Timestamp,
    /// Its packages, by name. None where nobody could say when it was recorded.
    pub packages: Option<Vec<Package>>,
}

impl EnvironmentPackages {
    /// The packages of an environment as an attempt keeps it.
    pub fn new(of: &SetupEnvironment, packages: Option<Vec<Package>>, recorded_at: Timestamp) -> Self {
        Self {
            environment: of.id.clone(),
            lock_hash: of.lock_hash.clone(),
            python_version: of.python_version.clone(),
            uv_version: of.uv_version.clone(),
            recorded_at: super::whole_micros(recorded_at),
            packages,
        }
    }
}

/// Which package, in which versions, and where the list of runs begins.
///
/// ```
/// use fastflow_core::store::PackageQuery;
///
/// let mut query = PackageQuery::new("urllib3".parse().unwrap());
/// query.versions = Some("<2.2".parse().unwrap());
/// assert!(query.before.is_none());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PackageQuery {
    /// The package.
    pub name: PackageName,
    /// Only in these versions; in all when `None`. A version that Python does not know lies in no range.
    pub versions: Option<VersionRange>,
    /// Only runs older than this one: the page after it.
    pub before: Option<RunId>,
    /// At most so many runs; [`RunQuery::DEFAULT_LIMIT`] when `None`, never more than [`RunQuery::MAX_LIMIT`].
    pub limit: Option<NonZeroU32>,
}

impl PackageQuery {
    /// All versions of a package.
    pub fn new(name: PackageName) -> Self {
        Self { name, versions: None, before: None, limit: None }
    }

    /// Whether a version is asked for.
    pub fn matches(&self, package: &Package) -> bool {
        package.name == self.name
            && self.versions.as_ref().is_none_or(|versions| versions.contains(&package.version))
    }

    /// The most runs of one page.
    #[cfg(any(feature = "sqlite", feature = "testing"))]
    pub(crate) fn runs_max(&self) -> u32 {
        self.limit.map_or(RunQuery::DEFAULT_LIMIT, NonZeroU32::get).min(RunQuery::MAX_LIMIT)
    }
}

/// Who used a package.
///
/// ```
/// use fastflow_core::store::PackageUse;
///
/// fn is_certain(found: &PackageUse) -> bool {
///     found.unknown_environments == 0
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PackageUse {
    /// The environments that have it, those recorded last first; at most [`ENVIRONMENTS_MAX`](Self::ENVIRONMENTS_MAX).
    pub environments: Vec<PackageInEnvironment>,
    /// Whether there are more of them.
    pub more_environments: bool,
    /// The pipelines that ran in any of them, by name.
    pub pipelines: Vec<PipelineName>,
    /// The runs with an attempt in any of them, newest first.
    pub runs: Page<RunId>,
    /// How many environments were used whose packages nobody knows: what ran there may have used it too.
    pub unknown_environments: u64,
}

impl PackageUse {
    /// The most environments that are listed. Pipelines and runs are those of all.
    pub const ENVIRONMENTS_MAX: u32 = 1000;
}

/// A package in an environment.
///
/// ```
/// use fastflow_core::store::PackageInEnvironment;
///
/// fn line(found: &PackageInEnvironment) -> String {
///     format!("{} {} in {}", found.package.name, found.package.version, found.environment)
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageInEnvironment {
    /// The environment.
    pub environment: EnvironmentId,
    /// The package, with its version.
    pub package: Package,
}

/// What an audit found in the packages of an environment.
///
/// ```
/// use fastflow_core::{environment::AuditOutcome, store::Audit};
///
/// fn is_vulnerable(audit: &Audit) -> bool {
///     matches!(audit.outcome, AuditOutcome::Vulnerable { .. })
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The environment.
    pub environment: EnvironmentId,
    /// When it ended.
    pub at: Timestamp,
    /// What it found.
    pub outcome: AuditOutcome,
}

impl Audit {
    /// How many audits of one environment are kept: the newest.
    pub const KEPT_MAX: u32 = 20;
    /// The most audits that are read at once.
    pub const READ_MAX: u32 = 1000;
}
