//! What the attempt uses of the machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fastflow_shim::{SoftLimits, UsagePolicy, UsageRecord, clock, layout, proc};
use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeVal,
};

use crate::sheet::Sheet;

/// The shortest time between two samples.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Each time the file has grown by so much, samples become half as frequent: it never fills a disk.
const THIN_OUT_BYTES: u64 = 16 * 1024 * 1024;
/// Where a container sees its own cgroup, in version 2 and in version 1 with its usual names.
const OWN_CGROUPS: [&str; 5] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/memory",
    "/sys/fs/cgroup/cpuacct",
    "/sys/fs/cgroup/cpu,cpuacct",
    "/sys/fs/cgroup/cpu",
];

/// Takes the samples.
#[derive(Debug)]
pub(crate) struct Meter {
    cgroups: Vec<PathBuf>,
    policy: UsagePolicy,
    interval: Duration,
    next: Instant,
    /// `None` when it cannot be written.
    file: Option<Sheet>,
    thin_out_at: u64,
    cpu_before_us: u64,
    oom_kills_before: u64,
    throttled_before_us: u64,
    last: Option<(Instant, u64)>,
    peak_bytes: u64,
}

impl Meter {
    pub(crate) fn new(run_dir: &Path, policy: UsagePolicy, cgroups: &[PathBuf]) -> Self {
        let cgroups =
            if cgroups.is_empty() && std::process::id() == 1 { own_cgroups() } else { cgroups.to_vec() };
        let interval = Duration::from_millis(policy.interval_ms).max(MIN_INTERVAL);
        let mut meter = Self {
            cgroups,
            policy,
            interval,
            next: clock::instant() + interval,
            file: Sheet::open(&run_dir.join(layout::USAGE)).ok(),
            thin_out_at: THIN_OUT_BYTES,
            cpu_before_us: 0,
            oom_kills_before: 0,
            throttled_before_us: 0,
            last: None,
            peak_bytes: 0,
        };
        meter.cpu_before_us = meter.cgroup_cpu_us().unwrap_or(0);
        meter.oom_kills_before = meter.oom_kills_ever();
        meter.throttled_before_us = meter.throttled_us().unwrap_or(0);
        meter.last = Some((clock::instant(), 0));
        meter
    }

    /// When the next sample is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Takes a sample if one is due. Those that were missed are not made up for.
    pub(crate) fn sample_if_due(&mut self, now: Instant) {
        if now >= self.next {
            self.sample();
            self.next = (self.next + self.interval).max(now);
        }
    }

