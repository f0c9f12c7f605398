//! The start of the program.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fastflow_shim::{Order, Outcome, Rlimits, Secret};
use nix::sys::signal::SigSet;
use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Resource, Rlimit},
};

use crate::delivery;

/// How much the kernel may hold for the shim, per stream, where it allows that.
pub(crate) const PIPE_BYTES: usize = 1024 * 1024;
/// The standing of the shim with the kernel when memory runs out: the program goes first.
const OOM_SCORE: &str = "-500";
/// The standing of a program whose shim may not lower its own: anybody may raise it.
const RAISED_OOM_SCORE: &[u8] = b"500";
const OOM_SCORE_FILE: &str = "/proc/self/oom_score_adj";

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) pid: Pid,
    pub(crate) out: OwnedFd,
    pub(crate) err: OwnedFd,
}

/// What the program gets that nobody else may see.
pub(crate) struct SecretEnvironment {
    pub(crate) variables: BTreeMap<String, Secret>,
    /// The folder with the secrets that are files.
    pub(crate) folder: Option<PathBuf>,
}

/// Prepares this process, as the one above the program, and starts it.
pub(crate) fn start(order: &Order, secrets: &SecretEnvironment) -> Result<Program, Outcome> {
    for cgroup in &order.cgroups {
        join(cgroup)
            .map_err(|error| failed(&format!("cannot join the cgroup {}", cgroup.display()), &error))?;
    }
    if std::process::id() != 1 {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| failed("cannot become the parent of orphans", &error.into()))?;
    }
    let oom_score = if lower_oom_score() { b"0".as_slice() } else { RAISED_OOM_SCORE };
    check_working_dir(&order.working_dir)?;
    let program = order.argv.first().map(String::as_str).unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(order.argv.iter().skip(1))
        .env_clear()
        .envs(&order.env)
        .envs(secrets.variables.iter().map(|(name, secret)| (name, secret.expose())))
        .envs(secrets.folder.iter().map(|folder| (delivery::VARIABLE, folder)))
        .current_dir(&order.working_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    before_exec(&mut command, &order.rlimits, oom_score);
    let spawned = command.spawn();
    // It has copies of the variables, in memory that the standard library does not wipe. They are gone before anything of
    // the program's is read; that nobody sees them in what is free again is for `dumps` to see to.
    drop(command);
    let mut child = spawned.map_err(|error| failed(&format!("cannot start {program}"), &error))?;
    let pipes = child.stdout.take().map(OwnedFd::from).zip(child.stderr.take().map(OwnedFd::from));
    let (out, err) =
        pipes.ok_or_else(|| failed("cannot read from the program", &io::ErrorKind::BrokenPipe.into()))?;
    for pipe in [&out, &err] {
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        rustix::io::ioctl_fionbio(pipe, true)
            .map_err(|error| failed("cannot read from the program", &error.into()))?;
    }
    Ok(Program { pid: Pid::from_child(&child), out, err })
}

fn check_working_dir(path: &Path) -> Result<(), Outcome> {
    let error = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => io::Error::from(rustix::io::Errno::NOTDIR),
        Err(error) => error,
    };
    Err(failed(&format!("cannot use the working directory {}", path.display()), &error))
}

/// Puts this process into a cgroup. In version 1 by its only thread: moving a whole process makes the kernel wait
/// until no process of the machine forks or ends, which takes it up to 20 ms.
fn join(cgroup: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(cgroup.join("tasks")) {
        Ok(mut tasks) => tasks.write_all(b"0"),
        // Version 2 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(cgroup.join("cgroup.procs"), "0"),
        Err(error) => Err(error),
    }
}

pub(crate) fn failed(what: &str, error: &io::Error) -> Outcome {
    Outcome::ExecFailed { errno: error.raw_os_error(), message: format!("{what}: {error}") }
}

/// Whether the shim stands apart; the program then has to raise its own standing again.
fn lower_oom_score() -> bool {
    let protected = fs::read_to_string(OOM_SCORE_FILE).is_ok_and(|score| score.trim_start().starts_with('-'));
    fs::write(OOM_SCORE_FILE, OOM_SCORE).is_ok() || protected
}

/// What the child does to itself: only system calls, for it is a copy of this process.
#[expect(unsafe_code, reason = "limits and the signal mask can only be set by the child itself")]
fn before_exec(command: &mut Command, limits: &Rlimits, oom_score: &'static [u8]) {
    let limits = limits.clone();
    let prepare = move || {
        limit(Resource::Core, Some(limits.core_bytes))?;
        limit(Resource::Nofile, limits.open_files)?;
        limit(Resource::Fsize, limits.file_bytes)?;
        let file =
            rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, oom_score)?;
        SigSet::empty().thread_set_mask()?;
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock; it makes system calls alone.
    unsafe { command.pre_exec(prepare) };
}

fn limit(resource: Resource, wanted: Option<u64>) -> rustix::io::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let allowed = rustix::process::getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted));
    rustix::process::setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })
}
