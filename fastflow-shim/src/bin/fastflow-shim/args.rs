//! The command line.

use std::{ffi::OsString, os::fd::RawFd, path::PathBuf, time::Duration};

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) order: OrderSource,
    pub(crate) reply: ReplyTo,
    pub(crate) detach: bool,
}

/// Who is told what came of the order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ReplyTo {
    /// Nobody; a person may read standard error.
    Nobody,
    /// Whoever reads standard output.
    Stdout,
    /// Whoever waits for this file. It appears in one step.
    File(PathBuf),
}

#[derive(Debug)]
pub(crate) enum OrderSource {
    /// A descriptor that is read to its end.
    Fd(RawFd),
    /// A file that is renamed into place, read and unlinked.
    File { path: PathBuf, wait: Duration },
}

impl Args {
    pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut order, mut wait, mut detach) = (None, Duration::ZERO, false);
        let mut reply = ReplyTo::Nobody;
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--order-fd") => {
                    let fd = number(&arg, args.next())?;
                    order = Some(OrderSource::Fd(
                        RawFd::try_from(fd).map_err(|_| format!("{fd} is no file descriptor"))?,
                    ));
                }
                Some("--order-file") => {
                    let path = PathBuf::from(value(&arg, args.next())?);
                    order = Some(OrderSource::File { path, wait: Duration::ZERO });
                }
                Some("--wait-ms") => wait = Duration::from_millis(number(&arg, args.next())?),
                Some("--reply") => reply = ReplyTo::Stdout,
                Some("--reply-file") => reply = ReplyTo::File(PathBuf::from(value(&arg, args.next())?)),
                Some("--detach") => detach = true,
                _ => return Err(format!("unknown argument {}: expected {USAGE}", arg.display())),
            }
        }
        let order = match order {
            Some(OrderSource::File { path, .. }) => OrderSource::File { path, wait },
            Some(fd @ OrderSource::Fd(_)) => fd,
            None => return Err(format!("no order: expected {USAGE}")),
        };
        Ok(Self { order, reply, detach })
    }

    /// The descriptor of the order, which must stay open.
    pub(crate) fn order_fd(&self) -> Option<RawFd> {
        match self.order {
            OrderSource::Fd(fd) => Some(fd),
            OrderSource::File { .. } => None,
        }
    }
}

const USAGE: &str =
    "(--order-fd N | --order-file PATH [--wait-ms N]) [--reply | --reply-file PATH] [--detach]";

fn value(name: &OsString, value: Option<OsString>) -> Result<OsString, String> {
    value.ok_or_else(|| format!("{} needs a value: expected {USAGE}", name.display()))
}

fn number(name: &OsString, text: Option<OsString>) -> Result<u64, String> {
    let text = value(name, text)?;
    text.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{} needs a number, got {}", name.display(), text.display()))
}
