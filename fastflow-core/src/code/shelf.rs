//! Where code lies that was submitted: one snapshot a revision.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Code, settings};
use crate::{
    Error, ErrorKind, PipelineName, Result, SystemClock,
    pipeline::{Diagnostic, Pipeline},
    source::{CatalogEntry, Collected, GivenShelf, GivenTree, RevisedPipeline, Revision},
};

/// How many pieces of code are remembered, so that submitting them again reads and writes nothing.
const MAX_REMEMBERED: usize = 4_096;

/// The code that was submitted. Clones share one.
#[derive(Clone, Debug)]
pub(crate) struct CodeShelf {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shelf: GivenShelf,
    /// What was read before, by what it is. Whether it is still there is another question.
    remembered: Mutex<HashMap<(PipelineName, Revision), Arc<Pipeline>>>,
}

impl CodeShelf {
    /// Nothing is touched.
    pub(crate) fn new(folder: PathBuf) -> Self {
        // By the clock of the machine, whatever that of the host is: it is held against the times of files.
        let shelf = GivenShelf::new(folder, Arc::new(SystemClock::new()));
        Self { shared: Arc::new(Shared { shelf, remembered: Mutex::default() }) }
    }

    /// The code as a pipeline, in a snapshot that is durable and kept for a while; or what is wrong with it.
    pub(crate) async fn entry(&self, code: &Code) -> Result<CatalogEntry> {
        let (name, code) = (code.name.clone(), code.clone());
        let pipeline = self.blocking(move |shared| shared.put(code)).await?;
        Ok(CatalogEntry { name, pipeline })
    }

    /// The folder of a revision, kept for a while.
    pub(crate) async fn checkout(&self, revision: &Revision) -> Result<PathBuf> {
        let revision = revision.clone();
        self.blocking(move |shared| shared.shelf.checkout(&revision)).await
    }

    /// Removes what nobody needs.
    pub(crate) async fn collect(&self, keep: BTreeSet<Revision>) -> Result<Collected> {
        self.blocking(move |shared| shared.shelf.collect(&keep)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|panic| Error::new(ErrorKind::Internal, "working with code panicked").because(panic))?
    }
}

impl Shared {
    fn put(&self, code: Code) -> Result<Result<RevisedPipeline, Vec<Diagnostic>>> {
        let given = match GivenTree::new(code.files, Code::LIMITS) {
            Ok(given) => given,
            Err(findings) => return Ok(Err(findings)),
        };
        let known = (code.name, given.revision()?);
        let remembered = self.remembered().get(&known).cloned();
        if let Some(pipeline) = remembered {
            match self.shelf.checkout(&known.1) {
                Ok(_) => {
                    return Ok(Ok(RevisedPipeline { revision: known.1, pipeline, provenance: None }));
                }
                // It was collected meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let put = self.shelf.put(&given, &known.0)?;
        Ok(put.and_then(|put| settings::check(&put.pipeline).map(|()| put)).inspect(|put| {
            let mut remembered = self.remembered();
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(known, Arc::clone(&put.pipeline));
        }))
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<(PipelineName, Revision), Arc<Pipeline>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
