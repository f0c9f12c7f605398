//! Away from the process that started the shim: its descriptors, its session, its fate.

use std::{io, os::fd::RawFd};

use nix::{libc, unistd};
use rustix::process::WaitOptions;

/// Which side of the fork this is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Detached {
    /// The process that was started, or the one between. It has nothing left to do.
    Parent,
    /// The one that lives on, in a session of its own and without a parent that knows it.
    Child,
}

/// Forks twice. What remains is no child of the host, leads no session, and so gets neither a terminal nor a
/// signal meant for the host's group.
pub(crate) fn detach() -> io::Result<Detached> {
    if fork()? == Detached::Parent {
        // The one between ends at once. Nobody would collect it where the host is given the orphans. Where
        // somebody ignores the ends of children, there is nothing to collect.
        let _ = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty()));
        return Ok(Detached::Parent);
    }
    rustix::process::setsid()?;
    fork()
}

#[expect(unsafe_code, reason = "fork has no safe form")]
fn fork() -> io::Result<Detached> {
    // SAFETY: this process has one thread, so no lock can be held by a thread that the child lacks.
    match unsafe { unistd::fork() }? {
        unistd::ForkResult::Parent { .. } => Ok(Detached::Parent),
        unistd::ForkResult::Child => Ok(Detached::Child),
    }
}

/// Closes all that was inherited besides the standard streams and the order.
pub(crate) fn close_inherited(order: Option<RawFd>) -> io::Result<()> {
    const FIRST: u32 = 3;
    let order = order.and_then(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= FIRST);
    match order {
        Some(order) => {
            if order > FIRST {
                close_range(FIRST, order - 1)?;
            }
            close_range(order + 1, u32::MAX)
        }
        None => close_range(FIRST, u32::MAX),
    }
}

#[expect(unsafe_code, reason = "close_range has no safe form")]
fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: called before this process has opened anything, so that nothing in it owns these descriptors.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Linux before 5.9.
        error if error.raw_os_error() == Some(libc::ENOSYS) => close_one_by_one(first, last),
        error => Err(error),
    }
}

fn close_one_by_one(first: u32, last: u32) -> io::Result<()> {
    let open: Vec<u32> = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in open.into_iter().filter_map(|fd| RawFd::try_from(fd).ok()) {
        // One of them was the directory that is closed by now.
        let _ = unistd::close(fd);
    }
    Ok(())
}
