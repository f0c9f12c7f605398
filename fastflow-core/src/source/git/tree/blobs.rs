//! The files of a pipeline, out of the repository.

use std::sync::{Mutex, PoisonError};

use gix::ObjectId;

use super::{
    objects::{LARGE_BLOB_BYTES, Objects},
    walk::Walked,
};
use crate::{
    Error, ErrorKind, Result,
    pipeline::Diagnostic,
    source::{
        content::{Contents, Pour},
        tree::{Entry, Kind, Refusal, show},
    },
};

/// Files of a pipeline that are kept in memory between its hash and its copy, if all of them are no more: 4 MiB.
const MAX_KEPT_BYTES: u64 = 4 << 20;
/// Nobody waits longer for this to end than this many bytes take: 1 MiB.
const PIECE_BYTES: usize = 1 << 20;
/// A pointer of LFS is shorter.
const MAX_POINTER_BYTES: u64 = 1024;
const POINTERS: &[&[u8]] =
    &[b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"];

/// The bytes of a pipeline's files.
pub(super) struct Blobs<'a> {
    objects: Objects<'a>,
    ids: &'a [ObjectId],
    /// What was read already.
    kept: Vec<Option<Vec<u8>>>,
    /// Held by the thread that has a large blob in memory.
    large: &'a Mutex<()>,
}

impl<'a> Blobs<'a> {
    /// The files of a tree, looked through for pointers to data that is not in the repository.
    pub(super) fn new(
        objects: Objects<'a>,
        walked: &'a Walked,
        large: &'a Mutex<()>,
    ) -> Result<Self, Refusal> {
        let sizes = || walked.tree.entries.iter().map(bytes);
        let keeps_all = sizes().flatten().fold(0_u64, u64::saturating_add) <= MAX_KEPT_BYTES;
        let mut findings = Vec::new();
        let mut kept = Vec::with_capacity(walked.ids.len());
        for ((entry, id), bytes) in walked.tree.entries.iter().zip(&walked.ids).zip(sizes()) {
            let Some(bytes) = bytes.filter(|bytes| keeps_all || *bytes <= MAX_POINTER_BYTES) else {
                kept.push(None);
                continue;
            };
            let mut buffer = Vec::new();
            objects.read(*id, &mut buffer)?;
            if bytes <= MAX_POINTER_BYTES && POINTERS.iter().any(|pointer| buffer.starts_with(pointer)) {
                let message = "found a pointer of Git LFS, whose data is not in the repository: a run would read \
                               the pointer; commit the file itself, or fetch the data while running";
                findings.push(Diagnostic::error(show(&entry.path), "", message));
            }
            kept.push(Some(buffer));
        }
        if findings.is_empty() {
            Ok(Self { objects, ids: &walked.ids, kept, large })
        } else {
            Err(Refusal::Content(findings))
        }
    }
}

impl Contents for Blobs<'_> {
    fn pour(&self, index: usize, entry: &Entry, into: &mut Pour) -> Result<(), Refusal> {
        if let Some(Some(kept)) = self.kept.get(index) {
            return Ok(into.put(kept)?);
        }
        let is_large = bytes(entry).is_some_and(|bytes| bytes > LARGE_BLOB_BYTES);
        let _alone = is_large.then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        let mut buffer = Vec::new();
        self.objects.read(self.ids[index], &mut buffer)?;
        for piece in buffer.chunks(PIECE_BYTES) {
            self.objects.budget.go_on()?;
            into.put(piece)?;
        }
        Ok(())
    }

    fn unstable(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            "the same object of the repository was not the same when it was read again",
        )
    }
}

fn bytes(entry: &Entry) -> Option<u64> {
    match entry.kind {
        Kind::File { bytes, .. } => Some(bytes),
        Kind::Folder | Kind::Link { .. } => None,
    }
}
