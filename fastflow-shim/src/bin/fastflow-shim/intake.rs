//! How the order comes in.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
    time::Duration,
};

use fastflow_shim::{clock, mask::SecretBuffer, order::MAX_BYTES};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use zeroize::Zeroizing;

use crate::{
    args::{Args, OrderSource},
    signal::Signals,
};

/// How often the file is looked for although nothing was heard of it: not every file system tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often, where the kernel gives no watch at all.
const BLIND_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How much of the order is read at a time: nearly always all of it.
const READ_BYTES: usize = 64 * 1024;
/// Enough for some names; what does not fit comes with the next read.
const EVENT_BYTES: usize = 4096;

pub(crate) enum Intake {
    /// All there is to read.
    Complete(SecretBuffer),
    /// The wait is over, or the other side closed without a word, or a signal asked to end.
    Nothing,
}

pub(crate) fn read(args: &Args, signals: &Signals) -> io::Result<Intake> {
    let intake = match &args.order {
        OrderSource::Fd(fd) => read_to_end(take_fd(*fd)?, signals)?,
        OrderSource::File { path, wait } => read_file(path, *wait, signals)?,
    };
    Ok(match intake {
        Intake::Complete(bytes) if bytes.is_empty() => Intake::Nothing,
        other => other,
    })
}

#[expect(unsafe_code, reason = "the command line names a descriptor by its number")]
fn take_fd(fd: RawFd) -> io::Result<File> {
    if fd == 0 {
        // Standard input stays open, for as long as the number must not go to another file.
        return Ok(File::from(rustix::stdio::stdin().try_clone_to_owned()?));
    }
    // SAFETY: the caller has passed this descriptor for this purpose, and nothing else here uses it. A number that
    // is not open fails at the first read.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    Ok(File::from(owned))
}

fn read_to_end(mut file: File, signals: &Signals) -> io::Result<Intake> {
    let mut bytes = SecretBuffer::with_capacity(READ_BYTES);
    let mut buffer = Zeroizing::new(vec![0; READ_BYTES]);
    loop {
        let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(&file, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let readable = !fds[1].revents().is_empty();
        if signals.next()?.is_some() {
            return Ok(Intake::Nothing);
        }
        if readable {
            match file.read(&mut buffer)? {
                0 => return Ok(Intake::Complete(bytes)),
                read => bytes.extend(&buffer[..read]),
            }
            if bytes.len() > MAX_BYTES {
                return Err(too_large());
            }
        }
    }
}

fn read_file(path: &Path, wait: Duration, signals: &Signals) -> io::Result<Intake> {
    if wait.is_zero() {
        return Ok(take_file(path)?.map_or(Intake::Nothing, Intake::Complete));
    }
    let end = clock::instant() + wait;
    let watch = watch_parent(path).ok();
    let interval = if watch.is_some() { LOOK_INTERVAL } else { BLIND_LOOK_INTERVAL };
    loop {
        if let Some(bytes) = take_file(path)? {
            // Left open: to close it the kernel waits for a grace period, 13 ms here, and the program would with it. It
            // ends with this process, and no program inherits it.
            std::mem::forget(watch);
            return Ok(Intake::Complete(bytes));
        }
        let left = end.saturating_duration_since(clock::instant());
        if left.is_zero() {
            return Ok(Intake::Nothing);
        }
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        fds.extend(watch.iter().map(|watch| PollFd::new(watch, PollFlags::IN)));
        let timeout = Timespec::try_from(left.min(interval)).map_err(io::Error::other)?;
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))?;
        if signals.next()?.is_some() {
            return Ok(Intake::Nothing);
        }
        // What was heard does not matter: the next look tells.
        let mut events = [0; EVENT_BYTES];
        while watch.as_ref().is_some_and(|watch| rustix::io::read(watch.as_fd(), &mut events).is_ok()) {}
    }
}

fn watch_parent(path: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    inotify::add_watch(&watch, parent, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO)?;
    Ok(watch)
}

/// Reads the file and unlinks it, as far as it can, before anything in it is used.
fn take_file(path: &Path) -> io::Result<Option<SecretBuffer>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = read_order(file);
    match fs::remove_file(path) {
        // A program that could not write there either: whoever put the order there takes it away.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
        removed => removed?,
    }
    let bytes = read?;
    if bytes.len() > MAX_BYTES { Err(too_large()) } else { Ok(Some(bytes)) }
}

fn read_order(mut file: File) -> io::Result<SecretBuffer> {
    let mut bytes = SecretBuffer::with_capacity(READ_BYTES);
    let mut buffer = Zeroizing::new(vec![0; READ_BYTES]);
    while bytes.len() <= MAX_BYTES {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the order is larger than {MAX_BYTES} bytes"))
}
