//! Reads objects out of a repository, none of them larger than is allowed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gix::{
    ObjectId,
    objs::{CommitRefIter, Find, Kind, TreeRefIter},
};

use super::mode::Mode;
use crate::{
    Error, ErrorKind, Result,
    source::{CommitId, GitLimits, git::claim::broken_off},
};

/// The largest list of names that is decoded: 8 MiB. 20,000 names of the longest kind are less.
const MAX_TREE_BYTES: u64 = 8 << 20;
const MAX_COMMIT_BYTES: u64 = 1 << 20;
/// Two threads do not hold blobs of more than 4 MiB at the same time: gix has each of them in memory as a whole.
pub(super) const LARGE_BLOB_BYTES: u64 = 4 << 20;

/// What all pipelines of one commit may hold together, and whether anybody still wants them.
#[derive(Debug)]
pub(super) struct Budget<'a> {
    entries_left: AtomicU64,
    bytes_left: AtomicU64,
    limits: GitLimits,
    /// Of the caller, who wants all of this to end.
    interrupt: &'a AtomicBool,
    /// Whether the repository turned out not to have all that it names.
    is_lacking: AtomicBool,
}

impl<'a> Budget<'a> {
    pub(super) fn new(limits: GitLimits, interrupt: &'a AtomicBool) -> Self {
        Self {
            interrupt,
            is_lacking: AtomicBool::new(false),
            // One more, so that nothing is left only when the limit was passed.
            entries_left: AtomicU64::new(limits.max_total_files.saturating_add(1)),
            bytes_left: AtomicU64::new(limits.max_total_bytes.saturating_add(1)),
            limits,
        }
    }

    /// Whether anybody still waits for this.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.interrupt.load(Ordering::Acquire) { Err(broken_off()) } else { Ok(()) }
    }

    /// Whether the repository turned out not to have all that it names.
    pub(super) fn is_lacking(&self) -> bool {
        self.is_lacking.load(Ordering::Relaxed)
    }

    /// Takes one file, folder or link.
    pub(super) fn take_entry(&self) -> Result<()> {
        take(&self.entries_left, 1)
    }

    /// Takes bytes that are decoded.
    pub(super) fn take_bytes(&self, bytes: u64) -> Result<()> {
        take(&self.bytes_left, bytes)
    }

    /// Why nothing more can be taken, if that is so.
    pub(super) fn spent(&self) -> Option<String> {
        let limit = if self.entries_left.load(Ordering::Relaxed) == 0 {
            format!("{} files and folders", self.limits.max_total_files)
        } else if self.bytes_left.load(Ordering::Relaxed) == 0 {
            format!("{} bytes", self.limits.max_total_bytes)
        } else {
            return None;
        };
        Some(format!(
            "the commit's new pipelines hold more than {limit} together, which is the most that is taken"
        ))
    }
}

fn take(left: &AtomicU64, count: u64) -> Result<()> {
    let take = |left: u64| Some(left.saturating_sub(count));
    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
    if before > count {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "the commit's pipelines are larger than the limits"))
}

/// What a tree's entry turned out to be, where it is not what was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Misfit {
    Kind(Kind),
    TooLarge,
}

impl Misfit {
    /// What a finding says of it. `expected` is what the entry's mode promises.
    pub(super) fn message(self, expected: Kind) -> String {
        match self {
            Self::Kind(found) => {
                format!("the repository holds a {found} here, expected a {expected}; commit this anew")
            }
            Self::TooLarge => {
                format!(
                    "this list of names is longer than {MAX_TREE_BYTES} bytes; keep fewer files in one folder"
                )
            }
        }
    }
}

/// The objects of a repository, for one thread.
#[derive(Clone, Copy)]
pub(super) struct Objects<'a> {
    pub(super) repo: &'a gix::Repository,
    pub(super) budget: &'a Budget<'a>,
}

