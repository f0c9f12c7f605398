//! What the shim itself says to the one who started it.

use std::{
    fs::{self, OpenOptions},
    path::Path,
};

use fastflow_shim::Reply;

use crate::args::ReplyTo;

/// Answers, and lets go of the standard streams. A caller that is gone does not matter.
pub(crate) fn reply(to: &ReplyTo, reply: &Reply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    match to {
        ReplyTo::Nobody => {}
        ReplyTo::Stdout => write_all(rustix::stdio::stdout(), &line),
        ReplyTo::File(path) => write_file(path, &line),
    }
    close_standard_streams();
}

/// Whoever waits for it hears of an end without an answer in other ways, so that one without room is not missed.
fn write_file(path: &Path, line: &[u8]) {
    let aside = path.with_extension("unfinished");
    if fs::write(&aside, line).and_then(|()| fs::rename(&aside, path)).is_err() {
        let _ = fs::remove_file(&aside);
    }
}

/// Says something to whoever reads standard error.
pub(crate) fn complain(message: &str) {
    write_all(rustix::stdio::stderr(), format!("fastflow-shim: {message}\n").as_bytes());
}

/// Lets go of the three standard descriptors: nobody may wait for them to close while the program runs.
pub(crate) fn close_standard_streams() {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

fn write_all(fd: rustix::fd::BorrowedFd<'_>, mut bytes: &[u8]) {
    while let Ok(written @ 1..) = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)) {
        bytes = &bytes[written..];
    }
}
