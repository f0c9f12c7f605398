//! Schedules and their ledger, as they cross to Python.

use fastflow_core::{
    ScheduleId, Timestamp,
    orchestrator::Upcoming,
    pipeline::{CatchUp, ConfigName, FoldRule, GapRule, Moment, Overlap, SchedulePolicy, ScheduleRule},
    schedule::{Occasion, ScheduleOwner, Tick},
    store::ScheduleRecord,
};
use pyo3::{IntoPyObjectExt as _, prelude::*, types::PyDict};

use crate::{operation::Record, record::Fields};

/// Instants of a schedule.
pub(crate) struct Instants(pub(crate) Vec<Timestamp>);

impl Record for Instants {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.into_py_any(py)
    }
}

/// What a cron expression says.
pub(crate) struct CronWords {
    pub(crate) description: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) next: Vec<Timestamp>,
    pub(crate) odd_times: Vec<String>,
}

impl Record for CronWords {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("description", self.description)?
            .with("warnings", self.warnings)?
            .with("next", self.next)?
            .with("odd_times", self.odd_times)?
            .done())
    }
}

impl Record for ScheduleRecord {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let schedule = self.schedule;
        let parameters = PyDict::new(py);
        for (name, value) in &schedule.parameters {
            parameters.set_item(name.as_str(), value)?;
        }
        let owner = match schedule.id.owner {
            ScheduleOwner::Files => "files",
            ScheduleOwner::Api => "api",
        };
        let fields = Fields::new(py)
            .with("id", schedule.id.to_string())?
            .with("pipeline", schedule.id.pipeline.as_str())?
            .with("name", schedule.id.name.as_str())?
            .with("owner", owner)?
            .with("start", schedule.window.start.map(|at| moment(py, at)).transpose()?)?
            .with("end", schedule.window.end.map(|at| moment(py, at)).transpose()?)?
            .with("enabled", schedule.enabled)?
            .with("config", schedule.config.as_ref().map(ConfigName::as_str))?
            .with("parameters", parameters)?
            .with("priority", schedule.priority)?
            .with("next_at", self.next.map(|next| next.nominal))?
            .with("next_due_at", self.next.map(|next| next.due))?
            .with("decided_until", self.cursor)?
            .with("problem", self.problem)?;
        Ok(policy(occasion(fields, py, &schedule.occasion)?, &schedule.policy)?.done())
    }
}

fn occasion<'py>(fields: Fields<'py>, py: Python<'py>, occasion: &Occasion) -> PyResult<Fields<'py>> {
    let (mut cron, mut interval, mut once) = (None, None, None);
    match occasion {
        Occasion::Repeat(ScheduleRule::Cron(text)) => cron = Some(text.as_str()),
        Occasion::Repeat(ScheduleRule::IntervalSeconds(every)) => {
            interval = Some(std::time::Duration::from_secs(every.get().into()));
        }
        Occasion::Once(at) => once = Some(moment(py, *at)?),
        // A rule of a later version has none of these, and the package says so by the lack of all three.
        Occasion::Repeat(_) => {}
    }
    fields.with("cron", cron)?.with("interval", interval)?.with("once", once)
}

fn policy<'py>(fields: Fields<'py>, policy: &SchedulePolicy) -> PyResult<Fields<'py>> {
    let overlap = match policy.overlap {
        Overlap::Allow => "allow",
        Overlap::Skip => "skip",
        Overlap::Queue => "queue",
        Overlap::Replace => "replace",
    };
    let catch_up = match policy.catch_up {
        CatchUp::None => Some(0),
        CatchUp::Latest => None,
        CatchUp::All { max } => Some(max.get()),
    };
    let gap = policy.daylight.gap.map(|gap| match gap {
        GapRule::Shift => "shift",
        GapRule::Skip => "skip",
    });
    let fold = policy.daylight.fold.map(|fold| match fold {
        FoldRule::First => "first",
        FoldRule::Last => "last",
        FoldRule::Both => "both",
    });
    fields
        .with("timezone", policy.timezone.as_str())?
        .with("overlap", overlap)?
        .with("max_instances", policy.max_instances)?
        .with("catch_up", catch_up)?
        .with("catch_up_window", policy.catch_up_window.duration())?
        .with("jitter", policy.jitter.duration())?
        .with("blackouts", policy.blackouts.iter().map(ConfigName::as_str).collect::<Vec<_>>())?
        .with("gap", gap)?
        .with("fold", fold)
}

fn moment(py: Python<'_>, moment: Moment) -> PyResult<Py<PyAny>> {
    match moment {
        Moment::Day(day) => day.into_py_any(py),
        Moment::Instant(instant) => instant.into_py_any(py),
    }
}

impl Record for Upcoming {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py).with("at", self.at)?.with("schedule", self.schedule.to_string())?.done())
    }
}

impl Record for (ScheduleId, Tick) {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (schedule, tick) = self;
        Ok(Fields::new(py)
            .with("schedule", schedule.to_string())?
            .with("at", tick.nominal)?
            .with("through", tick.through)?
            .with("count", tick.count)?
            .with("outcome", tick.outcome.name())?
            .with("message", tick.outcome.to_string())?
            .with("run", tick.outcome.run().map(|run| run.to_string()))?
            .with("decided_at", tick.fired_at)?
            .done())
    }
}
