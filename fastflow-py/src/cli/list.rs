//! `fastflow list`.

use std::num::NonZeroU32;

use anstyle::AnsiColor;
use fastflow_core::{
    Clock as _, Orchestrator, Result, SystemClock, Timestamp, environment::EnvironmentState,
    orchestrator::PipelineInfo, pipeline::Diagnostic, run::Run, store::RunQuery,
};
use serde_json::{Value, json};

use super::{
    command::Context, exit::Exit, failed::Failed, json, output::Output, place::Place, session::Session, show,
    table, text,
};

/// Which pipelines.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Also those that are there no more
    #[arg(short, long)]
    all: bool,
}

/// A pipeline and its last run.
type Found = (PipelineInfo, Option<Run>);

/// Lists them.
///
/// # Errors
///
/// When they cannot be read.
pub(crate) async fn list(args: &ListArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_pipelines()?;
    let session = Session::reader(context, &place).await?;
    let mut found = Vec::new();
    for pipeline in session.flow().pipelines().list().await? {
        if args.all || pipeline.present {
            let last = last_run(session.flow(), &pipeline).await?;
            found.push((pipeline, last));
        }
    }
    let warnings = session.flow().source().status().await?.warnings;
    session.close().await;
    let out = &mut context.out;
    if out.is_json() {
        out.json(&found.iter().map(value).collect())?;
        // The answer is an array of pipelines, and these are none.
        for warning in &warnings {
            out.raw_error(&json::text(&json::warning(warning)));
        }
    } else {
        tell(&found, out)?;
        for warning in &warnings {
            tell_finding(warning, &warning.to_string(), out)?;
        }
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}

async fn last_run(flow: &Orchestrator, pipeline: &PipelineInfo) -> Result<Option<Run>> {
    let mut query = RunQuery::default();
    query.pipeline = Some(pipeline.name.clone());
    query.limit = Some(NonZeroU32::MIN);
    Ok(flow.runs().list(&query).await?.items.pop())
}

fn tell(found: &[Found], out: &mut Output) -> Result<(), Failed> {
    if found.is_empty() {
        out.note("there are no pipelines yet: `fastflow init NAME` makes one");
        return Ok(());
    }
    let now = SystemClock::new().now();
    let mut table = table::table(out, ["pipeline", "description", "last run", "environment", "problems"]);
    for each in found {
        table.add_row(row(each, now));
    }
    out.line(&table.to_string())?;
    for (pipeline, _) in found {
        for finding in &pipeline.diagnostics {
            tell_finding(finding, &format!("{}: {finding}", pipeline.name), out)?;
        }
    }
    Ok(())
}

fn tell_finding(finding: &Diagnostic, said: &str, out: &mut Output) -> Result<(), Failed> {
    let colour = if finding.is_error() { AnsiColor::Red } else { AnsiColor::Yellow };
    let style = out.style(colour.on_default());
    out.line(&format!("{style}{}{style:#}", text::plain(said)))?;
    Ok(())
}

fn row((info, last): &Found, now: Timestamp) -> [comfy_table::Cell; 5] {
    let description = info.pipeline.as_ref().and_then(|found| found.definition.description.clone());
    let last = match last {
        Some(run) => table::coloured(
            format!("{} {}", run.status(), show::ago(run.created_at, now)),
            show::colour(run.status()),
        ),
        None => table::cell("never"),
    };
    [
        table::name(&info.name),
        table::cell(description.unwrap_or_default()),
        last,
        environment(info),
        problems(info),
    ]
}

fn environment(info: &PipelineInfo) -> comfy_table::Cell {
    match &info.environment {
        EnvironmentState::Cached { python_version, .. } => table::cell(format!("Python {python_version}")),
        EnvironmentState::Failed(failure) => table::coloured(failure, AnsiColor::Red),
        EnvironmentState::NotNeeded => table::cell("-"),
        EnvironmentState::Building { .. } => table::cell("is being built"),
        _ => table::cell("not built yet"),
    }
}

fn problems(info: &PipelineInfo) -> comfy_table::Cell {
    let errors = info.diagnostics.iter().filter(|finding| finding.is_error()).count();
    let warnings = info.diagnostics.len() - errors;
    let is_disabled = info.pipeline.as_ref().is_some_and(|found| !found.definition.enabled);
    match (errors, warnings) {
        _ if !info.present => table::coloured("not there any more", AnsiColor::Yellow),
        (0, 0) if is_disabled => table::coloured("disabled", AnsiColor::Yellow),
        (0, 0) => table::cell("-"),
        (0, warnings) => table::coloured(format!("warnings: {warnings}"), AnsiColor::Yellow),
        (errors, 0) => table::coloured(format!("errors: {errors}"), AnsiColor::Red),
        (errors, warnings) => {
            table::coloured(format!("errors: {errors}, warnings: {warnings}"), AnsiColor::Red)
        }
    }
}

/// With the fields of the class `Pipeline`, and its last run.
fn value((info, last): &Found) -> Value {
    let definition = info.pipeline.as_ref().map(|found| {
        json!({
            "description": found.definition.description,
            "tags": found.definition.tags,
            "enabled": found.definition.enabled,
            "entry": found.program.entry,
            "executor": found.definition.executor.as_ref().map(fastflow_core::ExecutorName::as_str),
        })
    });
    json!({
        "name": info.name.as_str(),
        "definition": definition,
        "present": info.present,
        "environment": environment_value(&info.environment),
        "diagnostics": info.diagnostics.iter().map(json::diagnostic).collect::<Vec<_>>(),
        "counters": {
            "succeeded": info.counters.succeeded,
            "failed": info.counters.failed,
            "cancelled": info.counters.cancelled,
        },
        "last_submitted_at": json::instant(info.last_submitted_at),
        "last_run": last.as_ref().map(json::run),
    })
}

fn environment_value(state: &EnvironmentState) -> Value {
    let mut value =
        json!({"state": "not_cached", "since": null, "id": null, "python_version": null, "failure": null});
    match state {
        EnvironmentState::NotNeeded => value["state"] = "not_needed".into(),
        EnvironmentState::Queued => value["state"] = "queued".into(),
        EnvironmentState::Building { since } => {
            value["state"] = "building".into();
            value["since"] = since.to_string().into();
        }
        EnvironmentState::Cached { environment, python_version } => {
            value["state"] = "cached".into();
            value["id"] = environment.as_str().into();
            value["python_version"] = python_version.as_str().into();
        }
        EnvironmentState::Failed(failure) => {
            value["state"] = "failed".into();
            value["failure"] = failure.to_string().into();
        }
        _ => {}
    }
    value
}
