//! Reading from and writing to a server in a way that ends when it has to.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::{
    program::Program,
    watch::{TICK, Watch},
};
use crate::source::SyncFailureKind as Kind;

/// What the server says. The end of it is a failure: the one who asks hangs up.
pub(super) struct Incoming {
    from: OwnedFd,
    /// The program between the server and us, and what it says beside.
    beside: Option<(OwnedFd, Arc<Program>)>,
    watch: Arc<Watch>,
}

/// What is said to the server.
pub(super) struct Outgoing {
    to: OwnedFd,
    watch: Arc<Watch>,
}

impl Incoming {
    /// From a socket.
    pub(super) fn new(from: OwnedFd, watch: &Arc<Watch>) -> io::Result<Self> {
        never_block(&from)?;
        Ok(Self { from, beside: None, watch: Arc::clone(watch) })
    }

    /// From a program.
    pub(super) fn of(
        program: &Arc<Program>,
        [from, beside]: [OwnedFd; 2],
        watch: &Arc<Watch>,
    ) -> io::Result<Self> {
        never_block(&from)?;
        never_block(&beside)?;
        Ok(Self { from, beside: Some((beside, Arc::clone(program))), watch: Arc::clone(watch) })
    }

    /// Keeps what the program says beside, until it says nothing more for now.
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some((beside, program)) = &self.beside {
            match rustix::io::read(beside, &mut buffer) {
                Ok(0) => self.beside = None,
                Ok(read) => {
                    self.watch.receive(read)?;
                    program.heard(&buffer[..read]);
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let silent_since = self.watch.elapsed();
        loop {
            self.hear()?;
            match rustix::io::read(&self.from, &mut *buffer) {
                Ok(0) => {
                    self.hear()?;
                    return Err(self.watch.fail(Kind::Unreachable, "the server broke off"));
                }
                Ok(read) => {
                    if let Some((_, program)) = &self.beside {
                        program.speaks();
                    }
                    return self.watch.receive(read).map(|()| read);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => {
                    let message = format!("the connection broke: {error}");
                    return Err(self.watch.fail(Kind::Unreachable, message));
                }
            }
            let beside = self.beside.as_ref().map(|(beside, _)| beside.as_fd());
            await_one(&[Some(self.from.as_fd()), beside], PollFlags::IN)?;
            self.watch.check(silent_since)?;
        }
    }
}

impl Outgoing {
    pub(super) fn new(to: OwnedFd, watch: &Arc<Watch>) -> io::Result<Self> {
        never_block(&to)?;
        Ok(Self { to, watch: Arc::clone(watch) })
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let silent_since = self.watch.elapsed();
        loop {
            match rustix::io::write(&self.to, bytes) {
                Ok(written) => return Ok(written),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Whoever closes it has said why before, which the next read finds.
                Err(error) => return Err(error.into()),
            }
            await_one(&[Some(self.to.as_fd())], PollFlags::OUT)?;
            self.watch.check(silent_since)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn never_block(fd: &OwnedFd) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    Ok(fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// Waits until something can be done with one of them, or it is time to look around.
pub(super) fn await_one(fds: &[Option<BorrowedFd<'_>>], what: PollFlags) -> io::Result<()> {
    let mut polled: Vec<_> = fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, what)).collect();
    let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    match poll(&mut polled, Some(&tick)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
