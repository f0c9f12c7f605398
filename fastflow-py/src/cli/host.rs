//! `fastflow host`: the place's runs and schedules go on for as long as this runs.

use std::sync::Arc;

use fastflow_core::{
    Clock as _, Error, ErrorKind, ExecutorName, SystemClock,
    store::{Event, EventId},
};
use futures::StreamExt as _;
use serde_json::json;

use super::{
    command::Context, exit::Exit, failed::Failed, output::Output, place::Place, session::Session, show, text,
};

/// What it hosts with.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fastflow host\n  fastflow host --executor docker\n\nCtrl-C ends it. Programs run on, and \
                        the next host takes them over."
)]
pub(crate) struct HostArgs {
    /// Also run pipelines that ask for this: docker or podman
    #[arg(long, value_name = "NAME")]
    executor: Option<ExecutorName>,
}

/// Hosts, and tells what happens to runs.
///
/// # Errors
///
/// When the data directory cannot be opened, or the store cannot be read any more.
pub(crate) async fn host(args: &HostArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_pipelines()?;
    let interrupts = Arc::clone(&context.interrupts);
    let session = tokio::select! {
        session = Session::host(context, &place, args.executor.as_ref()) => session?,
        () = interrupts.first() => return Ok(Exit::INTERRUPTED),
    };
    context.out.note(&format!(
        "hosts {} in {}; Ctrl-C ends it",
        text::plain(&place.pipelines.to_string_lossy()),
        text::plain(&place.data_dir().to_string_lossy()),
    ));
    let told = tokio::select! {
        told = tell_events(&session, &mut context.out) => told,
        () = interrupts.first() => Ok(Exit::SUCCESS),
    };
    session.close().await;
    told
}

async fn tell_events(session: &Session, out: &mut Output) -> Result<Exit, Failed> {
    let begun = SystemClock::new().now();
    let mut events = session.flow().events(EventId::default());
    while let Some(event) = events.next().await {
        let event = event?;
        if event.at >= begun {
            tell(&event, out)?;
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the store was closed").into())
}

fn tell(event: &Event, out: &mut Output) -> std::io::Result<()> {
    if out.is_json() {
        out.json(&json!({
            "id": event.id.0,
            "at": event.at.to_string(),
            "run": event.run.to_string(),
            "pipeline": event.pipeline.as_str(),
            "attempt": event.attempt,
            "name": event.name,
            "state": event.state,
            "status": event.status.to_string(),
        }))?;
    } else {
        let style = out.style(show::status_style(event.status));
        out.line(&format!(
            "{}  {}  {style}{}{style:#}  {}: {}",
            show::local(event.at),
            show::short_id(event.run),
            event.status,
            event.pipeline,
            text::plain(&event.name),
        ))?;
    }
    out.flush()
}
