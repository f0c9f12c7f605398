//! From what was said to what is done.

use std::sync::Arc;

use super::{
    Surroundings,
    args::{Command, Global},
    cancel, completion, doctor,
    exit::Exit,
    explain,
    failed::Failed,
    host, init,
    interrupt::Interrupts,
    list, logs,
    output::Output,
    rerun, run, runs, schedule,
};

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// What was said for every command.
    pub(crate) global: Global,
    /// What the interpreter knows.
    pub(crate) surroundings: Surroundings,
    /// Ctrl-C.
    pub(crate) interrupts: Arc<Interrupts>,
    /// Where answers go.
    pub(crate) out: Output,
}

/// Carries out a command.
///
/// # Errors
///
/// Why it could not be.
pub(crate) async fn carry_out(command: Command, context: &mut Context) -> Result<Exit, Failed> {
    let interrupts = Arc::clone(&context.interrupts);
    match command {
        // These have something to say when they are interrupted.
        Command::Run(args) => run::run(args, context).await.map_err(Failed::in_place_of_a_program),
        Command::Rerun(args) => rerun::rerun(args, context).await.map_err(Failed::in_place_of_a_program),
        Command::Host(args) => host::host(&args, context).await,
        other => tokio::select! {
            done = answer(other, context) => done,
            () = interrupts.first() => Ok(Exit::INTERRUPTED),
        },
    }
}

async fn answer(command: Command, context: &mut Context) -> Result<Exit, Failed> {
    match command {
        Command::Run(args) => run::run(args, context).await,
        Command::Rerun(args) => rerun::rerun(args, context).await,
        Command::Host(args) => host::host(&args, context).await,
        Command::List(args) => list::list(&args, context).await,
        Command::Runs(args) => runs::runs(args, context).await,
        Command::Logs(args) => logs::logs(args, context).await,
        Command::Cancel(args) => cancel::cancel(args, context).await,
        Command::Explain(args) => explain::explain(args, context).await,
        Command::Schedule(command) => schedule::schedule(command, context).await,
        Command::Doctor => doctor::doctor(context).await,
        Command::Init(args) => init::init(&args, context),
        Command::Completion(args) => completion::completion(&args, context),
    }
}
