//! A repository in place of a damaged one.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::Path,
    sync::{Arc, PoisonError, atomic::AtomicBool},
};

use gix::{ObjectId, hash, odb::pack::Bundle, progress::Discard};

use super::{Arrived, Mirror, place};
use crate::{
    Result,
    source::{GitReference, SyncFailure, git::watch::Watch},
};

impl Mirror {
    /// Fetches all anew beside what is here, takes what is whole of that along, and puts it in its place.
    pub(super) fn renew(&self, reference: &GitReference, watch: &Arc<Watch>) -> Result<Arrived, SyncFailure> {
        let arrived = self.fetch_beside(reference, watch)?;
        carry(&self.place.repository(), &self.place.fresh())?;
        self.swap()?;
        tracing::warn!(remote = %self.remote, "the copy of the repository was damaged, and was fetched anew");
        Ok(arrived)
    }

    /// Fetches all of another repository, and puts that in place of what is here.
    pub(super) fn move_on(
        &self,
        reference: &GitReference,
        watch: &Arc<Watch>,
    ) -> Result<Arrived, SyncFailure> {
        let arrived = self.fetch_beside(reference, watch)?;
        self.swap()?;
        tracing::info!(remote = %self.remote, "the copy of another repository was replaced");
        Ok(arrived)
    }

    fn fetch_beside(&self, reference: &GitReference, watch: &Arc<Watch>) -> Result<Arrived, SyncFailure> {
        let fresh = self.place.fresh();
        place::remove(&fresh)?;
        self.fetch_into(&fresh, reference, watch)
    }

    fn swap(&self) -> Result<()> {
        let _alone = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
        self.place.swap()
    }
}

/// Takes packs that are as they were written along: commits that were published may be in there.
fn carry(old: &Path, fresh: &Path) -> Result<()> {
    let (from, to) = (old.join("objects/pack"), fresh.join("objects/pack"));
    let failed = |error| place::failed(error, &from);
    let Ok(entries) = fs::read_dir(&from) else { return Ok(()) };
    for entry in entries {
        let index = entry.map_err(failed)?.path();
        if index.extension() != Some(OsStr::new("idx")) || !is_sound(&index) {
            continue;
        }
        for file in [index.with_extension("pack"), index] {
            let name = file.file_name().unwrap_or_default();
            match fs::hard_link(&file, to.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
    }
    carry_boundary(old, fresh)
}

/// Whether a pack and its index are as they were written.
fn is_sound(index: &Path) -> bool {
    let never = AtomicBool::new(false);
    Bundle::at(index, hash::Kind::Sha1).is_ok_and(|bundle| {
        bundle.index.verify_checksum(&mut Discard, &never).is_ok()
            && bundle.pack.verify_checksum(&mut Discard, &never).is_ok()
    })
}

/// Where the history ends, in either of them.
fn carry_boundary(old: &Path, fresh: &Path) -> Result<()> {
    let mut ends = BTreeSet::new();
    for repository in [old, fresh] {
        let text = fs::read_to_string(repository.join("shallow")).unwrap_or_default();
        ends.extend(
            text.lines().filter(|line| ObjectId::from_hex(line.as_bytes()).is_ok()).map(str::to_owned),
        );
    }
    if ends.is_empty() {
        return Ok(());
    }
    let path = fresh.join("shallow");
    let text = ends.into_iter().map(|end| end + "\n").collect::<String>();
    fs::write(&path, text).map_err(|error| place::failed(error, &path))
}
