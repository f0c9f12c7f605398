//! Looking at processes from outside.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Whether a process holds an exclusive lock on the file of this number, as the kernel says.
pub(crate) fn holds_lock(pid: u32, inode: u64) -> bool {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let mut texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    // "lock:	1: FLOCK  ADVISORY  WRITE 4711 fe:01:131 0 EOF", with the number of the file after the last colon.
    texts.any(|text| {
        text.lines().any(|line| {
            let of_it = format!(":{inode} ");
            line.starts_with("lock:")
                && line.contains("FLOCK")
                && line.contains("WRITE")
                && line.contains(&of_it)
        })
    })
}

/// Those of `pids` that hold the lock of a host.
pub(crate) fn hosts(data: &Path, pids: &[u32]) -> Vec<u32> {
    let Ok(lock) = fs::metadata(data.join("fastflow.db.lock")) else { return Vec::new() };
    pids.iter().copied().filter(|pid| holds_lock(*pid, lock.ino())).collect()
}
