//! `fastflow completion`.

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};

use super::{args::Args, command::Context, exit::Exit, failed::Failed};

/// For which shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fastflow completion bash > ~/.local/share/bash-completion/completions/fastflow\n  \
                        fastflow completion zsh > \"${fpath[1]}/_fastflow\"\n  \
                        fastflow completion fish > ~/.config/fish/completions/fastflow.fish"
)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: ShellName,
}

/// The shells.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn completion(args: &CompletionArgs, context: &mut Context) -> Result<Exit, Failed> {
    let shell = match args.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "fastflow", &mut script);
    context.out.write(&String::from_utf8_lossy(&script))?;
    context.out.flush()?;
    Ok(Exit::SUCCESS)
}
