//! Our own bare copy of a repository.

mod failure;
mod fetch;
mod join;
mod line;
mod origin;
mod place;
mod probe;
mod read;
mod renew;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, atomic::AtomicBool},
};

use gix::{ObjectId, Repository};

pub(super) use self::place::make_closed;
use self::{origin::Origin, place::Place};
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

/// Our own bare copy of a repository. It is closed to others, has no files checked out, and nothing in it or in what is
/// fetched is ever executed. Everything here blocks.
///
/// One source uses its folder at a time. No object that was fetched is ever removed from it as long as it can be read, so
/// that a commit that was published stays, whatever becomes of its branch.
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
    /// Held shared by whoever reads, and alone while files go away that are read.
    replacing: RwLock<()>,
}

/// The repository while somebody reads in it: nothing goes away from it.
pub(crate) struct Opened<'a> {
    pub(crate) repository: Repository,
    _held: RwLockReadGuard<'a, ()>,
}

/// What a fetch has brought.
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
        let (fetching, looking, replacing) = (Mutex::default(), Mutex::default(), RwLock::default());
        Ok(Self { place, remote, config, clock, trust, known, fetching, looking, replacing })
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
        self.prepare()?;
        let watch = self.watch(interrupt);
        let repository = self.place.repository();
        // Objects of two repositories are not mixed.
        if Origin::read(&repository).is_some_and(|origin| !origin.is_same_repository(&self.origin())) {
            return self.move_on(reference, &watch);
        }
        self.join_packs(&repository, interrupt);
        match self.fetch_into(&repository, reference, &watch) {
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
        self.prepare()?;
        self.renew(reference, &self.watch(interrupt))
    }

    /// Ends what an earlier process has left half done. Not while anything is fetched.
    fn prepare(&self) -> Result<()> {
        self.place.prepare()?;
        let _alone = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
        self.place.tidy()
    }

    /// Makes sure that what is here is what the configuration says, and whole, for whoever reads before anything was
    /// fetched.
    ///
    /// # Errors
    ///
    /// `NotFound` when nothing was fetched from there yet.
    pub(crate) fn check_origin(&self) -> Result<()> {
        let _turn = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        self.prepare()?;
        let found = Origin::read(&self.place.repository()).ok_or_else(nothing_yet)?;
        if found == self.origin() {
            return Ok(());
        }
        let message =
            "what was published is of another repository or folder than the configuration names now";
        Err(Error::new(ErrorKind::NotFound, message).with("found", format!("{found:?}")))
    }

    fn origin(&self) -> Origin {
        Origin::of(&self.remote, &self.config)
    }

    /// The repository, to read objects from. Another one each time: it may be replaced.
    ///
    /// # Errors
    ///
    /// `NotFound` when nothing was fetched yet, `Corrupt` when it cannot be opened.
    pub(crate) fn opened(&self) -> Result<Opened<'_>> {
        let held = self.replacing.read().unwrap_or_else(PoisonError::into_inner);
        let folder = self.place.repository();
        if !folder.is_dir() {
            return Err(nothing_yet());
        }
        let repository = read::open(&folder).map_err(|error| unreadable(&error))?;
        Ok(Opened { repository, _held: held })
    }

    /// What a commit says of itself, when it is here.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not here, `Corrupt` when it cannot be read.
    pub fn commit(&self, id: &CommitId, reference: &str) -> Result<Commit> {
        let (opened, id) = (self.opened()?, object(id)?);
        if !read::is_whole(&opened.repository, id).map_err(|error| unreadable(&error))? {
            return Err(Error::new(ErrorKind::NotFound, "this commit is not here").with("commit", id));
        }
        read::commit(&opened.repository, id, reference).map_err(|error| unreadable(&error))
    }

    /// How what was published lies to what is there now. None where their common history is not here.
    ///
    /// # Errors
    ///
    /// `Corrupt` when it cannot be read.
    pub fn distance(&self, from: &CommitId, to: &CommitId) -> Result<Option<Distance>> {
        let opened = self.opened()?;
        read::distance(&opened.repository, object(from)?, object(to)?).map_err(|error| unreadable(&error))
    }

    /// The fingerprint of the key that is pinned for the server, such as `SHA256:…`.
    ///
    /// # Errors
    ///
    /// By the file system's word.
    #[cfg(feature = "testing")]
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

    /// What is published of which repository, whoever asks for it.
    pub fn shown_origin(&self) -> String {
        let remote = Remote { user: None, ..self.remote.clone() };
        let names = self.config.subdirectory.iter().flat_map(|path| path.split('/'));
        let folder = names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        match folder.as_str() {
            "" => format!("{remote}, {}", self.config.reference),
            folder => format!("{remote}, {}, folder {folder}", self.config.reference),
        }
    }

    fn watch(&self, interrupt: &Arc<AtomicBool>) -> Arc<Watch> {
        Watch::new(Arc::clone(&self.clock), self.config.limits, interrupt)
    }
}

fn nothing_yet() -> Error {
    Error::new(ErrorKind::NotFound, "nothing was fetched from the repository yet")
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

#[cfg(test)]
mod tests;
