//! From a commit of a bare repository to snapshots and a catalog.
//!
//! Nothing is checked out: trees are walked, names and modes are held to the rules, and files are written by us. So no
//! filter, hook or attribute of the repository has any effect.

mod blobs;
mod known;
mod mode;
mod objects;
mod parallel;
mod top;
mod walk;

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use gix::ObjectId;

pub(super) use self::known::Known;
use self::{
    blobs::Blobs,
    known::Outcome,
    mode::Mode,
    objects::{Budget, Objects},
    top::{Base, Names},
    walk::Walked,
};
use super::GitLimits;
use crate::{
    Error, ErrorKind, PipelineName, Result,
    pipeline::Diagnostic,
    source::{
        Catalog, CatalogEntry, Commit, Provenance, RevisedPipeline, Revision, SyncFailure, SyncFailureKind,
        batch::Batch,
        listing::{Candidate, LINKED, Shape},
        load,
        snapshot::Snapshots,
        tree::Refusal,
    },
};

/// What is taken, and whether anybody still waits for it.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) limits: &'a GitLimits,
    pub(super) interrupt: &'a AtomicBool,
}

/// What a commit holds.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) catalog: Catalog,
    /// For the next commit.
    pub(super) known: Known,
}

/// Reads all pipelines of a commit, and makes the snapshots that are missing. What breaks a rule is a finding of its
/// own pipeline. Blocks.
///
/// # Errors
///
/// `Missing` when there is no such folder, `Refused` when it is not a folder, `TooLarge` when its pipelines are more
/// than the limits allow together, `Corrupt` when the repository lacks what it names, `Unreachable` when nobody waits for
/// it any more, and others by the file system's word. There are no new snapshots then, or some whole ones.
pub(super) fn read(
    repo: &gix::Repository,
    commit: &Commit,
    (subdirectory, terms): (Option<&str>, Terms<'_>),
    snapshots: &Snapshots,
    known: &Known,
) -> Result<Read, SyncFailure> {
    let limits = terms.limits;
    let budget = Budget::new(*limits, terms.interrupt);
    let objects = Objects { repo, budget: &budget };
    let read = Reading { objects, commit, limits, snapshots, known }.read(subdirectory);
    read.map_err(|failure| match budget.spent() {
        Some(message) => SyncFailure::new(SyncFailureKind::TooLarge, message),
        None => failure,
    })
}

/// Makes one snapshot again. Blocks.
///
/// # Errors
///
/// `NotFound` when the commit is not there any more with all its files, `Corrupt` when what it holds is not `revision`,
/// `Invalid` when the rules do not allow it any more, `Unavailable` when nobody waits for it any more, and others by the
/// file system's word.
pub(super) fn restore(
    repo: &gix::Repository,
    provenance: &Provenance,
    revision: &Revision,
    terms: Terms<'_>,
    snapshots: &Snapshots,
) -> Result<()> {
    let limits = terms.limits;
    let context = |error: Error| {
        error.with("commit", &provenance.commit.id).with("path", &provenance.path).with("revision", revision)
    };
    let budget = Budget::new(*limits, terms.interrupt);
    let objects = Objects { repo, budget: &budget };
    let other = || Error::new(ErrorKind::Corrupt, "the commit does not hold this revision");
    let taken = || -> Result<(), Refusal> {
        let root = objects.commit_tree(&provenance.commit.id)?;
        let root = root.ok_or_else(|| Error::new(ErrorKind::NotFound, "the commit is not there any more"))?;
        let path: Vec<&str> = provenance.path.split('/').collect();
        let (id, mode) = objects.at(root, &path)?.ok().flatten().ok_or_else(other)?;
        let name = path.last().copied().unwrap_or_default();
        let walked = list(objects, name, (id, mode), limits)?;
        let large_blob = Mutex::new(());
        let batch = snapshots.batch();
        if batch.add(&Blobs::new(objects, &walked, &large_blob)?, &walked.tree)?.0 != *revision {
            return Err(other().into());
        }
        budget.go_on()?;
        Ok(batch.publish()?)
    };
    taken().map_err(|refusal| match refusal {
        // The copy of the repository was made anew since, and the server has not all of this any more.
        Refusal::Failed(error) if budget.is_lacking() => context(
            Error::new(ErrorKind::NotFound, "not all files of the commit are there any more").because(error),
        ),
        Refusal::Failed(error) => context(error),
        Refusal::Content(findings) => {
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            context(Error::new(ErrorKind::Invalid, "the content breaks a rule"))
                .with("findings", findings.join("; "))
        }
    })
}

/// What a pipeline consists of.
fn list(
    objects: Objects<'_>,
    name: &str,
    (id, mode): (ObjectId, Mode),
    limits: &GitLimits,
) -> Result<Walked, Refusal> {
    let refused = |message: String| Err(Refusal::Content(vec![Diagnostic::error(name, "", message)]));
    match mode {
        Mode::Folder => walk::folder(objects, id, limits.tree),
        Mode::File | Mode::Program => walk::file(objects, name, (id, mode), limits.tree),
        Mode::Link => refused(LINKED.to_owned()),
        Mode::Submodule | Mode::Other(_) => refused(mode.refusal()),
    }
}

/// One commit while it is read.
struct Reading<'a> {
    objects: Objects<'a>,
    commit: &'a Commit,
    limits: &'a GitLimits,
    snapshots: &'a Snapshots,
    known: &'a Known,
}

