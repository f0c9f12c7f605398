//! What the machine tells, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fastflow_shim::{Outcome, Reply, Stream};

use crate::harness::{Attempt, eventually, is_root, require, wait};

#[test]
fn samples_flow_and_the_cpu_is_counted() {
    let mut attempt = Attempt::python(
        "import time, os\nkeep = bytearray(50_000_000)\nfor i in range(0, len(keep), 4096): keep[i] = 1\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass",
    );
    attempt.order.usage.soft_cpu_millis = Some(100);
    attempt.order.usage.soft_memory_bytes = Some(40_000_000);
    let record = attempt.run();
    let samples = attempt.usage();
    assert!(samples.len() >= 4, "{}", samples.len());
    assert!(samples.is_sorted_by_key(|sample| sample.cpu_us));
    assert!(
        samples.iter().any(|sample| sample.soft.cpu && sample.soft.memory && sample.processes >= 1),
        "{samples:?}"
    );
    let cpu_us = record.cpu_user_us + record.cpu_system_us;
    assert!((300_000..10_000_000).contains(&cpu_us), "{cpu_us}");
    assert!(samples.last().unwrap().cpu_us >= 300_000);
    let peak = record.peak_memory_bytes.unwrap();
    assert!((50_000_000..300_000_000).contains(&peak), "{peak}");
}

/// A file system of its own that is gone with this value.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        if !is_root() {
            require("mount", "run the tests as root, so that they can mount a small disk");
            return None;
        }
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success());
        Some(Self(at.to_owned()))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_lines_but_not_the_exit_record() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = TinyDisk::mount(dir.path(), "256k") else { return };
    // More than fits on the disk and into the memory that waits for it.
    let mut attempt = Attempt::sh("seq 1 300000; echo done >&2; exit 4");
    attempt.order.run_dir = dir.path().to_owned();
    let record = attempt.run();
    assert_eq!(record.outcome, Outcome::Exited { code: 4 });
    assert!(!record.log.complete);
    assert!(record.log.dropped_records > 0);
    assert!(record.log.error.is_some());
    // Whole records up to where it was full.
    let text = attempt.text(Stream::Out);
    let kept = text.lines().count();
    assert!(text.lines().zip(1_u64..).all(|(line, number)| line.parse() == Ok(number)));
    assert_eq!(record.log.dropped_records + kept as u64, 300_001);
}

/// The kernel's number for a device without room.
const ENOSPC: i32 = rustix::io::Errno::NOSPC.raw_os_error();

#[test]
fn a_disk_without_room_for_the_guard_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = TinyDisk::mount(dir.path(), "64k") else { return };
    assert!(fs::write(dir.path().join("ballast"), vec![0; 100_000]).is_err());
    let mut attempt = Attempt::sh("echo started > witness");
    attempt.order.run_dir = dir.path().to_owned();
    let (mut child, reply) = attempt.start();
    assert!(matches!(reply, Some(Reply::BadOrder { errno: Some(ENOSPC), .. })), "{reply:?}");
    assert_eq!(wait(&mut child), 64);
    assert!(!attempt.order.working_dir.join("witness").exists());
    assert!(fs::read_dir(dir.path()).unwrap().flatten().all(|entry| entry.file_name() == "ballast"));
}

#[test]
fn a_disk_without_room_for_the_exit_record_is_named() {
    for (free_pages, has_record) in [(1, false), (2, true)] {
        let dir = tempfile::tempdir().unwrap();
        let Some(_disk) = TinyDisk::mount(dir.path(), "64k") else { return };
        let pages = 16 - free_pages;
        fs::write(dir.path().join("ballast"), vec![0; pages * 4096]).unwrap();
        let mut attempt = Attempt::sh("echo started > witness");
        attempt.order.run_dir = dir.path().to_owned();
        let (mut child, reply) = attempt.start();
        assert!(matches!(reply, Some(Reply::ExecFailed { errno: Some(ENOSPC), .. })), "{reply:?}");
        assert_eq!(wait(&mut child), if has_record { 0 } else { 74 });
        assert!(!attempt.order.working_dir.join("witness").exists());
        assert_eq!(attempt.has_exit(), has_record);
        if has_record {
            let outcome = attempt.exit().outcome;
            assert!(matches!(outcome, Outcome::ExecFailed { errno: Some(ENOSPC), .. }), "{outcome:?}");
        }
    }
}