impl Objects<'_> {
    /// The bytes of a tree.
    pub(super) fn tree(&self, id: ObjectId) -> Result<Result<Vec<u8>, Misfit>> {
        let (kind, bytes) = self.header(id)?;
        if kind != Kind::Tree {
            return Ok(Err(Misfit::Kind(kind)));
        }
        if bytes > MAX_TREE_BYTES {
            return Ok(Err(Misfit::TooLarge));
        }
        self.budget.take_bytes(bytes)?;
        let mut buffer = Vec::new();
        self.read(id, &mut buffer)?;
        Ok(Ok(buffer))
    }

    /// The entries of a tree's bytes.
    pub(super) fn entries<'b>(&self, bytes: &'b [u8]) -> TreeRefIter<'b> {
        TreeRefIter::from_bytes(bytes, self.repo.object_hash())
    }

    /// How many bytes a blob has.
    pub(super) fn blob_bytes(&self, id: ObjectId) -> Result<Result<u64, Misfit>> {
        let (kind, bytes) = self.header(id)?;
        Ok(if kind == Kind::Blob { Ok(bytes) } else { Err(Misfit::Kind(kind)) })
    }

    /// Reads an object whose kind and size were looked at before.
    pub(super) fn read(&self, id: ObjectId, buffer: &mut Vec<u8>) -> Result<()> {
        self.budget.go_on()?;
        // gix knows the empty tree without having it.
        if id.is_empty_tree() {
            buffer.clear();
            return Ok(());
        }
        let found = self.repo.objects.try_find(&id, buffer).map_err(|error| unreadable(id, error))?;
        found.map(|_| ()).ok_or_else(|| self.missing(id))
    }

    /// The tree of a commit; none when the commit is not there.
    pub(super) fn commit_tree(&self, id: &CommitId) -> Result<Option<ObjectId>> {
        let invalid =
            || Error::new(ErrorKind::Invalid, "this is not a commit of this repository").with("commit", id);
        let id = ObjectId::from_hex(id.as_str().as_bytes()).map_err(|error| invalid().because(error))?;
        if !self.repo.has_object(id) {
            return Ok(None);
        }
        match self.header(id)? {
            (Kind::Commit, bytes) if bytes <= MAX_COMMIT_BYTES => {}
            _ => return Err(invalid()),
        }
        let mut buffer = Vec::new();
        self.read(id, &mut buffer)?;
        let tree = CommitRefIter::from_bytes(&buffer, self.repo.object_hash()).tree_id();
        tree.map(Some).map_err(|error| invalid().because(error))
    }

    /// The entry at a path below `root`, or the first one on the way to it that is no folder. None: there is no such
    /// entry.
    pub(super) fn at(
        &self,
        root: ObjectId,
        path: &[&str],
    ) -> Result<Result<Option<(ObjectId, Mode)>, Misfit>> {
        let mut at = (root, Mode::Folder);
        for name in path {
            if at.1 != Mode::Folder {
                break;
            }
            let bytes = match self.tree(at.0)? {
                Ok(bytes) => bytes,
                Err(misfit) => return Ok(Err(misfit)),
            };
            let mut entries = self.entries(&bytes).filter_map(Result::ok);
            let Some(entry) = entries.find(|entry| entry.filename == name.as_bytes()) else {
                return Ok(Ok(None));
            };
            at = (entry.oid.to_owned(), Mode::of(entry.mode));
        }
        Ok(Ok(Some(at)))
    }

    fn header(&self, id: ObjectId) -> Result<(Kind, u64)> {
        let header = self.repo.try_find_header(id).map_err(|error| unreadable(id, error))?;
        header.map(|header| (header.kind(), header.size())).ok_or_else(|| self.missing(id))
    }

    /// The repository itself is damaged when what it names cannot be found in it.
    fn missing(&self, id: ObjectId) -> Error {
        self.budget.is_lacking.store(true, Ordering::Relaxed);
        Error::new(ErrorKind::Corrupt, "the repository lacks an object that it names").with("object", id)
    }
}

fn unreadable(id: ObjectId, error: gix::Error) -> Error {
    let io = error.iter_errors().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    let kind = io.map(|io| Error::from(std::io::Error::from(io.kind())).kind());
    let kind = kind.filter(|kind| *kind != ErrorKind::Internal).unwrap_or(ErrorKind::Corrupt);
    Error::new(kind, "an object of the repository cannot be read").with("object", id).because(error)
}
