//! `fastflow explain`.

use serde_json::json;

use super::{
    command::Context, exit::Exit, failed::Failed, json, place::Place, session::Session, text, which,
};

/// Which run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fastflow explain latest\n  fastflow explain etl@latest")]
pub(crate) struct ExplainArgs {
    /// The run
    run: String,
}

/// Says why it waits, or ended as it did.
///
/// # Errors
///
/// When there is no such run, or it cannot be read.
pub(crate) async fn explain(args: ExplainArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_runs()?;
    let session = Session::reader(context, &place).await?;
    let run = which::find(session.flow(), &args.run).await?;
    let explained = session.flow().runs().explain(run.id).await?;
    session.close().await;
    let words = text::plain(&explained.to_string());
    let out = &mut context.out;
    if out.is_json() {
        out.json(&json!({
            "run": json::run(&explained.run),
            "waiting": explained.waiting.as_ref().map(ToString::to_string),
            "text": words,
        }))?;
    } else {
        out.line(&words)?;
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}
