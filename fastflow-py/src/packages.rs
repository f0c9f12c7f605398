//! The packages: what is installed where, who used it, and what is known to be vulnerable.

use std::{num::NonZeroU32, sync::Arc};

use fastflow_core::{
    PipelineName, RunId,
    environment::{AuditOutcome, Finding, Package, PackageHash, PackageOrigin, SkippedPackage},
    orchestrator::SbomOf,
    store::{Audit, EnvironmentPackages, PackageInEnvironment, PackageQuery, PackageUse},
};
use pyo3::prelude::*;

use crate::{
    engine::Shared,
    operation::{Operation, Record},
    record::{Fields, Json},
};

/// The packages of a flow.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Packages {
    shared: Arc<Shared>,
}

impl Packages {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Packages {
    /// The environment of the newest attempt of a run that had one.
    fn of_run(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.packages().of_run(id.parse()?).await })
    }

    /// An environment as it was recorded.
    fn of_environment(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.packages().of_environment(&id.parse()?).await })
    }

    /// Who used a package.
    #[pyo3(signature = (name, *, versions = None, before = None, limit = None))]
    fn used(
        &self,
        name: String,
        versions: Option<String>,
        before: Option<String>,
        limit: Option<NonZeroU32>,
    ) -> Operation {
        self.shared.call(move |flow| async move {
            let mut query = PackageQuery::new(name.parse()?);
            query.versions = versions.as_deref().map(str::parse).transpose()?;
            query.before = before.as_deref().map(str::parse).transpose()?;
            query.limit = limit;
            flow.packages().used(&query).await
        })
    }

    /// The bill of materials of a run.
    fn sbom_of_run(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move {
            flow.packages().sbom(SbomOf::Run(id.parse::<RunId>()?)).await.map(Json)
        })
    }

    /// The bill of materials of an environment.
    fn sbom_of_environment(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move {
            flow.packages().sbom(SbomOf::Environment(id.parse()?)).await.map(Json)
        })
    }

    /// Audits the packages of an environment, now.
    fn audit(&self, environment: String) -> Operation {
        self.shared.call(move |flow| async move { flow.packages().audit(&environment.parse()?).await })
    }

    /// The audits of an environment, or of all, newest first.
    fn audits(&self, environment: Option<String>, limit: NonZeroU32) -> Operation {
        self.shared.call(move |flow| async move {
            let of = environment.as_deref().map(str::parse).transpose()?;
            flow.packages().audits(of.as_ref(), limit).await
        })
    }
}

impl Record for EnvironmentPackages {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let packages = self.packages.as_ref().map(|found| all(py, found, package)).transpose()?;
        Ok(Fields::new(py)
            .with("environment", self.environment.as_str())?
            .with("lock_hash", self.lock_hash)?
            .with("python_version", self.python_version)?
            .with("uv_version", self.uv_version)?
            .with("recorded_at", self.recorded_at)?
            .with("packages", packages)?
            .done())
    }
}

impl Record for PackageUse {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let pipelines: Vec<&str> = self.pipelines.iter().map(PipelineName::as_str).collect();
        let runs: Vec<String> = self.runs.items.iter().map(ToString::to_string).collect();
        Ok(Fields::new(py)
            .with("environments", all(py, &self.environments, in_environment)?)?
            .with("more_environments", self.more_environments)?
            .with("pipelines", pipelines)?
            .with("runs", runs)?
            .with("next_runs", self.runs.next.map(|next| next.to_string()))?
            .with("unknown_environments", self.unknown_environments)?
            .done())
    }
}

impl Record for Audit {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (mut audited, mut findings, mut skipped) = (None, Vec::new(), Vec::new());
        let outcome = match &self.outcome {
            AuditOutcome::ToolMissing { .. } => "tool_missing",
            AuditOutcome::Clean { audited: count, skipped: others } => {
                audited = Some(*count);
                skipped = all(py, others, left_out)?;
                "clean"
            }
            AuditOutcome::Vulnerable { audited: count, findings: found, skipped: others } => {
                audited = Some(*count);
                findings = all(py, found, finding)?;
                skipped = all(py, others, left_out)?;
                "vulnerable"
            }
            _ => "failed",
        };
        Ok(Fields::new(py)
            .with("environment", self.environment.as_str())?
            .with("at", self.at)?
            .with("outcome", outcome)?
            .with("message", self.outcome.to_string())?
            .with("audited", audited)?
            .with("findings", findings)?
            .with("skipped", skipped)?
            .done())
    }
}

fn all<T>(
    py: Python<'_>,
    items: &[T],
    made: impl Fn(Python<'_>, &T) -> PyResult<Py<PyAny>>,
) -> PyResult<Vec<Py<PyAny>>> {
    items.iter().map(|item| made(py, item)).collect()
}

fn package(py: Python<'_>, package: &Package) -> PyResult<Py<PyAny>> {
    let (origin, place) = match &package.origin {
        PackageOrigin::Index { url } => ("index", Some(url)),
        PackageOrigin::Direct { url } => ("direct", Some(url)),
        PackageOrigin::File { path } => ("file", Some(path)),
        _ => ("unknown", None),
    };
    Ok(Fields::new(py)
        .with("name", package.name.as_str())?
        .with("version", &package.version)?
        .with("hashes", package.hashes.iter().map(PackageHash::as_str).collect::<Vec<_>>())?
        .with("origin", origin)?
        .with("place", place)?
        .done())
}

fn in_environment(py: Python<'_>, found: &PackageInEnvironment) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("environment", found.environment.as_str())?
        .with("package", package(py, &found.package)?)?
        .done())
}

fn finding(py: Python<'_>, finding: &Finding) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py)
        .with("package", finding.package.as_str())?
        .with("version", &finding.version)?
        .with("id", &finding.id)?
        .with("aliases", &finding.aliases)?
        .with("fixed_in", &finding.fixed_in)?
        .with("description", &finding.description)?
        .done())
}

fn left_out(py: Python<'_>, skipped: &SkippedPackage) -> PyResult<Py<PyAny>> {
    Ok(Fields::new(py).with("package", skipped.package.as_str())?.with("reason", &skipped.reason)?.done())
}
