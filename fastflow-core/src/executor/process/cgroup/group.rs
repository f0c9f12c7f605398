//! The groups of one attempt.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::super::monitor;

/// The processes in any of these groups. A group that is gone has none.
pub(in super::super) fn members(groups: &[PathBuf]) -> io::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for group in groups {
        match fs::read_to_string(group.join("cgroup.procs")) {
            // 0 is a process that this one cannot see.
            Ok(list) => {
                found
                    .extend(list.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Sends SIGKILL to all that are in the groups now, and lets them fork no more.
pub(in super::super) fn kill(groups: &[PathBuf]) -> io::Result<()> {
    for group in groups {
        if fs::write(group.join("cgroup.kill"), "1").is_ok() {
            continue;
        }
        // Who cannot fork cannot outrun a kill. Not every group has this file.
        let _ = write_existing(&group.join("pids.max"), b"0");
        let this = std::slice::from_ref(group);
        for pid in members(this)? {
            monitor::kill_if(pid, || members(this).is_ok_and(|members| members.contains(&pid)));
        }
    }
    Ok(())
}

/// Removes the groups.
///
/// # Errors
///
/// `ResourceBusy` while there is a process in one of them.
pub(in super::super) fn remove(groups: &[PathBuf]) -> io::Result<()> {
    for group in groups {
        match fs::remove_dir(group) {
            Err(error) if is_gone(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

fn write_existing(path: &Path, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, bytes)
}

/// Gone before, or while it was looked at.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NODEV)
}
