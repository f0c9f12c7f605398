//! Signals as data.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigHandler, SigSet, Signal, signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// What somebody wants of the shim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    /// SIGTERM or SIGINT: stop the program, with grace.
    Stop,
    /// SIGQUIT: kill the whole tree now.
    Kill,
}

/// All signals of this process, in a queue.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

/// Undoes what was inherited and blocks every signal that can be blocked, except those of a crash. A blocked
/// signal reaches the queue even in PID 1, for which the kernel drops the ones that are left at their default.
pub(crate) fn take_over() -> io::Result<Signals> {
    reset_dispositions();
    let mut mask = SigSet::all();
    for crash in [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGABRT,
        Signal::SIGTRAP,
        Signal::SIGSYS,
    ] {
        mask.remove(crash);
    }
    mask.thread_block()?;
    Ok(Signals(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
}

/// A signal that the host ignores would stay ignored in the program.
#[expect(unsafe_code, reason = "changing a disposition has no safe form")]
fn reset_dispositions() {
    // SIGSEGV and SIGBUS have handlers of the runtime, which exec resets.
    for number in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGSEGV | Signal::SIGBUS)) {
        // SAFETY: the default disposition runs no code of this process. SIGKILL and SIGSTOP are refused.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
    }
    for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: as above.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

impl Signals {
    /// The next wish; signals that mean nothing here are skipped. SIGCHLD only wakes: who has ended is asked
    /// of the kernel.
    pub(crate) fn next(&self) -> io::Result<Option<Wish>> {
        loop {
            match self.0.read_signal() {
                Ok(Some(info)) => match i32::try_from(info.ssi_signo).map(Signal::try_from) {
                    Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => return Ok(Some(Wish::Stop)),
                    Ok(Ok(Signal::SIGQUIT)) => return Ok(Some(Wish::Kill)),
                    _ => {}
                },
                Ok(None) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// All wishes that have come.
    pub(crate) fn drain(&self) -> io::Result<Vec<Wish>> {
        std::iter::from_fn(|| self.next().transpose()).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
