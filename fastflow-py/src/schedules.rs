//! The schedules: read, made, changed; their instants and their ledger.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use fastflow_core::{
    Clock as _, Error, ErrorKind, Result, SystemClock, Timestamp,
    pipeline::{CatchUp, DaylightPolicy, Moment, SchedulePolicy, ScheduleRule, ScheduleWindow, Seconds},
    schedule::{Calendar, Occasion, Schedule},
    store::TickQuery,
};
use pyo3::prelude::*;
use serde::de::{DeserializeOwned, IntoDeserializer as _, value};

use crate::{
    engine::Shared,
    error,
    operation::{Operation, seconds},
    schedule_record::{CronWords, Instants},
};

/// How far ahead the changes of a zone's clock are told.
const ODD_TIMES_WITHIN_DAYS: i64 = 400;

/// The schedules of a flow.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Schedules {
    shared: Arc<Shared>,
}

impl Schedules {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

/// A schedule as the package made it of its arguments: every key is there.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Given {
    id: String,
    cron: Option<String>,
    interval_seconds: Option<NonZeroU32>,
    once: Option<String>,
    timezone: String,
    start: Option<String>,
    end: Option<String>,
    parameters: Vec<(String, String)>,
    config: Option<String>,
    priority: Option<i16>,
    enabled: bool,
    overlap: String,
    max_instances: Option<NonZeroU32>,
    /// How many instants are caught up; the latest alone when nothing is said.
    catch_up: Option<u32>,
    catch_up_window_seconds: u32,
    jitter_seconds: u32,
    blackouts: Vec<String>,
    gap: Option<String>,
    fold: Option<String>,
}

impl Given {
    fn schedule(self) -> Result<Schedule> {
        let occasion = match (&self.cron, self.interval_seconds, &self.once) {
            (Some(cron), None, None) => ScheduleRule::Cron(cron.parse()?).into(),
            (None, Some(every), None) => ScheduleRule::IntervalSeconds(every).into(),
            (None, None, Some(moment)) => Occasion::Once(moment.parse()?),
            _ => return Err(Error::new(ErrorKind::Invalid, "a schedule follows one rule")),
        };
        let mut schedule = Schedule::new(self.id.parse()?, occasion);
        schedule.window = ScheduleWindow { start: moment(self.start)?, end: moment(self.end)? };
        schedule.policy = SchedulePolicy {
            timezone: self.timezone.parse()?,
            daylight: daylight(self.gap, self.fold)?,
            overlap: named(&self.overlap)?,
            max_instances: self.max_instances,
            catch_up: match self.catch_up {
                None => CatchUp::Latest,
                Some(most) => NonZeroU32::new(most).map_or(CatchUp::None, |max| CatchUp::All { max }),
            },
            catch_up_window: Seconds(self.catch_up_window_seconds),
            jitter: Seconds(self.jitter_seconds),
            blackouts: self.blackouts.iter().map(|name| name.parse()).collect::<Result<BTreeSet<_>>>()?,
        };
        schedule.enabled = self.enabled;
        schedule.config = self.config.as_deref().map(str::parse).transpose()?;
        for (name, value) in self.parameters {
            schedule.parameters.insert(name.parse()?, value);
        }
        schedule.priority = self.priority;
        Ok(schedule)
    }
}

#[pymethods]
impl Schedules {
    /// All of them, by id.
    fn list(&self) -> Operation {
        self.shared.call(|flow| async move { flow.schedules().list().await })
    }

