//! The schedules that files declare and programs made.

use std::time::Duration;

use anstyle::AnsiColor;
use fastflow_core::{
    Result, ScheduleId, Timestamp,
    pipeline::ScheduleRule,
    schedule::{Occasion, ScheduleOwner},
    store::ScheduleRecord,
};
use serde_json::{Value, json};

use super::super::{
    command::Context, exit::Exit, failed::Failed, json, place::Place, run::duration, session::Session, show,
    table, text,
};

/// Which schedules, and how far ahead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fastflow schedule next\n  fastflow schedule next etl/nightly -n 3")]
pub(crate) struct NextArgs {
    /// Only this schedule, PIPELINE/NAME or PIPELINE@NAME; else all that will run
    id: Option<ScheduleId>,
    /// At most so many instants
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// How far ahead to look, for all schedules
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    within: Duration,
}

/// Which schedule.
#[derive(Debug, clap::Args)]
pub(crate) struct ScheduleIdArgs {
    /// The schedule, PIPELINE@NAME; what files declare is changed there
    id: ScheduleId,
}

/// Whether a schedule is to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

async fn open(context: &Context) -> Result<Session> {
    let place = Place::find(&context.global)?.with_pipelines()?;
    Session::reader_of_files(context, &place).await
}

/// Lists them.
///
/// # Errors
///
/// When they cannot be read.
pub(crate) async fn list(context: &mut Context) -> Result<Exit, Failed> {
    let session = open(context).await?;
    let records = session.flow().schedules().list().await?;
    session.close().await;
    let out = &mut context.out;
    if out.is_json() {
        out.json(&records.iter().map(value).collect())?;
    } else if records.is_empty() {
        out.note("there are no schedules: a `schedule_cron` in a pipeline.json makes one");
    } else {
        let mut table = table::table(out, ["schedule", "rule", "zone", "next", "state"]);
        for record in &records {
            table.add_row(row(record));
        }
        out.line(&table.to_string())?;
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}

/// Says what will run when.
///
/// # Errors
///
/// When there is no such schedule, or its instants cannot be known.
pub(crate) async fn next(args: &NextArgs, context: &mut Context) -> Result<Exit, Failed> {
    let session = open(context).await?;
    let schedules = session.flow().schedules();
    let found: Vec<(Timestamp, ScheduleId)> = if let Some(id) = &args.id {
        schedules.next(id, args.limit).await?.into_iter().map(|at| (at, id.clone())).collect()
    } else {
        let upcoming = schedules.upcoming(args.within, args.limit).await?;
        upcoming.into_iter().map(|next| (next.at, next.schedule)).collect()
    };
    session.close().await;
    let out = &mut context.out;
    if out.is_json() {
        let value =
            |(at, id): &(Timestamp, ScheduleId)| json!({"at": at.to_string(), "schedule": id.to_string()});
        out.json(&found.iter().map(value).collect())?;
    } else if found.is_empty() {
        out.note("nothing is due");
    } else {
        for (at, id) in &found {
            out.line(&format!("{}  {}", show::local(*at), text::plain(&id.to_string())))?;
        }
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}

/// Switches it on or off.
///
/// # Errors
///
/// When there is no such schedule, or files declare it.
pub(crate) async fn set_enabled(
    args: &ScheduleIdArgs,
    switch: Switch,
    context: &mut Context,
) -> Result<Exit, Failed> {
    let session = open(context).await?;
    let record = session.flow().schedules().set_enabled(&args.id, switch == Switch::On).await?;
    session.close().await;
    let out = &mut context.out;
    if out.is_json() {
        out.json(&value(&record))?;
    } else {
        out.line(&format!("{} is {}", record.schedule.id, state(&record).0))?;
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}

fn row(record: &ScheduleRecord) -> [comfy_table::Cell; 5] {
    let (state, colour) = state(record);
    [
        table::name(&record.schedule.id),
        table::cell(rule(&record.schedule.occasion)),
        table::cell(&record.schedule.policy.timezone),
        table::cell(record.next.map(|next| show::local(next.nominal)).unwrap_or_default()),
        table::coloured(state, colour),
    ]
}

fn state(record: &ScheduleRecord) -> (&str, AnsiColor) {
    match (&record.problem, record.schedule.enabled) {
        (Some(problem), _) => (problem, AnsiColor::Red),
        (None, true) => ("enabled", AnsiColor::Green),
        (None, false) => ("disabled", AnsiColor::Yellow),
    }
}

fn rule(occasion: &Occasion) -> String {
    match occasion {
        Occasion::Repeat(ScheduleRule::Cron(cron)) => cron.as_str().to_owned(),
        Occasion::Repeat(ScheduleRule::IntervalSeconds(seconds)) => format!("every {seconds} s"),
        Occasion::Once(moment) => format!("once, {moment}"),
        Occasion::Repeat(_) => "another rule".to_owned(),
    }
}

/// With fields of the class `Schedule`.
fn value(record: &ScheduleRecord) -> Value {
    let schedule = &record.schedule;
    let (cron, interval, once) = match &schedule.occasion {
        Occasion::Repeat(ScheduleRule::Cron(cron)) => (Some(cron.as_str().to_owned()), None, None),
        Occasion::Repeat(ScheduleRule::IntervalSeconds(seconds)) => (None, Some(seconds.get()), None),
        Occasion::Once(moment) => (None, None, Some(moment.to_string())),
        Occasion::Repeat(_) => (None, None, None),
    };
    let parameters: serde_json::Map<String, Value> = schedule
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    json!({
        "id": schedule.id.to_string(),
        "pipeline": schedule.id.pipeline.as_str(),
        "name": schedule.id.name.as_str(),
        "owner": if schedule.id.owner == ScheduleOwner::Files { "files" } else { "api" },
        "cron": cron,
        "interval": interval,
        "once": once,
        "timezone": schedule.policy.timezone.as_str(),
        "start": schedule.window.start.map(|moment| moment.to_string()),
        "end": schedule.window.end.map(|moment| moment.to_string()),
        "enabled": schedule.enabled,
        "config": schedule.config.as_ref().map(fastflow_core::pipeline::ConfigName::as_str),
        "parameters": parameters,
        "priority": schedule.priority,
        "next_at": json::instant(record.next.map(|next| next.nominal)),
        "next_due_at": json::instant(record.next.map(|next| next.due)),
        "problem": record.problem,
    })
}
