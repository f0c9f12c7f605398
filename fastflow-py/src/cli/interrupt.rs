//! Ctrl-C: the first ends what the command waits for, the second ends the process at once.
//!
//! The interpreter's handler of signals stays in place, and writes each signal's number to a descriptor
//! (`signal.set_wakeup_fd`). Nothing has to be put back here.

use std::{
    io,
    os::{
        fd::{BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream as Socket,
    },
};

use nix::sys::signal::{SigHandler, Signal, signal};
use tokio::{io::AsyncReadExt as _, net::UnixStream, sync::Mutex};

/// Where interrupts arrive.
#[derive(Debug)]
pub(crate) struct Interrupts {
    from: Mutex<UnixStream>,
}

impl Interrupts {
    /// Reads them from one end of a pair of sockets.
    #[expect(unsafe_code, reason = "a descriptor comes as a number from the interpreter")]
    pub(crate) fn new(descriptor: RawFd) -> io::Result<Self> {
        // SAFETY: the caller keeps it open for as long as the command runs; a copy is made at once.
        let given: OwnedFd = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
        let socket = Socket::from(given);
        socket.set_nonblocking(true)?;
        Ok(Self { from: Mutex::new(UnixStream::from_std(socket)?) })
    }

    /// Returns at the first Ctrl-C. From then on the next one ends the process, whatever it does.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: what was not told yet is told by the next call.
    pub(crate) async fn first(&self) {
        let mut from = self.from.lock().await;
        loop {
            match from.read_u8().await {
                Ok(number) if i32::from(number) == Signal::SIGINT as i32 => break,
                Ok(_) => {}
                // Nobody will ever write to it again.
                Err(_) => std::future::pending().await,
            }
        }
        let _ = next_ends_the_process();
    }
}

#[expect(unsafe_code, reason = "only the system's own way of ending cannot be held up by anything")]
fn next_ends_the_process() -> nix::Result<SigHandler> {
    // SAFETY: the default disposition runs no code of ours. The interpreter's is put back by its own `signal.signal`.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }
}