    /// One schedule.
    fn get(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.schedules().get(&id.parse()?).await })
    }

    /// Makes one, or changes the one with its id.
    fn put(&self, given: Given) -> Operation {
        self.shared.call(move |flow| async move { flow.schedules().put(given.schedule()?).await })
    }

    /// Switches one on or off.
    fn set_enabled(&self, id: String, enabled: bool) -> Operation {
        self.shared.call(move |flow| async move { flow.schedules().set_enabled(&id.parse()?, enabled).await })
    }

    /// Removes one.
    fn remove(&self, id: String) -> Operation {
        self.shared.call(move |flow| async move { flow.schedules().remove(&id.parse()?).await })
    }

    /// The next instants of one.
    fn next(&self, id: String, limit: usize) -> Operation {
        self.shared
            .call(move |flow| async move { flow.schedules().next(&id.parse()?, limit).await.map(Instants) })
    }

    /// What will run within so many seconds.
    fn upcoming(&self, within: f64, limit: usize) -> PyResult<Operation> {
        let within = seconds(within)?;
        Ok(self.shared.call(move |flow| async move { flow.schedules().upcoming(within, limit).await }))
    }

    /// A page of the ledger, newest first. `behind` is the last row of the page before.
    #[pyo3(signature = (*, schedule = None, since = None, before = None, behind = None, limit = None))]
    fn ticks(
        &self,
        schedule: Option<String>,
        since: Option<Timestamp>,
        before: Option<Timestamp>,
        behind: Option<(Timestamp, String)>,
        limit: Option<NonZeroU32>,
    ) -> Operation {
        self.shared.call(move |flow| async move {
            let behind = behind.map(|(at, id)| Ok::<_, Error>((at, id.parse()?))).transpose()?;
            let schedule = schedule.as_deref().map(str::parse).transpose()?;
            flow.schedules().ticks(&TickQuery { schedule, since, before, behind, limit }).await
        })
    }
}

/// What a cron expression says, in words, with what its author may not have meant, and its next instants.
#[pyfunction]
#[pyo3(signature = (text, timezone, *, gap = None, fold = None, after = None, limit = 5))]
pub(crate) fn explain_cron(
    py: Python<'_>,
    text: &str,
    timezone: &str,
    gap: Option<String>,
    fold: Option<String>,
    after: Option<Timestamp>,
    limit: usize,
) -> PyResult<Py<PyAny>> {
    let after = after.unwrap_or_else(|| SystemClock::new().now());
    let words = cron_words(text, timezone, daylight(gap, fold), after, limit);
    crate::operation::Record::into_python(words.map_err(|failed| error::raised(py, &failed))?, py)
}

fn cron_words(
    text: &str,
    timezone: &str,
    daylight: Result<DaylightPolicy>,
    after: Timestamp,
    limit: usize,
) -> Result<CronWords> {
    let policy =
        SchedulePolicy { timezone: timezone.parse()?, daylight: daylight?, ..SchedulePolicy::default() };
    let rule = ScheduleRule::Cron(text.parse()?);
    let calendar = Calendar::new(&rule.into(), &ScheduleWindow::default(), &policy, after)?;
    let cron =
        calendar.cron().ok_or_else(|| Error::new(ErrorKind::Internal, "a cron schedule without one"))?;
    let ahead = std::time::Duration::from_secs(ODD_TIMES_WITHIN_DAYS.unsigned_abs() * 24 * 60 * 60);
    let until = after.saturating_add(ahead).unwrap_or(Timestamp::MAX);
    Ok(CronWords {
        description: cron.describe(),
        warnings: cron.warnings().iter().map(ToString::to_string).collect(),
        next: calendar.between(after, Timestamp::MAX, limit),
        odd_times: calendar.odd_times(after, until).iter().map(ToString::to_string).collect(),
    })
}

fn daylight(gap: Option<String>, fold: Option<String>) -> Result<DaylightPolicy> {
    let gap = gap.as_deref().map(named).transpose()?;
    let fold = fold.as_deref().map(named).transpose()?;
    Ok(DaylightPolicy { gap, fold })
}

fn moment(text: Option<String>) -> Result<Option<Moment>> {
    text.as_deref().map(str::parse).transpose()
}

/// The variant of this name, as files have it.
fn named<T: DeserializeOwned>(name: &str) -> Result<T> {
    let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(|wrong| Error::new(ErrorKind::Invalid, "no such choice").because(wrong))
}
