//! Killing what watches over a program, where the program cannot do it itself.

use rustix::process::{Pid, Signal, kill_process};

use crate::RunId;

/// Kills the first process of the sandbox in which a program of `run` is. Whether there was one.
pub(super) fn kill_first_process(run: RunId) -> bool {
    let first = processes_of(run).into_iter().find_map(first_process_above);
    first.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

fn processes_of(run: RunId) -> Vec<i32> {
    let wanted = format!("FASTFLOW_RUN_ID={run}");
    let carries = |pid: &i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(carries).collect()
}

/// Its parent, if that is the first process of a namespace below this process' own.
fn first_process_above(pid: i32) -> Option<Pid> {
    let parent = status(pid, "PPid:")?.pop()?;
    let numbers = status(parent, "NSpid:")?;
    (numbers.len() > 1 && numbers.last() == Some(&1)).then(|| Pid::from_raw(parent)).flatten()
}

/// The numbers that a line of a process' status holds.
fn status(pid: i32, name: &str) -> Option<Vec<i32>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect())
}
