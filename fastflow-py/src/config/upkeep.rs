//! What the host does without being asked: it syncs, makes environments ready, audits them, and removes what is old.

use std::{num::NonZeroUsize, time::Duration};

use fastflow_core::{AuditPolicy, Error, ErrorKind, OrchestratorBuilder, Preheat, Result, Retention};
use pyo3::prelude::*;

use super::options::{Options, Size, duration, put, put_read};

/// What the host does without being asked.
pub(super) struct Upkeep {
    retention: Retention,
    sync_interval: Option<Duration>,
    preheat: Preheat,
    audits: AuditPolicy,
}

/// What is kept, as the package gives it. Times are in seconds.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
#[expect(clippy::struct_field_names, reason = "they are called so where they are given")]
struct GivenRetention {
    max_runs_per_pipeline: Option<usize>,
    max_age: Option<f64>,
    max_total: Option<Size>,
    max_unused_environment_age: Option<f64>,
}

impl Upkeep {
    pub(super) fn read(options: &Options<'_, '_>) -> PyResult<Self> {
        let retention = options.get::<Option<GivenRetention>>("retention")?.map(retention).transpose();
        let sync_interval = options.get::<Option<f64>>("sync_interval")?.map(duration).transpose();
        let preheat = options.get::<Option<usize>>("preheat")?;
        let audits = audits(&options.get::<String>("audits")?);
        Ok(Self {
            retention: options.checked("retention", retention)?.unwrap_or_default(),
            sync_interval: options.checked("sync_interval", sync_interval)?,
            preheat: preheat.map(at_once).unwrap_or_default(),
            audits: options.checked("audits", audits)?,
        })
    }

    pub(super) fn apply(&self, mut builder: OrchestratorBuilder) -> OrchestratorBuilder {
        if let Some(interval) = self.sync_interval {
            builder = builder.sync_interval(interval);
        }
        builder.retention(self.retention.clone()).preheat(self.preheat).audits(self.audits)
    }
}

fn retention(given: GivenRetention) -> Result<Retention> {
    let mut retention = Retention::default();
    put(&mut retention.max_runs_per_pipeline, given.max_runs_per_pipeline);
    put_read(&mut retention.max_age, given.max_age, duration)?;
    put_read(&mut retention.max_total_bytes, given.max_total, |size| Ok(size.read()?.bytes()))?;
    put_read(&mut retention.max_unused_environment_age, given.max_unused_environment_age, duration)?;
    Ok(retention)
}

/// So many environments at one time; none at all with 0.
fn at_once(number: usize) -> Preheat {
    NonZeroUsize::new(number).map_or(Preheat::Off, Preheat::UpTo)
}

fn audits(policy: &str) -> Result<AuditPolicy> {
    match policy {
        "on_request" => Ok(AuditPolicy::OnRequest),
        "new_environments" => Ok(AuditPolicy::NewEnvironments),
        _ => Err(Error::new(ErrorKind::Invalid, "not a time for audits").with("found", policy)),
    }
}