/// A pipeline of the commit, and what it is read from.
struct Source<'a> {
    name: &'a PipelineName,
    candidate: &'a Candidate,
    object: (ObjectId, Mode),
}

impl Reading<'_> {
    fn read(&self, subdirectory: Option<&str>) -> Result<Read, SyncFailure> {
        let root = self.objects.commit_tree(&self.commit.id)?.ok_or_else(|| {
            let message = format!("the repository lacks its commit {}", self.commit.id);
            SyncFailure::new(SyncFailureKind::Corrupt, message)
        })?;
        let base = Base::find(self.objects, root, subdirectory)?;
        let names = Names::read(self.objects, &base, self.limits, self.known)?;
        let mut entries = Vec::new();
        let mut known = Known::default();
        let mut sources = Vec::new();
        for name in names.listing.candidates.keys() {
            match names.listing.pick(&names.marked, name) {
                None => {}
                Some(Err(same)) => {
                    entries.push(CatalogEntry { name: name.clone(), pipeline: Err(vec![same]) });
                }
                Some(Ok(candidate)) => {
                    let object = names.entries.get(&candidate.name).copied();
                    sources.extend(object.map(|object| Source { name, candidate, object }));
                }
            }
        }
        for (source, outcome) in sources.iter().zip(self.outcomes(&sources)?) {
            entries.push(self.entry(&base, source, &outcome));
            known.insert(source.candidate.name.clone(), source.object, outcome);
        }
        for (name, id) in names.plain {
            known.insert_plain(name, id);
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let mut catalog = Catalog::of(entries, names.listing.warnings);
        catalog.commit = Some(self.commit.clone());
        Ok(Read { catalog, known })
    }

    /// What came of each pipeline: what is known of it, or what is found now.
    fn outcomes(&self, sources: &[Source<'_>]) -> Result<Vec<Outcome>> {
        let mut known: Vec<Option<Outcome>> = sources.iter().map(|source| self.known(source)).collect();
        let new: Vec<&Source<'_>> = sources
            .iter()
            .zip(&known)
            .filter_map(|(source, known)| known.is_none().then_some(source))
            .collect();
        let mut taken = self.take(&new)?.into_iter();
        Ok(known.iter_mut().filter_map(|known| known.take().or_else(|| taken.next())).collect())
    }

    /// What is known of a pipeline, if its snapshot is still there.
    fn known(&self, source: &Source<'_>) -> Option<Outcome> {
        let outcome = self.known.get(&source.candidate.name, source.object)?;
        match outcome {
            Outcome::Taken { revision, .. } if !self.snapshots.has(revision) => None,
            outcome => Some(outcome.clone()),
        }
    }

    /// Makes the snapshots of these pipelines, and reads what they say.
    fn take(&self, sources: &[&Source<'_>]) -> Result<Vec<Outcome>> {
        let taking =
            Taking { limits: self.limits, batch: self.snapshots.batch(), large_blob: Mutex::new(()) };
        let outcomes = parallel::for_each(self.objects, sources, |objects, source| {
            objects.budget.go_on()?;
            match taking.take(objects, source) {
                Ok(outcome) => Ok(outcome),
                Err(Refusal::Content(findings)) => Ok(Outcome::Refused(findings)),
                Err(Refusal::Failed(error)) => Err(error),
            }
        })?;
        self.objects.budget.go_on()?;
        taking.batch.publish()?;
        Ok(outcomes)
    }

    fn entry(&self, base: &Base<'_>, source: &Source<'_>, outcome: &Outcome) -> CatalogEntry {
        let pipeline = match outcome {
            Outcome::Refused(findings) | Outcome::Taken { pipeline: Err(findings), .. } => {
                Err(findings.clone())
            }
            Outcome::Taken { revision, pipeline: Ok(pipeline) } => Ok(RevisedPipeline {
                revision: revision.clone(),
                pipeline: Arc::clone(pipeline),
                provenance: Some(Arc::new(Provenance {
                    commit: self.commit.clone(),
                    path: base.path_of(&source.candidate.name.to_string_lossy()),
                })),
            }),
        };
        CatalogEntry { name: source.name.clone(), pipeline }
    }
}

/// What the threads that make snapshots share.
struct Taking<'a> {
    limits: &'a GitLimits,
    batch: Batch<'a>,
    /// Held by the thread that has a large blob in memory.
    large_blob: Mutex<()>,
}

impl Taking<'_> {
    fn take(&self, objects: Objects<'_>, source: &Source<'_>) -> Result<Outcome, Refusal> {
        let file = source.candidate.name.to_string_lossy();
        let walked = list(objects, &file, source.object, self.limits)?;
        let blobs = Blobs::new(objects, &walked, &self.large_blob)?;
        let (revision, folder) = self.batch.add(&blobs, &walked.tree)?;
        let script = (source.candidate.shape == Shape::File).then_some(&*file);
        let pipeline = load::load(&folder, source.name, script)?.map(Arc::new);
        Ok(Outcome::Taken { revision, pipeline })
    }
}

#[cfg(test)]
mod tests;
