//! What a pipeline's folder holds: names, kinds and stamps, without a look into any file.

use std::{
    ffi::{CStr, OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::TreeLimits;
use crate::{Error, ErrorKind, Result, pipeline::Diagnostic};

/// Names that are no part of a pipeline, at any depth: they hold what tools and interpreters make.
pub(super) const EXCLUDED: &[&str] = &[".git", "__pycache__", ".venv", "venv", "node_modules"];
pub(super) const EXCLUDED_SUFFIX: &[u8] = b".pyc";
/// As many links one after the other as Linux follows.
const MAX_LINKS: usize = 40;
/// Names that are looked up for all links of one folder together. Each link may lead through others.
const MAX_LINK_STEPS: usize = 400_000;

/// A folder's entries in the order of their paths, a folder before what it holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Tree {
    pub(super) entries: Vec<Entry>,
    /// The latest change of any of them, in nanoseconds since 1970.
    pub(super) changed_ns: i128,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Relative to the folder.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Folder,
    File { executable: bool, bytes: u64 },
    Link { target: PathBuf },
}

/// What changes when a file's content does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    #[expect(clippy::useless_conversion, reason = "the widths of these fields differ between machines")]
    pub(super) fn of(stat: &Stat) -> Self {
        const NS: i128 = 1_000_000_000;
        Self {
            device: stat.st_dev.into(),
            inode: stat.st_ino.into(),
            modified_ns: i128::from(stat.st_mtime) * NS + i128::from(stat.st_mtime_nsec),
            changed_ns: i128::from(stat.st_ctime) * NS + i128::from(stat.st_ctime_nsec),
        }
    }

    /// The later one of both times, in nanoseconds since 1970.
    pub(super) fn latest_ns(self) -> i128 {
        self.modified_ns.max(self.changed_ns)
    }
}

/// Why a folder cannot be taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is in it breaks a rule.
    Content(Vec<Diagnostic>),
    /// It cannot be read.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Opens a folder that is not a link.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Lists everything below `root`.
pub(super) fn scan(root: &OwnedFd, limits: TreeLimits) -> Result<Tree, Refusal> {
    let mut scan = Scan { limits, tree: Tree::default(), bytes: 0, findings: Vec::new() };
    let stat = fs::fstat(root).map_err(|error| unreadable(error, Path::new("")))?;
    scan.tree.changed_ns = Stamp::of(&stat).latest_ns();
    scan.folder(root, Path::new(""), 0)?;
    scan.tree.entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    scan.findings.extend(scan.tree.check_links());
    if scan.findings.is_empty() { Ok(scan.tree) } else { Err(Refusal::Content(scan.findings)) }
}

struct Scan {
    limits: TreeLimits,
    tree: Tree,
    bytes: u64,
    findings: Vec<Diagnostic>,
}

impl Scan {
    fn folder(&mut self, folder: &OwnedFd, path: &Path, depth: usize) -> Result<(), Refusal> {
        if depth > self.limits.max_depth {
            return Err(self.stop(path, &format!("{} folders inside each other", self.limits.max_depth)));
        }
        let read = |error| unreadable(error, path);
        let mut dir = Dir::read_from(folder).map_err(read)?;
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            if is_excluded(name.to_bytes()) {
                continue;
            }
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            let stat = match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // Removed between the two calls: a file that is not there is no part of the folder.
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(|error| unreadable(error, &path))?,
            };
            if self.tree.entries.len() >= self.limits.max_files {
                return Err(self.stop(Path::new(""), &format!("{} files and folders", self.limits.max_files)));
            }
            let Some(kind) = self.kind(folder, name, &path, &stat)? else { continue };
            let is_folder = kind == Kind::Folder;
            let stamp = Stamp::of(&stat);
            self.tree.changed_ns = self.tree.changed_ns.max(stamp.latest_ns());
            self.tree.entries.push(Entry { path: path.clone(), kind, stamp });
            if is_folder {
                match fs::openat(folder, name, FOLDER, Mode::empty()) {
                    Ok(inside) => self.folder(&inside, &path, depth + 1)?,
                    // Removed, or replaced by something else, between the two calls.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(unreadable(error, &path)),
                }
            }
        }
        Ok(())
    }

    /// What an entry is; none when it is gone, or refused by a finding.
    fn kind(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        path: &Path,
        stat: &Stat,
    ) -> Result<Option<Kind>, Refusal> {
        let special = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(Some(Kind::Folder)),
            FileType::RegularFile => {
                let bytes = u64::try_from(stat.st_size).unwrap_or(0);
                self.bytes = self.bytes.saturating_add(bytes);
                if self.bytes > self.limits.max_bytes {
                    return Err(self.stop(Path::new(""), &format!("{} bytes", self.limits.max_bytes)));
                }
                return Ok(Some(Kind::File { executable: stat.st_mode & 0o111 != 0, bytes }));
            }
            FileType::Symlink => {
                return match fs::readlinkat(folder, name, Vec::new()) {
                    Ok(target) => {
                        Ok(Some(Kind::Link { target: PathBuf::from(OsStr::from_bytes(target.to_bytes())) }))
                    }
                    Err(Errno::NOENT | Errno::INVAL) => Ok(None),
                    Err(error) => Err(unreadable(error, path)),
                };
            }
            FileType::Fifo => "a named pipe",
            FileType::Socket => "a socket",
            _ => "a device",
        };
        let message = format!("found {special}, expected only files, folders and links; remove it");
        self.findings.push(Diagnostic::error(show(path), "", message));
        Ok(None)
    }

    /// A finding after which it makes no sense to look further.
    fn stop(&mut self, path: &Path, limit: &str) -> Refusal {
        let mut findings = std::mem::take(&mut self.findings);
        findings.push(too_much(path, limit));
        Refusal::Content(findings)
    }
}

