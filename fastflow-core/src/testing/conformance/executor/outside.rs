//! What is seen of attempts from outside, by whoever looks at the files and the processes of this machine.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read as _, Seek as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{executor::AttemptSpec, hex::hex};

/// The variable by which the processes of an attempt are found in `/proc`.
pub(super) const MARK: &str = "FASTFLOW_TEST_ATTEMPT";

/// The variable that names the folder of an attempt's secrets.
const SECRETS_DIR: &[u8] = b"FASTFLOW_SECRETS_DIR=";

/// How often a process that is just becoming another program is looked at again.
const LOOKS: u32 = 100;

/// Every living process of an attempt, wherever it has gone: they all inherit its environment.
pub(super) fn processes(spec: &AttemptSpec) -> Vec<u32> {
    let mark = mark(spec);
    let has_mark = |pid: &u32| environment(*pid).is_ok_and(|environment| is_marked(&environment, &mark));
    pids().filter(has_mark).collect()
}

/// Where the program of an attempt finds those of its secrets that are files, while it runs.
pub(super) fn secrets_dir(spec: &AttemptSpec) -> Option<PathBuf> {
    let named = |entry: &[u8]| Some(PathBuf::from(OsStr::from_bytes(entry.strip_prefix(SECRETS_DIR)?)));
    let in_process = |pid: u32| environment(pid).ok()?.split(|byte| *byte == 0).find_map(named);
    processes(spec).into_iter().find_map(in_process)
}

/// Every living process that is not of the attempt and whose command line or environment has this in it.
pub(super) fn strangers_that_know(spec: &AttemptSpec, secret: &str) -> Vec<u32> {
    let mark = mark(spec);
    let is_stranger = |pid: &u32| {
        for _ in 0..LOOKS {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let environment = environment(*pid);
            let seen = environment.as_deref().unwrap_or_default();
            if is_marked(seen, &mark) || !(has(&words, secret) || has(seen, secret)) {
                return false;
            }
            match environment {
                // It has ended meanwhile.
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return false,
                // Between two programs it has none for a moment.
                Ok(seen) if seen.is_empty() => std::thread::yield_now(),
                _ => return true,
            }
        }
        true
    };
    pids().filter(is_stranger).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn mark(spec: &AttemptSpec) -> String {
    format!("{MARK}={}", spec.id)
}

fn environment(pid: u32) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ"))
}

fn is_marked(environment: &[u8], mark: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

pub(super) fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// The fields of a process' `status`, as the kernel tells them outside of any sandbox.
pub(super) fn status(pid: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The soft and the hard limit of a process of this name, as `/proc/<pid>/limits` has it.
pub(super) fn limit(pid: u32, name: &str) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a limit of the kernel");
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().expect("a soft limit"), words.next().expect("a hard limit"))
}

/// Where a process finds a file system.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) target: String,
    pub(super) kind: String,
    pub(super) is_read_only: bool,
}

/// All that a process has mounted.
pub(super) fn mounts(pid: u32) -> Vec<Mount> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("the process runs");
    let mount = |line: &str| {
        let (mount, source) = line.split_once(" - ").expect("what is mounted, and from where");
        let words: Vec<_> = mount.split(' ').collect();
        let kind = source.split(' ').next().expect("a kind").to_owned();
        // That of the mount itself, or that of all mounts of the file system.
        let options = words[5].split(',').chain(source.rsplit(' ').next().unwrap_or_default().split(','));
        Mount {
            target: words[4].to_owned(),
            kind,
            is_read_only: options.into_iter().any(|option| option == "ro"),
        }
    };
    text.lines().map(mount).collect()
}

/// The files under these folders, but for `except`, that have this in them.
pub(super) fn files_that_know(folders: &[PathBuf], except: &[PathBuf], secret: &str) -> Vec<PathBuf> {
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let files = entries(folders, except).filter(is_file);
    files.filter(|path| fs::read(path).is_ok_and(|bytes| has(&bytes, secret))).collect()
}

/// The files and folders under these folders whose names have this in them.
pub(super) fn named_after(folders: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|found| has(found.as_bytes(), name));
    entries(folders, &[]).filter(is_named).collect()
}

/// The files and folders under these folders, but for `except` and what is under them.
fn entries(folders: &[PathBuf], except: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        // What is gone before it is looked at tells nobody anything.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if except.contains(&entry.path()) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.into_iter()
}

/// All that can be changed of a file.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Seen {
    mode: u32,
    owner: (u32, u32),
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Its digest, so that what differs can be read.
    content: String,
}

impl Seen {
    pub(super) fn at(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path).expect("the file is there");
        let content = if metadata.is_file() {
            fs::read(path).expect("the file can be read")
        } else if metadata.is_symlink() {
            fs::read_link(path).expect("the link can be read").as_os_str().as_bytes().to_vec()
        } else {
            Vec::new()
        };
        Self::new(&metadata, &content)
    }

    /// A file that stays the same whatever becomes of its name.
    pub(super) fn in_file(file: &mut File) -> Self {
        let mut content = Vec::new();
        file.rewind().expect("a file on a disk");
        file.read_to_end(&mut content).expect("the file can be read");
        Self::new(&file.metadata().expect("the file is there"), &content)
    }

    fn new(metadata: &Metadata, content: &[u8]) -> Self {
        Self {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            content: hex(&Sha256::digest(content)),
        }
    }
}

/// A folder with all that is in it.
pub(super) fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut tree = BTreeMap::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_dir {
            let entries = fs::read_dir(&path).expect("the folder can be read");
            paths.extend(entries.map(|entry| entry.expect("the folder can be read").path()));
        }
        let seen = Seen::at(&path);
        tree.insert(path, seen);
    }
    tree
}

/// How much of its time this machine has had nothing to do since it was started, and how long that is for all of its
/// processors together, in ticks.
pub(super) fn idle_and_all_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").expect("the kernel counts");
    let all = text.lines().next().expect("a line for all processors");
    let ticks: Vec<u64> = all.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    // User, nice, system, idle, waiting for disks, interrupts, stolen by other machines: guests are counted twice.
    (ticks[3] + ticks[4], ticks.iter().take(8).sum())
}
