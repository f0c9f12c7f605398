//! What a failed `uv` means. The one place that judges it.
//!
//! uv has no machine-readable errors, so this uses what does not depend on wording, in this order:
//!
//! 1. **Error numbers.** Rust prints `(os error 28)`, Python `[Errno 28]`. Only uv's own lines count, not what
//!    it quotes of a build; those are indented further.
//! 2. **The exit status.** uv's contract: 1 is a failed operation (no solution, a failed build), 2 is an error
//!    around it (network, unreadable input).
//! 3. **A second try with `--offline`**, where 2 could be either. It needs no network and takes milliseconds:
//!    an input that is unreadable stays an error, a network that failed does not.
//! 4. **Two phrases of uv**: a failed build says `Failed to build`, a file or repository that could not be
//!    fetched `Failed to download`. With status 1 nothing else tells them from an unsatisfiable requirement.

use std::io;

use super::EnvironmentFailureKind;

/// What uv was asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Making a lock.
    Lock,
    /// Making the empty environment.
    Create,
    /// Fetching, building and copying the packages.
    Install,
    /// Compiling what was installed, where that is a step of its own.
    Compile,
}

/// What is known after one failed call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It is this.
    Certain(EnvironmentFailureKind),
    /// The first if the same call with `--offline` ends with 2 again, the second otherwise.
    AskOffline(EnvironmentFailureKind, EnvironmentFailureKind),
    /// The first if resolving alone fails too, the second otherwise.
    AskDry(EnvironmentFailureKind, EnvironmentFailureKind),
}

/// The exit status with which uv reports an error around the operation.
pub(super) const STATUS_ERROR: i32 = 2;

/// Judges a failed call.
pub(super) fn judge(stage: Stage, status: Option<i32>, words: &str) -> Verdict {
    use EnvironmentFailureKind as Kind;
    if let Some(kind) = own_lines(words).find_map(by_number) {
        return Verdict::Certain(kind);
    }
    let says = |phrase: &str| own_lines(words).any(|line| line.contains(phrase));
    match (stage, status) {
        (Stage::Lock | Stage::Install, Some(_)) if says("Failed to build ") => {
            Verdict::Certain(Kind::BuildFailed)
        }
        (Stage::Lock, Some(1)) if says("Failed to download ") => Verdict::Certain(Kind::DownloadFailed),
        (Stage::Lock, Some(1)) => Verdict::Certain(Kind::ResolutionFailed),
        (Stage::Install, Some(1)) => Verdict::AskDry(Kind::ResolutionFailed, Kind::DownloadFailed),
        (Stage::Lock | Stage::Install, Some(STATUS_ERROR)) => {
            Verdict::AskOffline(Kind::ResolutionFailed, Kind::DownloadFailed)
        }
        _ => Verdict::Certain(Kind::Internal),
    }
}

/// The lines that uv itself says: what it quotes from others is indented by more than its causes are.
fn own_lines(words: &str) -> impl Iterator<Item = &str> {
    words.lines().filter(|line| !line.starts_with("    "))
}

fn by_number(line: &str) -> Option<EnvironmentFailureKind> {
    use EnvironmentFailureKind as Kind;
    let number = ["(os error ", "[Errno "].iter().find_map(|mark| {
        let rest = &line[line.find(mark)? + mark.len()..];
        rest[..rest.find([')', ']'])?].parse::<i32>().ok()
    })?;
    match io::Error::from_raw_os_error(number).kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Kind::StorageFull),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Kind::Denied),
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::TimedOut
        | io::ErrorKind::BrokenPipe => Some(Kind::DownloadFailed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use EnvironmentFailureKind as Kind;

    use super::*;

    #[test]
    fn a_number_goes_before_a_status_unless_it_is_only_quoted() {
        let full = "error: Failed to install\n  cause: failed to copy: whatever it is called (os error 28)";
        assert_eq!(judge(Stage::Install, Some(2), full), Verdict::Certain(Kind::StorageFull));
        let python = "error: Bytecode compilation\n  cause: OSError: [Errno 13] words";
        assert_eq!(judge(Stage::Install, Some(2), python), Verdict::Certain(Kind::Denied));
        let refused = "error: Request failed\n  cause: Connection refused (os error 111)";
        assert_eq!(judge(Stage::Lock, Some(2), refused), Verdict::Certain(Kind::DownloadFailed));
        let quoted =
            "error: Failed to build `x==1`\n  cause: it\n\n         [stderr]\n         no (os error 28)";
        assert_eq!(judge(Stage::Install, Some(1), quoted), Verdict::Certain(Kind::BuildFailed));
    }

    #[test]
    fn a_status_says_what_it_can_and_asks_for_the_rest() {
        let ask = Verdict::AskOffline(Kind::ResolutionFailed, Kind::DownloadFailed);
        assert_eq!(judge(Stage::Lock, Some(1), "error: words"), Verdict::Certain(Kind::ResolutionFailed));
        assert_eq!(judge(Stage::Lock, Some(2), "error: words"), ask);
        let git = "error: Failed to download and build `x @ git+https://h/x`\n  cause: Git operation failed";
        assert_eq!(judge(Stage::Lock, Some(1), git), Verdict::Certain(Kind::DownloadFailed));
        assert_eq!(judge(Stage::Lock, None, ""), Verdict::Certain(Kind::Internal));
        assert_eq!(judge(Stage::Create, Some(2), "error"), Verdict::Certain(Kind::Internal));
    }
}
