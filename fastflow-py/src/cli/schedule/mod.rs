//! `fastflow schedule`.

mod cron;
mod stored;

use clap::Subcommand;

use self::{
    cron::CronArgs,
    stored::{NextArgs, ScheduleIdArgs},
};
use super::{command::Context, exit::Exit, failed::Failed};

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List schedules, and when each is due next
    List,
    /// Say what will run when
    Next(NextArgs),
    /// Say what a cron expression means
    Explain(CronArgs),
    /// Switch a schedule on
    Enable(ScheduleIdArgs),
    /// Switch a schedule off
    Disable(ScheduleIdArgs),
}

/// Does it.
///
/// # Errors
///
/// When there is no such schedule, or it cannot be read or changed.
pub(crate) async fn schedule(command: ScheduleCommand, context: &mut Context) -> Result<Exit, Failed> {
    match command {
        ScheduleCommand::List => stored::list(context).await,
        ScheduleCommand::Next(args) => stored::next(&args, context).await,
        ScheduleCommand::Explain(args) => cron::explain(&args, context),
        ScheduleCommand::Enable(args) => stored::set_enabled(&args, stored::Switch::On, context).await,
        ScheduleCommand::Disable(args) => stored::set_enabled(&args, stored::Switch::Off, context).await,
    }
}
