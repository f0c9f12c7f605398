//! Content that is read nowhere: whoever wants it to be run gives all of it.

mod tree;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use bytes::Bytes;

pub(crate) use self::tree::GivenTree;
use super::{
    Collected, RevisedPipeline, Revision,
    content::{self, Contents, Pour},
    load,
    shelf::Shelf,
    tree::{Entry, Refusal},
};
use crate::{Clock, Error, ErrorKind, PipelineName, Result, pipeline::Diagnostic};

/// How often something is written that is taken away at once.
const MAX_TRIES: u32 = 5;

/// What can be run, or what is wrong with it.
type Given = Result<RevisedPipeline, Vec<Diagnostic>>;

/// Snapshots of what was given.
#[derive(Debug)]
pub(crate) struct GivenShelf {
    shelf: Shelf,
}

impl GivenShelf {
    /// Snapshots in a folder that nothing else is in. Nothing is touched.
    pub(crate) fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { shelf: Shelf::new(folder, clock) }
    }

    /// Writes what was given down, and reads it as the pipeline `name`. It is durable then, whoever has written it, and
    /// kept for a while. Blocks.
    pub(crate) fn put(&self, given: &GivenTree, name: &PipelineName) -> Result<Given> {
        let mut tries = 1;
        let (revision, folder) = loop {
            let revision = match self.take(given) {
                Ok(revision) => revision,
                Err(Refusal::Content(findings)) => return Ok(Err(findings)),
                Err(Refusal::Failed(error)) => return Err(error),
            };
            match self.shelf.checkout(&revision) {
                Ok(folder) => break (revision, folder),
                // It had been there for long, and was collected just when it was found.
                Err(error) if error.kind() == ErrorKind::NotFound && tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        };
        let read = load::load(&folder, name, None)?;
        Ok(read.map(|read| RevisedPipeline { revision, pipeline: Arc::new(read), provenance: None }))
    }

    fn take(&self, given: &GivenTree) -> Result<Revision, Refusal> {
        let _held = self.shelf.hold();
        let revision = self.shelf.snapshots.take(given, &given.tree)?;
        // Another process may have given it its name, and be about to make that durable.
        self.shelf.snapshots.flush_names()?;
        Ok(revision)
    }

    /// The folder of a revision, kept for a while. Blocks.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there.
    pub(crate) fn checkout(&self, revision: &Revision) -> Result<PathBuf> {
        self.shelf.checkout(revision)
    }

    /// Removes what is not in `keep` and was not handed out a short while ago. Blocks.
    pub(crate) fn collect(&self, keep: &BTreeSet<Revision>) -> Result<Collected> {
        self.shelf.collect(keep, BTreeSet::new)
    }
}

impl GivenTree {
    /// What this content is called. Blocks for as long as hashing it takes.
    pub(crate) fn revision(&self) -> Result<Revision> {
        content::hash(self, &self.tree).map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            Refusal::Content(_) => Error::new(ErrorKind::Internal, "content in memory was refused"),
        })
    }
}

impl Contents for GivenTree {
    fn pour(&self, index: usize, _: &Entry, into: &mut Pour) -> Result<(), Refusal> {
        let bytes: Option<&Bytes> = self.bytes.get(index).and_then(Option::as_ref);
        Ok(bytes.map_or(Ok(()), |bytes| into.put(bytes))?)
    }

    fn unstable(&self) -> Error {
        Error::new(ErrorKind::Internal, "content in memory was not the same when it was read again")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Barrier, thread};

    use super::*;
    use crate::{
        SystemClock,
        source::{TreeLimits, snapshot},
    };

    fn shelf(folder: &Path) -> GivenShelf {
        GivenShelf::new(folder.to_owned(), Arc::new(SystemClock::new()))
    }

    fn hello() -> GivenTree {
        let files = [("main.py", "print('hello')"), ("data/table.csv", "1,2")];
        let files = files.map(|(path, text)| (path.to_owned(), Bytes::from_static(text.as_bytes())));
        GivenTree::new(files, TreeLimits::default()).unwrap()
    }

    fn put(shelf: &GivenShelf) -> Revision {
        shelf.put(&hello(), &"code.hello".parse().unwrap()).unwrap().unwrap().revision
    }

    /// Each has its own shelf, as processes have.
    #[test]
    fn many_may_put_the_same_at_once_and_all_find_one() {
        const WRITERS: usize = 8;
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let begin = Barrier::new(WRITERS);
            let revisions: BTreeSet<Revision> = thread::scope(|scope| {
                let writer = || {
                    let shelf = shelf(folder.path());
                    begin.wait();
                    put(&shelf)
                };
                let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(writer)).collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            let names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            let revision = hello().revision().unwrap();
            assert_eq!(
                (revisions, names),
                (BTreeSet::from([revision.clone()]), vec![revision.as_str().into()])
            );
            let snapshot = shelf(folder.path()).checkout(&revision).unwrap();
            assert_eq!(fs::read_to_string(snapshot.join("data/table.csv")).unwrap(), "1,2");
        }
    }

    #[test]
    fn what_was_put_is_kept_for_a_while_and_can_be_put_again_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = shelf(folder.path());
        let revision = put(&first);
        assert_eq!(first.collect(&BTreeSet::new()).unwrap().removed, 0);
        // Of a later host, nobody has it.
        let later = shelf(folder.path());
        assert_eq!(later.collect(&BTreeSet::from([revision.clone()])).unwrap().removed, 0, "but a run");
        snapshot::remove(&later.shelf.snapshots.path(&revision)).unwrap();
        assert_eq!(later.checkout(&revision).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(put(&later), revision);
        assert!(later.checkout(&revision).unwrap().join("main.py").is_file());
    }
}
