//! Which process a process id means.
//!
//! The kernel hands out ids again. An id, the start time the kernel keeps with it, and the id of this boot
//! together name one process forever.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

/// The id of this boot of the machine.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// When process `pid` started, in clock ticks since boot.
///
/// ```
/// let own = fastflow_shim::proc::start_time_ticks(std::process::id()).unwrap();
/// assert_eq!(own, fastflow_shim::proc::start_time_ticks(std::process::id()).unwrap());
/// ```
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn start_time_ticks(pid: u32) -> io::Result<u64> {
    Ok(Stat::read(pid)?.start_time_ticks)
}

/// Whether `pid` is still the process that started at `start_time_ticks` during the boot `boot`, and has not
/// ended: one that ended and that nobody has waited for yet counts as gone.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn is_alive(pid: u32, start_time_ticks: u64, boot: &str) -> io::Result<bool> {
    if boot_id()? != boot {
        return Ok(false);
    }
    match Stat::read(pid) {
        Ok(stat) => Ok(stat.start_time_ticks == start_time_ticks && !stat.is_zombie()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// One process, as `/proc/PID/stat` tells it. Times are in clock ticks.
///
/// ```
/// let stat = fastflow_shim::proc::Stat::read(std::process::id()).unwrap();
/// assert_eq!(stat.pid, std::process::id());
/// assert!(!stat.is_zombie());
/// ```
#[derive(Clone, Debug)]
pub struct Stat {
    /// Its id.
    pub pid: u32,
    /// The id of its parent.
    pub parent: u32,
    /// The kernel's letter for its state.
    pub state: u8,
    /// CPU time in user mode and in the kernel, its own and that of the children it has waited for.
    pub cpu_ticks: u64,
    /// CPU time of the children it has waited for; contained in `cpu_ticks`.
    pub children_cpu_ticks: u64,
    /// When it started, since boot.
    pub start_time_ticks: u64,
    /// The memory it has in RAM, in pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Asks the kernel about process `pid`.
    ///
    /// # Errors
    /// `NotFound` when there is no such process.
    pub fn read(pid: u32) -> io::Result<Self> {
        let path = PathBuf::from(format!("/proc/{pid}/stat"));
        // A process that ends between open and read is reported as "no such process".
        let line = fs::read(&path).map_err(|error| match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::SRCH) => io::Error::from(io::ErrorKind::NotFound),
            _ => error,
        })?;
        Self::parse(pid, &line).ok_or_else(|| malformed(&path))
    }

    /// Whether it has ended and only its exit status is left.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    fn parse(pid: u32, line: &[u8]) -> Option<Self> {
        // The name, in parentheses, may itself contain blanks and parentheses: what counts follows the last one.
        let after_name = line.get(memchr::memrchr(b')', line)? + 1..)?;
        let mut fields = std::str::from_utf8(after_name).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        // The fields from here on, numbered as in proc(5): parent 4, utime 14 to cstime 17, start 22, resident 24.
        let numbers: Vec<i64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        let field = |number: usize| numbers.get(number - 4).and_then(|value| u64::try_from(*value).ok());
        let children_cpu_ticks = field(16)? + field(17)?;
        Some(Self {
            pid,
            parent: u32::try_from(field(4)?).ok()?,
            state,
            cpu_ticks: field(14)? + field(15)? + children_cpu_ticks,
            children_cpu_ticks,
            start_time_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// Every living descendant of this process, parents before their children.
///
/// It is a picture of a moving thing: a process that forks meanwhile may be missed, so whoever must have all
/// of them asks until nothing is left.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn descendants() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    let mut parents = vec![process::id()];
    while let Some(parent) = parents.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            // The kernel lists under a thread the children which that thread has forked.
            match fs::read_to_string(thread.path().join("children")) {
                Ok(children) => {
                    for pid in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
                        if let Ok(stat) = Stat::read(pid) {
                            found.push(stat);
                            parents.push(pid);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && parent == process::id() => {
                    return descendants_by_scan();
                }
                Err(_) => {}
            }
        }
    }
    Ok(found)
}

/// The same without the kernel's lists of children, which are an option of its build.
fn descendants_by_scan() -> io::Result<Vec<Stat>> {
    let mut all: Vec<Stat> = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        all.extend(pid.and_then(|pid| Stat::read(pid).ok()));
    }
    let mut found = Vec::new();
    let mut parents = vec![process::id()];
    while let Some(parent) = parents.pop() {
        for stat in all.iter().filter(|stat| stat.parent == parent) {
            found.push(stat.clone());
            parents.push(stat.pid);
        }
    }
    Ok(found)
}

fn malformed(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} does not have the form of proc(5)", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_traps_does_not_shift_the_fields() {
        let line = b"7 (a) b) Z 1 ) R 3 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 12345 1000 99 1 1";
        let stat = Stat::parse(7, line).unwrap();
        assert_eq!(
            (stat.state, stat.parent, stat.start_time_ticks, stat.resident_pages),
            (b'R', 3, 12345, 99)
        );
        assert_eq!((stat.cpu_ticks, stat.children_cpu_ticks), (100, 70));
    }

    #[test]
    fn a_child_is_found_by_both_ways_and_is_gone_after_its_end() {
        let mut child = process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let start = start_time_ticks(child.id()).unwrap();
        let boot = boot_id().unwrap();
        assert!(descendants().unwrap().iter().any(|stat| stat.pid == child.id()));
        assert!(descendants_by_scan().unwrap().iter().any(|stat| stat.pid == child.id()));
        assert!(is_alive(child.id(), start, &boot).unwrap());
        assert!(!is_alive(child.id(), start + 1, &boot).unwrap());
        assert!(!is_alive(child.id(), start, "another boot").unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id(), start, &boot).unwrap());
    }
}
