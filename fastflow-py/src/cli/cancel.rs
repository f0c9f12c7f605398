//! `fastflow cancel`.

use fastflow_core::{Error, ErrorKind, Orchestrator, RunId, run::Run};

use super::{
    command::Context, exit::Exit, failed::Failed, json, output::Output, place::Place, session::Session, which,
};

/// Which runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fastflow cancel 3fa91c22\n  fastflow cancel etl@latest\n\nIt comes back when they have \
                  ended: programs are asked first, and have a grace. Ctrl-C takes nothing back."
)]
pub(crate) struct CancelArgs {
    /// The runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
}

/// Ends them, and waits until they have ended.
///
/// # Errors
///
/// When the data directory cannot be opened. What is wrong with one run is said, and the others are ended.
pub(crate) async fn cancel(args: CancelArgs, context: &mut Context) -> Result<Exit, Failed> {
    let place = Place::find(&context.global)?.with_runs()?;
    // Where nobody hosts, this does meanwhile: a wish alone stops no program.
    let (session, unhosted) = Session::host_or_reader(context, &place).await?;
    let (mut asked, mut exit) = (Vec::new(), Exit::SUCCESS);
    for run in &args.runs {
        match ask(session.flow(), run).await {
            Ok(id) => asked.push(id),
            Err(error) => exit = Failed::from(error).tell(&context.out),
        }
    }
    let mut ended = Vec::new();
    for id in asked {
        let run = match &unhosted {
            None => session.flow().runs().wait(id).await?,
            Some(why) => {
                let run = session.flow().runs().get(id).await?;
                if !run.status().is_terminal() {
                    exit = Failed::from(asked_only(id, why)).tell(&context.out);
                    continue;
                }
                run
            }
        };
        if !context.out.is_json() {
            tell(&run, &mut context.out)?;
        }
        ended.push(json::run(&run));
    }
    if context.out.is_json() {
        context.out.json(&ended.into())?;
        context.out.flush()?;
    }
    session.close().await;
    Ok(exit)
}

/// What is said of a run whose program only a host can stop, where nobody hosts.
fn asked_only(run: RunId, why: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the run is asked to end, and will once a process hosts")
        .with("run", run)
        .because(why.chain())
}

async fn ask(flow: &Orchestrator, run: &str) -> Result<RunId, Error> {
    let run = which::find(flow, run).await?;
    match flow.runs().cancel(run.id).await {
        Ok(run) => Ok(run.id),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let now = flow.runs().get(run.id).await?;
            Err(Error::new(ErrorKind::Conflict, "the run has ended already")
                .with("run", now.id)
                .with("status", now.status()))
        }
        Err(error) => Err(error),
    }
}

fn tell(run: &Run, out: &mut Output) -> std::io::Result<()> {
    out.line(&format!("{} {} {}", run.status(), run.pipeline(), run.id))?;
    out.flush()
}
