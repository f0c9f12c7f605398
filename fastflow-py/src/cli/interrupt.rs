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
use tokio::{io::AsyncReadExt as _, net::UnixStream, sync::watch};

/// Where interrupts arrive.
#[derive(Debug)]
pub(crate) struct Interrupts {
    came: watch::Receiver<bool>,
}

impl Interrupts {
    /// Reads them from one end of a pair of sockets, beside the command: that may be held up by whoever reads its output.
    #[expect(unsafe_code, reason = "a descriptor comes as a number from the interpreter")]
    pub(crate) fn new(descriptor: RawFd) -> io::Result<Self> {
        // SAFETY: the caller keeps it open for as long as the command runs; a copy is made at once.
        let given: OwnedFd = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
        let socket = Socket::from(given);
        socket.set_nonblocking(true)?;
        let from = UnixStream::from_std(socket)?;
        let (tell, came) = watch::channel(false);
        tokio::spawn(listen(from, tell));
        Ok(Self { came })
    }

    /// Returns once Ctrl-C was pressed. From then on the next one ends the process, whatever it does.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub(crate) async fn first(&self) {
        if self.came.clone().wait_for(|came| *came).await.is_err() {
            // Nobody can press it any more.
            std::future::pending::<()>().await;
        }
    }
}

async fn listen(mut from: UnixStream, tell: watch::Sender<bool>) {
    while let Ok(number) = from.read_u8().await {
        if i32::from(number) == Signal::SIGINT as i32 {
            let _ = next_ends_the_process();
            // A command that has ended does not want to know.
            let _ = tell.send(true);
        }
    }
}

#[expect(unsafe_code, reason = "only the system's own way of ending cannot be held up by anything")]
fn next_ends_the_process() -> nix::Result<SigHandler> {
    // SAFETY: the default disposition runs no code of ours. The interpreter's is put back by its own `signal.signal`.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }
}
