//! What can be said on the command line.

use std::{
    ffi::OsString,
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{ColorChoice, CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};
use fastflow_core::Error;

use super::{
    cancel::CancelArgs, completion::CompletionArgs, exit::Exit, explain::ExplainArgs, host::HostArgs,
    init::InitArgs, json, list::ListArgs, logs::LogsArgs, rerun::RerunArgs, run::RunArgs, runs::RunsArgs,
    schedule::ScheduleCommand, text,
};

const EXAMPLES: &str = "\
Examples:
  fastflow init hello                make a pipeline in ./pipelines
  fastflow run hello -p who=you      run it, and follow its log
  fastflow runs                      what ran, and how it ended
  fastflow logs hello@latest         what the last run said
  fastflow doctor                    whether this machine has what it needs

A RUN is an id, the beginning or the end of one, `latest`, or PIPELINE@latest.
Set FASTFLOW_PIPELINES and FASTFLOW_DATA_DIR to say once where things are.";

/// Run folders of Python durably, each in an environment and a sandbox of its own.
#[derive(Debug, Parser)]
#[command(name = "fastflow", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The folder of pipelines [default: ./pipelines, or . where that has pipelines]
    #[arg(short = 'C', long, value_name = "DIR", global = true, env = "FASTFLOW_PIPELINES", hide_env = true)]
    pub(crate) pipelines: Option<PathBuf>,
    /// Where runs, logs and environments are kept [default: .fastflow beside the pipelines]
    #[arg(long, value_name = "DIR", global = true, env = "FASTFLOW_DATA_DIR", hide_env = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Another uv than the one that was installed with this
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) uv: Option<PathBuf>,
    /// The key that stored secrets are sealed with, where there are any
    #[arg(long, value_name = "FILE", global = true, env = "FASTFLOW_MASTER_KEY_FILE", hide_env = true)]
    pub(crate) master_key_file: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; `NO_COLOR` is heeded
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Say only what was asked for
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

impl Global {
    /// Another command for the same place, as somebody would type it.
    pub(crate) fn command(&self, words: &str) -> String {
        let mut command = "fastflow".to_owned();
        for (option, path) in [("-C", &self.pipelines), ("--data-dir", &self.data_dir)] {
            if let Some(path) = path {
                // Writing into a String cannot fail.
                let _ = write!(command, " {option} {}", quoted(&text::plain(&path.to_string_lossy())));
            }
        }
        format!("{command} {words}")
    }
}

/// The word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline, or a Python file
    Run(RunArgs),
    /// List the pipelines
    List(ListArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Show the log of a run
    Logs(LogsArgs),
    /// End runs
    Cancel(CancelArgs),
    /// Run again what a run executed
    Rerun(RerunArgs),
    /// Say why a run waits, or ended as it did
    Explain(ExplainArgs),
    /// Look at schedules, and switch them on and off
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Let schedules start, and runs go on, until Ctrl-C
    Host(HostArgs),
    /// Check whether this machine has what is needed
    Doctor,
    /// Make a pipeline from a template
    Init(InitArgs),
    /// Print a script that completes commands in a shell
    Completion(CompletionArgs),
}

/// Understands the command line.
///
/// # Errors
///
/// What there is to say to somebody who asks for help, or whose words cannot be understood.
pub(crate) fn parse(argv: &[OsString]) -> Result<Args, clap::Error> {
    let mut command = Args::command().color(help_colours(argv));
    let given = std::iter::once(OsString::from("fastflow")).chain(argv.iter().skip(1).cloned());
    let matches = command.try_get_matches_from_mut(given)?;
    clap::FromArgMatches::from_arg_matches(&matches).map_err(|error: clap::Error| error.format(&mut command))
}

/// Says it, and how the process ends.
pub(crate) fn answer(answer: &clap::Error, argv: &[OsString]) -> Exit {
    let was_asked_for = matches!(answer.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let said = if !was_asked_for && is_for_programs(argv) {
        writeln!(io::stderr(), "{}", json::text(&json::error(&refused(answer))))
    } else {
        answer.print()
    };
    match said {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::BROKEN_PIPE,
        _ if was_asked_for => Exit::SUCCESS,
        _ => Exit::USAGE,
    }
}

/// Whether the words, which nobody understood, ask for JSON.
fn is_for_programs(argv: &[OsString]) -> bool {
    argv.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json")
}

/// What people read, without the parts that tell how the command is used.
fn refused(answer: &clap::Error) -> Error {
    if answer.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // All that people read then is the help.
        return Error::new(fastflow_core::ErrorKind::Invalid, "something is missing: `--help` tells what");
    }
    let said = answer.render().to_string();
    let is_about_it = |part: &&str| !part.starts_with("Usage:") && !part.starts_with("For more information");
    let parts = said.split("\n\n").take_while(is_about_it);
    let on_one_line = |part: &str| part.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message = parts.map(on_one_line).collect::<Vec<_>>().join("; ");
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    Error::new(fastflow_core::ErrorKind::Invalid, message)
}

/// What is said of the colours, before anything is understood: help has them, too.
fn help_colours(argv: &[OsString]) -> ColorChoice {
    let mut words = argv.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let choice = word.strip_prefix("--color=").or_else(|| (word == "--color").then(|| words.next())?);
        match choice {
            Some("always") => return ColorChoice::Always,
            Some("never") => return ColorChoice::Never,
            _ => {}
        }
    }
    ColorChoice::Auto
}
