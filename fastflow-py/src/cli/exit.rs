//! The exit codes of the command.
//!
//! They are in `docs/guide/command-line.md`, and scripts rely on them.

use fastflow_core::{
    ErrorKind,
    run::{Exit as End, Failure, Run, RunState, Status},
};

/// What is added to the number of a signal, as shells do.
const BY_SIGNAL: u8 = 128;

/// How the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// All is well.
    pub(crate) const SUCCESS: Self = Self(0);
    /// Something is not as it should be: a check of `doctor` failed, or not all of what was asked for was done.
    pub(crate) const FAILURE: Self = Self(1);
    /// The command line cannot be understood, or what it asks for can never work.
    pub(crate) const USAGE: Self = Self(2);
    /// What was named is not there.
    const NOT_FOUND: Self = Self(3);
    /// It is not in a state in which that can be done: it has ended already, or somebody else has it.
    const CONFLICT: Self = Self(4);
    /// It cannot be done now, and may be later.
    const UNAVAILABLE: Self = Self(5);
    /// Permissions, or what this machine lacks, do not allow it.
    const DENIED: Self = Self(6);
    /// A time limit was reached, as timeout(1) has it.
    const TIMED_OUT: Self = Self(124);
    /// There is no exit code of the program: it never began, or nobody knows how it ended.
    pub(crate) const NO_CODE: Self = Self(125);
    /// Ended by Ctrl-C.
    pub(crate) const INTERRUPTED: Self = Self(130);
    /// The kernel killed it for its memory.
    const KILLED: Self = Self(137);
    /// Whoever read the output went away.
    pub(crate) const BROKEN_PIPE: Self = Self(141);
    /// Somebody cancelled the run.
    const CANCELLED: Self = Self(143);

    /// The code.
    pub(crate) fn code(self) -> u8 {
        self.0
    }

    /// For a run that was followed to its end: what its program would have ended with in a shell.
    pub(crate) fn of_run(run: &Run) -> Self {
        if run.status() == Status::Success {
            return Self::SUCCESS;
        }
        match &run.state {
            RunState::Failed(failure) => Self::of_failure(failure),
            _ => Self::CANCELLED,
        }
    }

    fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Exit(End::Code(code)) => u8::try_from(*code).map_or(Self::NO_CODE, Self),
            Failure::Exit(End::Signal(signal)) => {
                u8::try_from(*signal).map_or(Self::NO_CODE, |signal| Self(BY_SIGNAL.saturating_add(signal)))
            }
            Failure::Exit(_) => Self::KILLED,
            Failure::TimedOut => Self::TIMED_OUT,
            _ => Self::NO_CODE,
        }
    }

    /// For a command that the machinery could not carry out.
    pub(crate) fn of_error(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::USAGE,
            ErrorKind::NotFound => Self::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::AlreadyExists => Self::CONFLICT,
            ErrorKind::Unavailable | ErrorKind::StorageFull => Self::UNAVAILABLE,
            ErrorKind::Denied | ErrorKind::Unsupported => Self::DENIED,
            _ => Self::FAILURE,
        }
    }
}
