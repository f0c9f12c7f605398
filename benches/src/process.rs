//! What the kernel says of a process.

use std::{fs, io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Memory of a process that is in RAM now, in bytes.
///
/// # Errors
///
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most memory it ever had in RAM since the last [`forget_peak`], in bytes.
///
/// # Errors
///
/// When there is no such process.
pub fn peak_bytes(pid: u32) -> io::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Begins a new peak at what this process has in RAM now.
///
/// # Errors
///
/// When the kernel refuses.
pub fn forget_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}

/// CPU time that all threads of a process have used.
///
/// # Errors
///
/// When there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // In nanoseconds, where `stat` counts in hundredths of a second.
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let used = text.split(' ').next().and_then(|used| used.parse().ok());
        total += Duration::from_nanos(used.ok_or_else(|| io::Error::other("schedstat has no number"))?);
    }
    Ok(total)
}

/// How many threads of this machine wanted a processor at one time, on average over the last minute.
///
/// # Errors
///
/// When the kernel does not say.
pub fn load_average() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let load = text.split(' ').next().and_then(|load| load.parse().ok());
    load.ok_or_else(|| io::Error::other("loadavg has no number"))
}

/// The clock that programs share: Python calls it `time.monotonic_ns`.
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn status_bytes(pid: u32, field: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .and_then(|value| value.parse::<u64>().ok());
    kibibytes.map(|found| found * 1024).ok_or_else(|| io::Error::other(format!("no {field} in status")))
}