    /// Takes a sample.
    pub(crate) fn sample(&mut self) {
        let descendants = proc::descendants().unwrap_or_default();
        let alive = || descendants.iter().filter(|stat| !stat.is_zombie());
        let pages: u64 = alive().map(|stat| stat.resident_pages).sum();
        let memory_bytes = self
            .cgroup_memory_bytes()
            .unwrap_or(pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096)));
        self.peak_bytes = self.peak_bytes.max(memory_bytes);
        let cpu_us = self.cgroup_cpu_us().map_or_else(
            || {
                // Those that have ended and were waited for are in the account of the one who waited.
                let ticks: u64 = descendants.iter().map(|stat| stat.cpu_ticks).sum();
                ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1) + children_cpu_us()
            },
            |now| now.saturating_sub(self.cpu_before_us),
        );
        let now = clock::instant();
        let (before, cpu_before_us) = self.last.unwrap_or((now, 0));
        let cpu_us = cpu_us.max(cpu_before_us);
        self.last = Some((now, cpu_us));
        let elapsed_us = now.saturating_duration_since(before).as_micros().max(1);
        let millis = u128::from(cpu_us - cpu_before_us) * 1_000 / elapsed_us;
        let cpu_millis = u32::try_from(millis).unwrap_or(u32::MAX);
        let throttled_millis = self.throttled_millis(elapsed_us);
        self.write(&UsageRecord {
            at: clock::now(),
            cpu_us,
            cpu_millis,
            memory_bytes,
            processes: u32::try_from(alive().count()).unwrap_or(u32::MAX),
            soft: SoftLimits {
                cpu: self.policy.soft_cpu_millis.is_some_and(|limit| cpu_millis > limit),
                memory: self.policy.soft_memory_bytes.is_some_and(|limit| memory_bytes > limit),
            },
            throttled_millis,
        });
    }

    /// How much of the last `elapsed_us` it was held back.
    fn throttled_millis(&mut self, elapsed_us: u128) -> Option<u32> {
        let now = self.throttled_us()?;
        let before = std::mem::replace(&mut self.throttled_before_us, now);
        let millis = u128::from(now.saturating_sub(before)) * 1_000 / elapsed_us;
        u32::try_from(millis.min(1_000)).ok()
    }

    fn write(&mut self, record: &UsageRecord) {
        let Some(file) = &mut self.file else { return };
        let mut line = serde_json::to_vec(record).unwrap_or_default();
        line.push(b'\n');
        // A sample that finds no room is lost; the next one may find some.
        let _ = file.append(&mut line, 1);
        if file.bytes >= self.thin_out_at {
            self.thin_out_at += THIN_OUT_BYTES;
            self.interval *= 2;
        }
    }

    /// The last sample; afterwards the file is closed. Samples are not worth a flush to the disk.
    pub(crate) fn finish(&mut self) {
        self.sample();
        self.file = None;
    }

    /// The most memory at one time: what the kernel has seen of the cgroup, or else the most of what the samples saw
    /// and of what any one process had.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let of_cgroup = self.first_number(&["memory.peak", "memory.max_usage_in_bytes"]);
        let of_one = rusage().map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or(0) * 1024);
        of_cgroup.or(Some(self.peak_bytes.max(of_one))).filter(|bytes| *bytes > 0)
    }

    /// How many processes of the attempt the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.oom_kills_ever().saturating_sub(self.oom_kills_before)
    }

    fn oom_kills_ever(&self) -> u64 {
        self.first(&["memory.events", "memory.oom_control"], |text| field(text, "oom_kill")).unwrap_or(0)
    }

    fn cgroup_cpu_us(&self) -> Option<u64> {
        self.first(&["cpu.stat"], |text| field(text, "usage_usec"))
            .or_else(|| self.first_number(&["cpuacct.usage"]).map(|ns| ns / 1_000))
    }

    /// How long the kernel has held it back so far. A group without a limit counts no periods.
    fn throttled_us(&self) -> Option<u64> {
        self.first(&["cpu.stat"], |text| {
            field(text, "nr_periods").filter(|periods| *periods > 0)?;
            field(text, "throttled_usec").or_else(|| field(text, "throttled_time").map(|ns| ns / 1_000))
        })
    }

    fn cgroup_memory_bytes(&self) -> Option<u64> {
        // Files that were read once and that the kernel would give up first do not count as use.
        let used = self.first_number(&["memory.current", "memory.usage_in_bytes"])?;
        let inactive = self.first(&["memory.stat"], |text| {
            field(text, "total_inactive_file").or_else(|| field(text, "inactive_file"))
        });
        Some(used.saturating_sub(inactive.unwrap_or(0)))
    }

    fn first_number(&self, names: &[&str]) -> Option<u64> {
        self.first(names, |text| text.trim_end().parse().ok())
    }

    fn first<T>(&self, names: &[&str], parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let paths = self.cgroups.iter().flat_map(|cgroup| names.iter().map(move |name| cgroup.join(name)));
        paths.filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| parse(&text))
    }
}

/// The CPU time, in user mode and in the kernel, of all that has been waited for.
pub(crate) fn children_cpu() -> io::Result<(u64, u64)> {
    let usage = rusage()?;
    Ok((micros(usage.user_time()), micros(usage.system_time())))
}

fn children_cpu_us() -> u64 {
    children_cpu().map_or(0, |(user, system)| user + system)
}

fn rusage() -> io::Result<Usage> {
    Ok(getrusage(UsageWho::RUSAGE_CHILDREN)?)
}

fn micros(time: TimeVal) -> u64 {
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec()).unwrap_or(0)
}

/// In a container, and not in a mere PID namespace that still sees the root of the whole machine.
fn own_cgroups() -> Vec<PathBuf> {
    let all = OWN_CGROUPS.iter().map(PathBuf::from);
    all.filter(|path| path.join("cgroup.procs").exists() && !path.join("release_agent").exists()).collect()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