#[test]
fn a_disk_that_has_room_again_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = TinyDisk::mount(dir.path(), "32m") else { return };
    fs::write(dir.path().join("ballast"), vec![0; 33_000_000]).unwrap();
    let mut attempt = Attempt::sh(
        "seq 1 2000000; echo $$ > full; while ! test -e go; do sleep 0.02; done; sleep 0.3; echo after; sleep 0.3",
    );
    attempt.order.run_dir = dir.path().to_owned();
    let (mut child, _) = attempt.start();
    // The program has written far more than the pipe and the memory that waits can hold.
    let full = attempt.order.working_dir.join("full");
    eventually("all is written", || full.exists().then_some(()));
    fs::remove_file(dir.path().join("ballast")).unwrap();
    fs::write(attempt.order.working_dir.join("go"), "").unwrap();
    assert_eq!(wait(&mut child), 0);
    let record = attempt.exit();
    assert!(!record.log.complete);
    assert!(record.log.dropped_records > 0);
    let records = attempt.records();
    let marks = records.iter().filter(|record| record.stream == Stream::Truncated).count();
    assert!(marks >= 1);
    assert_eq!(records.last().unwrap().text.as_deref(), Some("after"));
    let kept = records.iter().filter(|record| record.stream == Stream::Out).count() as u64;
    assert_eq!(kept + record.log.dropped_records, 2_000_001);
}

/// A memory cgroup of version 1 for one attempt.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn create(name: &str, limit_bytes: u64) -> Option<Self> {
        let path = Path::new("/sys/fs/cgroup/memory").join(format!("{name}-{}", std::process::id()));
        if !is_root() || fs::create_dir(&path).is_err() {
            require("cgroups-v1", "there is no memory cgroup of version 1 to use");
            return None;
        }
        fs::write(path.join("memory.limit_in_bytes"), limit_bytes.to_string()).unwrap();
        Some(Self(path))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that has just ended may still be counted for a moment.
        eventually("the cgroup can be removed", || fs::remove_dir(&self.0).ok());
    }
}

#[test]
fn memory_that_runs_out_is_seen() {
    let Some(group) = MemoryGroup::create("fastflow-oom", 40 * 1024 * 1024) else { return };
    let mut attempt = Attempt::python("keep = []\nwhile True: keep.append(bytearray(1_000_000))");
    attempt.order.cgroups = vec![group.0.clone()];
    let record = attempt.run();
    assert_eq!((record.outcome, record.stopped_by), (Outcome::Signaled { signal: 9 }, None));
    assert!(record.oom_kills > 0);
    let peak = record.peak_memory_bytes.unwrap();
    assert!((20_000_000..=41 * 1024 * 1024).contains(&peak), "{peak}");
    let killed_by_itself = Attempt::sh("kill -KILL $$").run();
    assert_eq!(killed_by_itself.oom_kills, 0);
}

#[test]
fn what_is_in_the_cgroup_dies_with_the_program() {
    let Some(group) = MemoryGroup::create("fastflow-members", 400 * 1024 * 1024) else { return };
    // Not a descendant of the shim: somebody moved it there.
    let mut stranger = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    fs::write(group.0.join("cgroup.procs"), stranger.id().to_string()).unwrap();
    let mut attempt = Attempt::sh("sleep 600 & sleep 0.15");
    attempt.order.cgroups = vec![group.0.clone()];
    let (mut child, _) = attempt.start();
    // Waited for at once, as its parent would.
    let status = eventually("the stranger ended", || stranger.try_wait().unwrap());
    assert!(!status.success());
    assert_eq!(wait(&mut child), 0);
    assert!(attempt.usage().iter().all(|sample| sample.memory_bytes > 0));
}
