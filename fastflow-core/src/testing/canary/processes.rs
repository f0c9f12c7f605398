//! What every process of this machine shows to whoever looks.

use std::{fs, path::PathBuf};

use super::{forms::Forms, plan::FOLLOWER};

/// What the kernel says of a process whose memory is in no dump.
const NO_MEMORY: &str = "00000000";

/// A process of a run: its program, or what the program has started.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) pid: u32,
    /// The run, as its environment says.
    pub(super) run: String,
    /// The process above it.
    pub(super) parent: u32,
    /// Whether it has secrets: those that are variables.
    pub(super) is_given: bool,
}

/// What was seen in one look at all processes.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) members: Vec<Member>,
    /// What somebody shows who has no business with secrets.
    pub(super) leaks: Vec<String>,
}

/// Looks at the arguments and variables of every process.
pub(super) fn look(forms: &Forms) -> Look {
    let mut look = Look::default();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let environment = read(pid, "environ");
        let words = read(pid, "cmdline");
        // Whoever becomes a program between two looks is one at the second.
        let later =
            if forms.is_in(&words) || forms.is_in(&environment) { read(pid, "environ") } else { Vec::new() };
        match run_of(&environment).or_else(|| run_of(&later)) {
            Some(run) => {
                let parent = number(pid, "PPid:").unwrap_or_default();
                look.members.push(Member { pid, run, parent, is_given: forms.is_in(&environment) });
                // A program has its own arguments from its pipeline, and the secrets from elsewhere.
                look.leaks.extend(describe(forms, &words, pid, "arguments"));
            }
            None => {
                for (what, bytes) in [("arguments", &words), ("variables", &environment)] {
                    look.leaks.extend(describe(forms, bytes, pid, what));
                }
            }
        }
    }
    look
}

/// What is wrong with the settings by which the kernel would write the memory of this process into a file.
pub(super) fn dump_settings(pid: u32) -> Option<String> {
    let filter = fs::read_to_string(path(pid, "coredump_filter")).ok()?;
    let limits = fs::read_to_string(path(pid, "limits")).ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size"))?;
    let soft = limit.split_whitespace().next()?;
    // One that has ended meanwhile has neither, or empty ones.
    let is_safe = (filter.trim() == NO_MEMORY || filter.is_empty()) && soft == "0";
    (!is_safe)
        .then(|| format!("memory of process {pid} would be dumped: filter {}, limit {soft}", filter.trim()))
}

fn describe(forms: &Forms, bytes: &[u8], pid: u32, what: &str) -> Option<String> {
    let sight = forms.find(bytes).into_iter().next()?;
    let name = fs::read_to_string(path(pid, "comm")).unwrap_or_default();
    Some(format!("the {what} of process {pid} ({}) have {} as {}", name.trim(), sight.value, sight.form))
}

/// The run that a process belongs to and that was given secrets.
fn run_of(environment: &[u8]) -> Option<String> {
    let entry = |name: &str| {
        let entries = environment.split(|byte| *byte == 0);
        let mut values = entries.filter_map(|entry| entry.strip_prefix(name.as_bytes()));
        values.next().map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let is_follower = entry("FASTFLOW_PIPELINE=").is_some_and(|pipeline| pipeline == FOLLOWER);
    entry("FASTFLOW_RUN_ID=").filter(|_| !is_follower)
}

/// A number that a line of a process' status holds.
fn number(pid: u32, name: &str) -> Option<u32> {
    let status = fs::read_to_string(path(pid, "status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

fn read(pid: u32, file: &str) -> Vec<u8> {
    fs::read(path(pid, file)).unwrap_or_default()
}

fn path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}
