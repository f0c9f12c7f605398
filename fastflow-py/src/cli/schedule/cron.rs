//! What a cron expression means.

use fastflow_core::{
    Clock as _, Error, SystemClock, Timestamp,
    pipeline::{CronText, SchedulePolicy, ScheduleRule, ScheduleWindow, TimeZoneName},
    schedule::{Calendar, Cron},
};
use jiff::tz::TimeZone;
use serde_json::json;

use super::super::{command::Context, exit::Exit, failed::Failed, output::Output};

/// How far ahead odd nights are looked for: a year.
const AHEAD: std::time::Duration = std::time::Duration::from_hours(366 * 24);

/// Which expression.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fastflow schedule explain \"30 2 * * 1-5\"\n  fastflow schedule explain \"@daily\" \
                  --timezone Europe/Berlin"
)]
pub(crate) struct CronArgs {
    /// The expression: five fields, or six with the seconds first, or a nickname such as @daily
    #[arg(value_name = "CRON")]
    cron: String,
    /// The zone it is read in
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: TimeZoneName,
    /// How many of its next instants to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    limit: usize,
}

/// What there is to say about an expression.
struct Explained {
    words: String,
    warnings: Vec<String>,
    next: Vec<Timestamp>,
    odd: Vec<String>,
    zone: TimeZone,
}

/// Says it.
///
/// # Errors
///
/// `Invalid` for what is no expression, or can never match, and for an unknown zone.
pub(crate) fn explain(args: &CronArgs, context: &mut Context) -> Result<Exit, Failed> {
    let explained = explained(args, SystemClock::new().now())?;
    let out = &mut context.out;
    if out.is_json() {
        out.json(&json!({
            "cron": args.cron,
            "timezone": args.timezone.as_str(),
            "description": explained.words,
            "warnings": explained.warnings,
            "next": explained.next.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "odd_times": explained.odd,
        }))?;
    } else {
        tell(&explained, args, out)?;
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}

fn explained(args: &CronArgs, now: Timestamp) -> Result<Explained, Error> {
    let text: CronText = args.cron.parse()?;
    let cron = Cron::new(&text)?;
    let policy = SchedulePolicy { timezone: args.timezone.clone(), ..SchedulePolicy::default() };
    let calendar = Calendar::new(&ScheduleRule::Cron(text).into(), &ScheduleWindow::default(), &policy, now)?;
    let until = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    Ok(Explained {
        words: cron.describe(),
        warnings: cron.warnings().iter().map(ToString::to_string).collect(),
        next: calendar.between(now, Timestamp::MAX, args.limit),
        odd: calendar.odd_times(now, until).iter().map(ToString::to_string).collect(),
        zone: calendar.zone().clone(),
    })
}

fn tell(explained: &Explained, args: &CronArgs, out: &mut Output) -> Result<(), Failed> {
    out.line(&explained.words)?;
    for warning in &explained.warnings {
        let style = out.style(anstyle::AnsiColor::Yellow.on_default());
        out.line(&format!("{style}note:{style:#} {warning}"))?;
    }
    out.line(&format!("next, in {}:", args.timezone))?;
    for at in &explained.next {
        out.line(&format!("  {}", at.to_zoned(explained.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z")))?;
    }
    if !explained.odd.is_empty() {
        out.line("where the clock is changed:")?;
        for odd in &explained.odd {
            out.line(&format!("  {odd}"))?;
        }
    }
    Ok(())
}
