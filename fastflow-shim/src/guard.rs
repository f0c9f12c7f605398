//! The mark by which user code of an attempt starts at most once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{clock, layout, proc, regular};

/// How many files may lie next to a guard that nobody has finished, before taking it fails.
const MAX_ASIDE: u32 = 1_000;
/// The largest guard, far above what one needs.
const MAX_BYTES: u64 = 64 * 1024;

/// What `guard.json` says. Whoever creates the file decides, once and forever.
///
/// ```
/// use fastflow_shim::guard::{self, Guard, GuardState};
///
/// let dir = tempfile::tempdir().unwrap();
/// assert_eq!(guard::read(dir.path()).unwrap(), None);
/// let mine = Guard::taken("01890a5d").unwrap();
/// assert_eq!(guard::take(dir.path(), &mine).unwrap(), None);
/// assert_eq!(guard::void(dir.path()).unwrap(), Some(GuardState::Known(mine)));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Guard {
    /// A shim has started the attempt, or was about to.
    Taken {
        /// The attempt it was told to start.
        attempt: String,
        /// The shim.
        pid: u32,
        /// When the shim started, in clock ticks since boot.
        start_time_ticks: u64,
        /// The boot that both are of.
        boot_id: String,
        /// When it took the guard.
        #[serde(with = "clock::micros")]
        at: Timestamp,
    },
    /// The attempt never starts.
    Void {
        /// Since when.
        #[serde(with = "clock::micros")]
        at: Timestamp,
    },
}

impl Guard {
    /// What this process writes to start `attempt`.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn taken(attempt: impl Into<String>) -> io::Result<Self> {
        let pid = process::id();
        Ok(Self::Taken {
            attempt: attempt.into(),
            pid,
            start_time_ticks: proc::start_time_ticks(pid)?,
            boot_id: proc::boot_id()?,
            at: clock::now(),
        })
    }
}

/// A guard that exists.
///
/// ```
/// use fastflow_shim::{Guard, GuardState};
///
/// let state = GuardState::Known(Guard::Void { at: "2026-11-20T20:06:16Z".parse().unwrap() });
/// assert!(matches!(state, GuardState::Known(Guard::Void { .. })));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "guard", content = "value")]
pub enum GuardState {
    /// It says this.
    Known(Guard),
    /// It is there and cannot be understood. Treat the attempt as started by nobody knows whom.
    Unreadable,
}

/// Creates the guard in `run_dir` and makes it durable. `None` means that the caller has won; otherwise the
/// answer is what was there.
///
/// # Errors
/// When the file system does not allow it. The guard is then not the caller's, whatever is on the disk.
pub fn take(run_dir: &Path, guard: &Guard) -> io::Result<Option<GuardState>> {
    // Written aside and then linked: a guard that exists is whole, whenever its writer died. Only a machine that
    // loses its power now can leave one that is not, and that counts as taken, too.
    let mut line = serde_json::to_vec(guard)?;
    line.push(b'\n');
    let (aside, mut file) = create_aside(run_dir)?;
    let linked = file.write_all(&line).and_then(|()| fs::hard_link(&aside, run_dir.join(layout::GUARD)));
    let removed = fs::remove_file(&aside);
    match linked {
        Ok(()) => {
            removed?;
            // Content and name go to the disk together: the second flush finds little to do.
            file.sync_all()?;
            File::open(run_dir)?.sync_all()?;
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // It cannot vanish again; should somebody have removed it, nobody knows what it said.
            Ok(Some(read(run_dir)?.unwrap_or(GuardState::Unreadable)))
        }
        Err(error) => Err(error),
    }
}

/// A new file of its own for each caller, next to the guard.
fn create_aside(run_dir: &Path) -> io::Result<(PathBuf, File)> {
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    // Whoever writes to this folder too must not be able to have every name taken beforehand.
    let moment = clock::now().as_nanosecond();
    for number in 0..MAX_ASIDE {
        let path = run_dir.join(format!(".guard.{}.{moment}.{number}", process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Another thread of this process, or one that died with this id, was here.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}

/// Makes sure that the attempt of `run_dir` never starts. `None` means that it never will; otherwise the
/// answer is what was there before, which may be another [`Guard::Void`].
///
/// # Errors
/// When the file system does not allow it. Nothing is known then.
pub fn void(run_dir: &Path) -> io::Result<Option<GuardState>> {
    take(run_dir, &Guard::Void { at: clock::now() })
}

/// The guard of `run_dir`, or `None` when nobody has decided yet.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn read(run_dir: &Path) -> io::Result<Option<GuardState>> {
    match regular::read(&run_dir.join(layout::GUARD), MAX_BYTES) {
        Ok(bytes) => {
            Ok(Some(serde_json::from_slice(&bytes).map_or(GuardState::Unreadable, GuardState::Known)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Whatever it is, it is there: somebody has decided.
        Err(error) if regular::is_foreign(&error) => Ok(Some(GuardState::Unreadable)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn of_many_takers_one_wins_and_all_others_see_the_winner() {
        let dir = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(16);
        let answers: Vec<_> = thread::scope(|scope| {
            let takers: Vec<_> = (0..16)
                .map(|number| {
                    let (dir, barrier) = (dir.path(), &barrier);
                    scope.spawn(move || {
                        let mine = Guard::taken(number.to_string()).unwrap();
                        barrier.wait();
                        (mine.clone(), take(dir, &mine).unwrap())
                    })
                })
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        let winner: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_none()).collect();
        assert_eq!(winner.len(), 1);
        let seen = GuardState::Known(winner[0].0.clone());
        assert!(answers.iter().filter_map(|(_, answer)| answer.as_ref()).all(|answer| *answer == seen));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn half_a_guard_is_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(layout::GUARD), b"{\"state\":\"ta").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(GuardState::Unreadable));
        assert_eq!(void(dir.path()).unwrap(), Some(GuardState::Unreadable));
    }
}
