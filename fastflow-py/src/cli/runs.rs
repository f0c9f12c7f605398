//! `fastflow runs`.

use std::num::NonZeroU32;

use clap::ValueEnum;
use fastflow_core::{
    Clock as _, PipelineName, SystemClock, Timestamp,
    run::{Run, Status},
    store::RunQuery,
};

use super::{
    command::Context, exit::Exit, failed::Failed, json, output::Output, place::Place, session::Session, show,
    table,
};

/// Which runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fastflow runs --pipeline etl --status failed\n  fastflow runs --json | jq -r '.[].id'"
)]
pub(crate) struct RunsArgs {
    /// Only of this pipeline
    #[arg(long, value_name = "NAME")]
    pipeline: Option<PipelineName>,
    /// Only with this status; can be repeated
    #[arg(long, value_name = "STATUS", value_enum, ignore_case = true)]
    status: Vec<StatusName>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value = "20")]
    limit: NonZeroU32,
}

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum StatusName {
    Pending,
    Running,
    Success,
    Failed,
    Cancelled,
}

impl From<StatusName> for Status {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Pending => Self::Pending,
            StatusName::Running => Self::Running,
            StatusName::Success => Self::Success,
            StatusName::Failed => Self::Failed,
            StatusName::Cancelled => Self::Cancelled,
        }
    }
}

/// Lists them.
///
/// # Errors
///
/// When they cannot be read.
pub(crate) async fn runs(args: RunsArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_runs()?;
    let session = Session::reader(context, &place).await?;
    let mut query = RunQuery::default();
    query.pipeline = args.pipeline;
    query.statuses = args.status.into_iter().map(Status::from).collect();
    let wanted = args.limit.get() as usize;
    let mut found: Vec<Run> = Vec::new();
    loop {
        let left = wanted.saturating_sub(found.len()).min(RunQuery::MAX_LIMIT as usize);
        query.limit = u32::try_from(left).ok().and_then(NonZeroU32::new);
        if query.limit.is_none() {
            break;
        }
        let page = session.flow().runs().list(&query).await?;
        found.extend(page.items);
        query.before = page.next;
        if query.before.is_none() {
            break;
        }
    }
    let are_left_alone = found.iter().any(|run| !run.state.is_terminal())
        // Where it cannot be found out, somebody has the lock of a host.
        && matches!(session.flow().host().await, Ok(None));
    session.close().await;
    tell(&found, &mut context.out)?;
    if are_left_alone {
        context.out.warning(&format!(
            "nobody hosts: what is pending does not start, and what runs is shown as the last host left it; `{}` does",
            context.global.command("host"),
        ));
    }
    Ok(Exit::SUCCESS)
}

fn tell(runs: &[Run], out: &mut Output) -> Result<(), Failed> {
    if out.is_json() {
        out.json(&runs.iter().map(json::run).collect())?;
    } else if runs.is_empty() {
        out.note("there are no such runs");
    } else {
        let now = SystemClock::new().now();
        let mut table = table::table(out, ["run", "pipeline", "status", "submitted", "took", "why"]);
        for run in runs {
            table.add_row(row(run, now));
        }
        out.line(&table.to_string())?;
    }
    out.flush()?;
    Ok(())
}

fn row(run: &Run, now: Timestamp) -> [comfy_table::Cell; 6] {
    let took = show::run_time(run, now).map(show::duration).unwrap_or_default();
    let why = run.failure().map(ToString::to_string).unwrap_or_default();
    [
        table::cell(show::short_id(run.id)),
        table::name(run.pipeline()),
        table::coloured(run.status(), show::colour(run.status())),
        table::cell(show::local(run.created_at)),
        table::cell(took),
        table::cell(why.lines().next().unwrap_or_default()),
    ]
}
