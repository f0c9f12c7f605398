//! How much is in flight at one time, and when nothing is to start.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use fastflow_core::{
    Error, ErrorKind, OrchestratorBuilder, Result,
    builder::BlackoutScope,
    pipeline::{ByteSize, ConfigName, CpuMillis},
    schedule::{BlackoutCalendar, BlackoutSpan, Weekday},
};
use pyo3::prelude::*;

use super::options::{Options, Size};

/// How much is in flight at one time, and when nothing is to start.
pub(super) struct Capacity {
    max_concurrent_runs: Option<NonZeroU32>,
    pools: BTreeMap<ConfigName, NonZeroU32>,
    memory: Option<ByteSize>,
    cpu: Option<CpuMillis>,
    blackouts: Vec<(BlackoutCalendar, BlackoutScope)>,
}

/// A calendar, as the package gives it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenBlackout {
    name: String,
    timezone: String,
    spans: Vec<(String, String)>,
    weekdays: Vec<String>,
    only_where_named: bool,
}

impl Capacity {
    pub(super) fn read(options: &Options<'_, '_>) -> PyResult<Self> {
        let pools = options.get::<BTreeMap<String, i64>>("pools")?;
        let pools =
            pools.into_iter().map(|(name, slots)| Ok((name.parse()?, pool_slots(&name, slots)?))).collect();
        let memory = options.get::<Option<Size>>("memory_budget")?.map(|size| size.read()).transpose();
        let cpu = options.get::<Option<f64>>("cpu_budget")?.map(cores).transpose();
        let blackouts = options.get::<Vec<GivenBlackout>>("blackouts")?;
        let blackouts = blackouts.into_iter().map(blackout).collect();
        Ok(Self {
            max_concurrent_runs: options.get("max_concurrent_runs")?,
            pools: options.checked("pools", pools)?,
            memory: options.checked("memory_budget", memory)?,
            cpu: options.checked("cpu_budget", cpu)?,
            blackouts: options.checked("blackouts", blackouts)?,
        })
    }

    pub(super) fn apply(&self, mut builder: OrchestratorBuilder) -> OrchestratorBuilder {
        if let Some(limit) = self.max_concurrent_runs {
            builder = builder.max_concurrent_runs(limit);
        }
        for (name, slots) in &self.pools {
            builder = builder.pool(name.clone(), *slots);
        }
        if let Some(memory) = self.memory {
            builder = builder.memory_budget(memory);
        }
        if let Some(cpu) = self.cpu {
            builder = builder.cpu_budget(cpu);
        }
        for (calendar, scope) in &self.blackouts {
            builder = builder.blackout(calendar.clone(), *scope);
        }
        builder
    }
}

fn pool_slots(pool: &str, slots: i64) -> Result<NonZeroU32> {
    u32::try_from(slots).ok().and_then(NonZeroU32::new).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a pool has one slot or more").with("pool", pool).with("found", slots)
    })
}

fn cores(cores: f64) -> Result<CpuMillis> {
    CpuMillis::from_cores(cores).ok_or_else(|| {
        let expected = format!("from {} to {}", CpuMillis::MIN, CpuMillis::MAX);
        Error::new(ErrorKind::Invalid, "not a number of cores")
            .with("found", cores)
            .with("expected", expected)
    })
}

fn blackout(given: GivenBlackout) -> Result<(BlackoutCalendar, BlackoutScope)> {
    let span =
        |(first, last): &(String, String)| Ok(BlackoutSpan { first: first.parse()?, last: last.parse()? });
    let calendar = BlackoutCalendar {
        name: given.name.parse()?,
        timezone: given.timezone.parse()?,
        spans: given.spans.iter().map(span).collect::<Result<_>>()?,
        weekdays: given.weekdays.iter().map(|day| weekday(day)).collect::<Result<BTreeSet<_>>>()?,
    };
    let scope = if given.only_where_named { BlackoutScope::Named } else { BlackoutScope::All };
    Ok((calendar, scope))
}

fn weekday(day: &str) -> Result<Weekday> {
    Ok(match day {
        "monday" => Weekday::Monday,
        "tuesday" => Weekday::Tuesday,
        "wednesday" => Weekday::Wednesday,
        "thursday" => Weekday::Thursday,
        "friday" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return Err(Error::new(ErrorKind::Invalid, "not a day of the week").with("found", day)),
    })
}
