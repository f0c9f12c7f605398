//! The view of pipelines.

use std::{collections::BTreeMap, sync::Arc};

use super::Orchestrator;
use crate::{
    PipelineName, Result, Timestamp,
    environment::EnvironmentState,
    host::{Ports, environments, intake::unknown},
    pipeline::{Diagnostic, Pipeline},
    source::{CatalogEntry, RevisedPipeline},
    store::{Counters, DailyStatistics, PipelineRecord},
};

/// The pipelines of an [`Orchestrator`].
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// for pipeline in flow.pipelines().list().await? {
///     println!("{}: {} runs ended", pipeline.name, pipeline.counters.total());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pipelines<'a> {
    flow: &'a Orchestrator,
}

/// A pipeline, what is wrong with it, and what became of its runs.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// let info = flow.pipelines().get(&"etl".parse()?).await?;
/// for finding in &info.diagnostics {
///     println!("{finding}");
/// }
/// println!("{} of {} succeeded", info.counters.succeeded, info.counters.total());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PipelineInfo {
    /// Its name.
    pub name: PipelineName,
    /// What it is; `None` when it has configuration errors, or its source does not have it any more.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Configuration errors and warnings, with their places.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the source still has it.
    pub present: bool,
    /// How the environment stands that its next run needs.
    pub environment: EnvironmentState,
    /// Its runs that ended, by how they ended.
    pub counters: Counters,
    /// When its newest run was submitted.
    pub last_submitted_at: Option<Timestamp>,
}

impl<'a> Pipelines<'a> {
    pub(super) fn new(flow: &'a Orchestrator) -> Self {
        Self { flow }
    }

    fn ports(self) -> &'a Ports {
        &self.flow.inner.ports
    }

    /// All pipelines that the source has or ever had, by name.
    ///
    /// # Errors
    ///
    /// By the source's and the store's word.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it changes nothing in the store.
    pub async fn list(&self) -> Result<Vec<PipelineInfo>> {
        let mut infos = Vec::new();
        for (info, found) in self.known().await? {
            infos.push(self.with_environment(info, found).await);
        }
        Ok(infos)
    }

    /// One pipeline.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name; else by the source's and the store's word.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it changes nothing in the store.
    pub async fn get(&self, name: &PipelineName) -> Result<PipelineInfo> {
        let mut known = self.known().await?;
        let Some(place) = known.iter().position(|(info, _)| info.name == *name) else {
            return Err(unknown(name.as_str(), known.iter().map(|(info, _)| info.name.as_str())));
        };
        let (info, found) = known.swap_remove(place);
        Ok(self.with_environment(info, found).await)
    }

    /// All pipelines by name, without their environments, and what each can be run as.
    async fn known(self) -> Result<Vec<(PipelineInfo, Option<RevisedPipeline>)>> {
        let catalog = self.ports().source.catalog().await?;
        let records = self.ports().store.pipelines().await?;
        let mut records: BTreeMap<PipelineName, PipelineRecord> =
            records.into_iter().map(|record| (record.state.name.clone(), record)).collect();
        let mut known: Vec<_> = catalog
            .entries
            .iter()
            .cloned()
            .map(|entry| {
                let record = records.remove(&entry.name);
                let found = entry.pipeline.clone().ok();
                (info(entry, record.as_ref()), found)
            })
            .collect();
        known.extend(records.into_values().map(|record| (gone(record), None)));
        known.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Ok(known)
    }

    async fn with_environment(self, info: PipelineInfo, found: Option<RevisedPipeline>) -> PipelineInfo {
        let Some(found) = found else { return info };
        PipelineInfo { environment: environments::state(self.ports(), &found).await, ..info }
    }

    /// The last `days` days on which a run of the pipeline ended, newest first, in UTC.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe; it only reads.
    pub async fn daily_statistics(&self, name: &PipelineName, days: u32) -> Result<Vec<DailyStatistics>> {
        self.ports().store.daily_statistics(name, days).await
    }
}

fn info(entry: CatalogEntry, record: Option<&PipelineRecord>) -> PipelineInfo {
    let (pipeline, diagnostics) = match entry.pipeline {
        Ok(found) => {
            let warnings = found.pipeline.warnings.clone();
            (Some(found.pipeline), warnings)
        }
        Err(diagnostics) => (None, diagnostics),
    };
    PipelineInfo {
        name: entry.name,
        pipeline,
        diagnostics,
        present: true,
        environment: EnvironmentState::NotNeeded,
        counters: record.map(|record| record.counters).unwrap_or_default(),
        last_submitted_at: record.and_then(|record| record.last_submitted_at),
    }
}

fn gone(record: PipelineRecord) -> PipelineInfo {
    PipelineInfo {
        name: record.state.name,
        pipeline: None,
        diagnostics: record.state.diagnostics,
        present: false,
        environment: EnvironmentState::NotNeeded,
        counters: record.counters,
        last_submitted_at: record.last_submitted_at,
    }
}