impl Tree {
    pub(super) fn get(&self, path: &Path) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|entry| entry.path.as_path().cmp(path)).ok()?;
        Some(&self.entries[index])
    }

    /// What is wrong with its links: each must stay inside the folder, on the whole way to its target.
    pub(super) fn check_links(&self) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        let mut steps_left = MAX_LINK_STEPS;
        for entry in &self.entries {
            let Kind::Link { target } = &entry.kind else { continue };
            let Err(why) = self.check_link(&entry.path, target, &mut steps_left) else { continue };
            let message = format!(
                "this link to \"{}\" {why}, expected a target inside the pipeline's folder; replace it by what it \
                 points to",
                target.display().to_string().escape_debug(),
            );
            findings.push(Diagnostic::error(show(&entry.path), "", message));
            if steps_left == 0 {
                break;
            }
        }
        findings
    }

    /// Follows a link by its components, through other links, and never leaves the folder on the way.
    fn check_link(&self, link: &Path, target: &Path, steps_left: &mut usize) -> Result<(), &'static str> {
        let mut at: PathBuf = link.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut left: Vec<Step> = Vec::new();
        push_steps(&mut left, target)?;
        let mut followed = 1;
        while let Some(step) = left.pop() {
            *steps_left = steps_left.checked_sub(1).ok_or("is one of too many")?;
            let Step::Into(name) = step else {
                if !at.pop() {
                    return Err("leaves the folder");
                }
                continue;
            };
            at.push(name);
            if let Some(Entry { kind: Kind::Link { target }, .. }) = self.get(&at) {
                followed += 1;
                if followed > MAX_LINKS {
                    return Err("goes in a circle");
                }
                at.pop();
                push_steps(&mut left, target)?;
            }
        }
        Ok(())
    }
}

/// One component of a link's target.
enum Step {
    Up,
    Into(OsString),
}

/// Puts the components of a target on top, the first one uppermost.
fn push_steps(left: &mut Vec<Step>, target: &Path) -> Result<(), &'static str> {
    for component in target.components().rev() {
        match component {
            Component::RootDir | Component::Prefix(_) => return Err("is absolute"),
            Component::ParentDir => left.push(Step::Up),
            Component::CurDir => {}
            Component::Normal(name) => left.push(Step::Into(name.to_owned())),
        }
    }
    Ok(())
}

/// The finding that a folder holds more than `limit`, which is a count with its unit.
pub(super) fn too_much(path: &Path, limit: &str) -> Diagnostic {
    let message = format!(
        "found more than {limit}, expected at most that; keep data and environments outside the folder"
    );
    Diagnostic::error(show(path), "", message)
}

pub(super) fn is_excluded(name: &[u8]) -> bool {
    name == b"."
        || name == b".."
        || name.ends_with(EXCLUDED_SUFFIX)
        || EXCLUDED.iter().any(|excluded| excluded.as_bytes() == name)
}

/// A path as diagnostics write it.
pub(super) fn show(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        return ".".to_owned();
    }
    path.to_string_lossy().escape_debug().to_string()
}

/// What cannot be read is the pipeline's own fault when permissions say so, else the machine's.
pub(super) fn unreadable(error: Errno, path: &Path) -> Refusal {
    if error == Errno::ACCESS || error == Errno::PERM {
        let message = "this cannot be read; allow it to the host's user";
        return Refusal::Content(vec![Diagnostic::error(show(path), "", message)]);
    }
    Refusal::Failed(failed(error, path))
}

/// An error of the file system at `path`.
pub(super) fn failed(error: Errno, path: &Path) -> Error {
    Error::from(std::io::Error::from(error)).with("path", path.display())
}

/// The folder changed while it was read.
pub(super) fn changing(path: &Path) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the folder keeps changing while it is read; try again when it is quiet",
    )
    .with("path", path.display())
}
