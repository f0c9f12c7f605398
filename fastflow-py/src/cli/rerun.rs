//! `fastflow rerun`.

use fastflow_core::orchestrator::Rerun;

use super::{
    command::Context, exit::Exit, failed::Failed, follow, place::Place, run::Waiting, session::Session, which,
};

/// Which run, and what is executed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fastflow rerun etl@latest\n  fastflow rerun 3fa91c22 --newest")]
pub(crate) struct RerunArgs {
    /// The run
    run: String,
    /// What its pipeline is now, in place of what the run executed
    #[arg(long)]
    newest: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs it again.
///
/// # Errors
///
/// When there is no such run, the new one is not accepted, or it cannot be followed.
pub(crate) async fn rerun(args: RerunArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_runs()?;
    let interrupts = std::sync::Arc::clone(&context.interrupts);
    let of = if args.newest { Rerun::NewestRevision } else { Rerun::SameRevision };
    let accepted = tokio::select! {
        accepted = async {
            let session = Session::host(context, &place, None).await?;
            let run = async {
                let earlier = which::find(session.flow(), &args.run).await?;
                session.flow().runs().rerun(earlier.id, of).await
            };
            let run = run.await;
            Ok::<_, Failed>((session, run))
        } => accepted?,
        () = interrupts.first() => return Ok(Exit::INTERRUPTED),
    };
    match accepted {
        (session, Ok(run)) => follow::see_through(session, run, args.waiting.patience(), context).await,
        (session, Err(error)) => {
            session.close().await;
            Err(error.into())
        }
    }
}
