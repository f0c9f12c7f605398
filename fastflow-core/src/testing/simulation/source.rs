//! The pipelines of the plan, as hosts find them.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::stage::Stage;
use crate::{
    Error, ErrorKind, PipelineName, Result,
    environment::{
        AuditOutcome, Collected, Environment, EnvironmentBuilder, EnvironmentFailure, EnvironmentFailureKind,
        EnvironmentId, EnvironmentRequest, Package, PackageAuditor, SetupLog,
    },
    run::RunSpec,
    source::{
        self, Catalog, CatalogEntry, Fetched, PipelineSource, Probe, Provenance, RevisedPipeline, Revision,
        SyncFailure, SyncRequest,
    },
};

#[derive(Debug)]
pub(super) struct SimSource(pub(super) Arc<Stage>);

impl SimSource {
    fn all(&self) -> Catalog {
        let entries = self.0.plan.specs.values().map(|spec| self.entry(spec)).collect();
        Catalog { entries, ..Catalog::default() }
    }

    fn entry(&self, spec: &RunSpec) -> CatalogEntry {
        let name = spec.pipeline.name.clone();
        let mut pipeline = spec.pipeline.clone();
        let edits = self.0.edits();
        if let Some(edits) = edits {
            pipeline.definition.schedules = self.0.plan.schedules(&name, edits);
        }
        let revision = format!("{:064x}", edits.map_or(0, |edits| edits + 1)).parse().unwrap();
        let found = RevisedPipeline { revision, pipeline: Arc::new(pipeline), provenance: None };
        CatalogEntry { name, pipeline: Ok(found) }
    }
}

#[async_trait]
impl PipelineSource for SimSource {
    async fn catalog(&self) -> Result<Arc<Catalog>> {
        Ok(Arc::new(self.all()))
    }

    async fn refresh(&self, name: &PipelineName) -> Result<CatalogEntry> {
        let spec = self.0.plan.specs.get(name);
        spec.map(|spec| self.entry(spec)).ok_or_else(|| Error::new(ErrorKind::NotFound, "no such pipeline"))
    }

    async fn fetch(&self, _: &SyncRequest) -> Result<Fetched, SyncFailure> {
        Ok(Fetched::new(self.all()))
    }

    async fn publish(&self, _: &Fetched) {}

    async fn probe(&self) -> Result<Probe, SyncFailure> {
        Ok(Probe::default())
    }

    async fn checkout(&self, _: &Revision, _: Option<&Provenance>) -> Result<PathBuf> {
        Err(Error::new(ErrorKind::NotFound, "there is no disk here"))
    }

    async fn collect(&self, _: &BTreeSet<Revision>) -> Result<source::Collected> {
        Ok(source::Collected::default())
    }
}

#[derive(Debug)]
pub(super) struct NoEnvironments;

#[async_trait]
impl EnvironmentBuilder for NoEnvironments {
    async fn prepare(
        &self,
        _: &EnvironmentRequest,
        _: &dyn SetupLog,
    ) -> Result<Environment, EnvironmentFailure> {
        let message = "there are no environments here".into();
        Err(EnvironmentFailure { kind: EnvironmentFailureKind::ToolMissing, message, help: None })
    }

    async fn find(&self, _: &EnvironmentRequest) -> Result<Option<Environment>, EnvironmentFailure> {
        Ok(None)
    }

    async fn collect(
        &self,
        _: &BTreeSet<EnvironmentId>,
        _: Duration,
        _: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        Ok(Collected::default())
    }
}

#[async_trait]
impl PackageAuditor for NoEnvironments {
    async fn audit(&self, _: &[Package]) -> AuditOutcome {
        AuditOutcome::ToolMissing { program: "none".into() }
    }
}
