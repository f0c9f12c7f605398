//! Our own bare copy of a repository.

mod failure;
mod fetch;
mod line;
mod place;
mod probe;
mod read;
mod renew;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use gix::{ObjectId, Repository, refs::transaction::PreviousValue};

use self::place::Place;
use super::{
    GitAccess, GitConfig, GitReference,
    http::Trust,
    remote::{Remote, Scheme},
    ssh::KnownHosts,
    watch::Watch,
};
use crate::{
    Clock, Error, ErrorKind, Result,
    source::{Commit, CommitId, Distance, SyncFailure, SyncFailureKind},
};

/// Where the references of commits lie that are to stay.
const KEPT: &str = "refs/fastflow/kept";

/// Our own bare copy of a repository. It is closed to others, has no files checked out, and nothing in it or in what is
/// fetched is ever executed. Everything here blocks.
///
/// One process uses its folder at a time.
///
/// ```no_run
/// use std::sync::Arc;
/// use fastflow_core::{SystemClock, source::{GitConfig, GitMirror, GitReference}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = GitConfig::new("https://git.example.org/team/pipelines.git");
/// let mirror = GitMirror::new("/var/lib/fast-flow/mirror", config, Arc::new(SystemClock::new()))?;
/// let arrived = mirror.fetch(&GitReference::Head, &Arc::default())?;
/// println!("{} by {}", arrived.commit.subject, arrived.commit.author);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mirror {
    place: Place,
    remote: Remote,
    config: GitConfig,
    clock: Arc<dyn Clock>,
    trust: Trust,
    known: KnownHosts,
    /// Taken by whoever changes what is in the repository.
    fetching: Mutex<()>,
    /// Taken by whoever looks which key a server has.
    looking: Mutex<()>,
}

/// What a fetch has brought.
///
/// ```
/// # fn of(arrived: &fastflow_core::source::GitArrived) {
/// println!("{} bytes for {}", arrived.bytes, arrived.commit.id);
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Arrived {
    /// The commit that was asked for, which is here now with its files.
    pub commit: Commit,
    /// Bytes that came over the network.
    pub bytes: u64,
}

impl Mirror {
    /// A mirror in this folder, which is made when something is fetched.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address is not taken, or the access does not go with it.
    pub fn new(folder: impl Into<PathBuf>, config: GitConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let remote = Remote::parse(&config.remote, &config.insecure_schemes)?;
        let is_right = match &config.access {
            GitAccess::Anonymous => remote.scheme != Scheme::Ssh,
            GitAccess::Token(_) => remote.is_private(),
            GitAccess::DeployKey(_) => remote.scheme == Scheme::Ssh,
        };
        if !is_right {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the access does not go with the address: a token goes with https, a deploy key with ssh, and ssh \
                 with a deploy key",
            )
            .with("remote", remote));
        }
        let place = Place::new(folder.into());
        let known = KnownHosts::new(place.ssh());
        let trust = Trust::new(config.ca_certificates.clone());
        let (fetching, looking) = (Mutex::new(()), Mutex::new(()));
        Ok(Self { place, remote, config, clock, trust, known, fetching, looking })
    }

    /// Fetches what the server has under a name, if it is not here. A repository that is damaged is made anew once.
    ///
    /// # Errors
    ///
    /// A [`SyncFailure`]; what was here can be read as before then.
    pub fn fetch(
        &self,
        reference: &GitReference,
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Arrived, SyncFailure> {
        let _turn = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        self.place.prepare()?;
        self.place.tidy()?;
        let watch = self.watch(interrupt);
        match self.fetch_into(&self.place.repository(), reference, &watch) {
            Err(failure) if failure.kind == SyncFailureKind::Corrupt => {
                tracing::warn!(remote = %self.remote, %failure, "fetching all anew");
                self.renew(reference, &watch)
            }
            fetched => fetched,
        }
    }

    /// Fetches all anew, for whoever finds that something that was fetched cannot be read.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub fn fetch_anew(
        &self,
        reference: &GitReference,
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Arrived, SyncFailure> {
        let _turn = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        self.place.prepare()?;
        self.place.tidy()?;
        self.renew(reference, &self.watch(interrupt))
    }

    /// The repository, to read objects from. Another one each time: it may be replaced.
    ///
    /// # Errors
    ///
    /// `Corrupt` when it cannot be opened.
    pub(crate) fn repository(&self) -> Result<Repository> {
        self.place.prepare()?;
        read::open(&self.place.repository()).map_err(|error| unreadable(&error))
    }

    /// What a commit says of itself, when it is here.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not here, `Corrupt` when it cannot be read.
    pub fn commit(&self, id: &CommitId, reference: &str) -> Result<Commit> {
        let (repository, id) = (self.repository()?, object(id)?);
        if !read::is_whole(&repository, id).map_err(|error| unreadable(&error))? {
            return Err(Error::new(ErrorKind::NotFound, "this commit is not here").with("commit", id));
        }
        read::commit(&repository, id, reference).map_err(|error| unreadable(&error))
    }

    /// How what was published lies to what is there now. None where their common history is not here.
    ///
    /// # Errors
    ///
    /// `Corrupt` when it cannot be read.
    pub fn distance(&self, from: &CommitId, to: &CommitId) -> Result<Option<Distance>> {
        let repository = self.repository()?;
        read::distance(&repository, object(from)?, object(to)?).map_err(|error| unreadable(&error))
    }

    /// Keeps a commit here for good, whatever becomes of the branch it came with.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    pub fn keep(&self, id: &CommitId) -> Result<()> {
        let _turn = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let (repository, id) = (self.repository()?, object(id)?);
        let kept = repository.reference(format!("{KEPT}/{id}"), id, PreviousValue::Any, "");
        kept.map(drop).map_err(|error| unreadable(&error))
    }

    /// The fingerprint of the key that is pinned for the server, such as `SHA256:…`.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    pub fn host_key(&self) -> Result<Option<String>> {
        Ok(self.known.pinned(&self.remote.known_name())?.map(|key| key.fingerprint()))
    }

    /// Forgets the key that is pinned for the server, so that the one that it shows next is pinned. Returns its
    /// fingerprint.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    pub fn forget_host_key(&self) -> Result<Option<String>> {
        self.place.prepare()?;
        let _turn = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.known.forget(&self.remote.known_name())?.map(|key| key.fingerprint()))
    }

    /// The address as it can be shown.
    pub fn remote(&self) -> String {
        self.remote.to_string()
    }

    fn watch(&self, interrupt: &Arc<AtomicBool>) -> Arc<Watch> {
        Watch::new(Arc::clone(&self.clock), self.config.limits, interrupt)
    }
}

fn object(id: &CommitId) -> Result<ObjectId> {
    ObjectId::from_hex(id.as_str().as_bytes()).map_err(|error| {
        Error::new(ErrorKind::Unsupported, "commits of this kind are not supported")
            .because(error.to_string())
    })
}

fn unreadable(error: &gix::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "the copy of the repository cannot be read").because(failure::words(error))
}
