//! A program that stands between us and a server.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::PollFlags,
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    pipe::{Incoming, Outgoing, await_one},
    watch::Watch,
};

/// The most that is kept of what a program says beside, in bytes.
const MAX_HEARD_BYTES: usize = 4 << 10;
/// How long a program that says nothing more may take to end.
const END: Duration = Duration::from_secs(5);

/// A program that has been started. It does not outlive this.
#[derive(Debug)]
pub(super) struct Program {
    child: Mutex<Child>,
    heard: Mutex<Vec<u8>>,
    has_spoken: AtomicBool,
}

impl Program {
    /// Starts it, without any shell.
    pub(super) fn start(
        command: &mut Command,
        watch: &Arc<Watch>,
    ) -> io::Result<(Arc<Self>, Incoming, Outgoing)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("a pipe was not made");
        let stdin = OwnedFd::from(child.stdin.take().ok_or_else(missing)?);
        let stdout = OwnedFd::from(child.stdout.take().ok_or_else(missing)?);
        let stderr = OwnedFd::from(child.stderr.take().ok_or_else(missing)?);
        let program = Arc::new(Self {
            child: Mutex::new(child),
            heard: Mutex::default(),
            has_spoken: AtomicBool::new(false),
        });
        let incoming = Incoming::of(&program, [stdout, stderr], watch)?;
        Ok((program, incoming, Outgoing::new(stdin, watch)?))
    }

    pub(super) fn heard(&self, bytes: &[u8]) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_HEARD_BYTES.saturating_sub(heard.len());
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Notes that there was an answer.
    pub(super) fn speaks(&self) {
        self.has_spoken.store(true, Ordering::SeqCst);
    }

    /// Whether there was any answer.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Ordering::SeqCst)
    }

    /// What it said beside, for people.
    pub(super) fn words(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned()
    }

    /// How it ended, once it has closed what it says. Not long, if it does not end by itself.
    pub(super) fn end(&self, watch: &Watch) -> io::Result<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let since = watch.elapsed();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            await_one(&[Some(handle.as_fd())], PollFlags::IN)?;
            if watch.elapsed().saturating_sub(since) > END {
                child.kill()?;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
