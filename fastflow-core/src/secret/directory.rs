//! Secrets from files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};
use zeroize::Zeroizing;

use super::{
    FoundSecret, MAX_SECRET_BYTES, Secret, SecretName, SecretReader, SecretStore,
    program::{ANSWER_BYTES, plain},
};
use crate::{Error, ErrorKind, Result};

/// A folder with a file for each secret, of its name, as Docker and Kubernetes lay them out: `/run/secrets`.
///
/// A file is UTF-8 without NUL, of at most 64 KiB. A line end is removed where it is the only one, and at the end.
/// Links are followed, since Kubernetes switches all files at once by one, and have to lead to a plain file. Files are
/// read anew each time. What other users may read is up to whoever makes the folder: Docker and Kubernetes let all of
/// the container do so.
///
/// A name without a file is one that it does not have. A file that cannot be read is an error, and so is a link that
/// leads nowhere and a folder that is not there: the value of a store that is asked later must not take its place.
///
/// ```
/// use std::collections::BTreeSet;
/// use fastflow_core::secret::{DirectorySecrets, SecretReader, SecretStore, SecretValue};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let folder = tempfile::tempdir().unwrap();
/// std::fs::write(folder.path().join("TOKEN"), "s3cret-s3cret\n").unwrap();
///
/// let store = DirectorySecrets::new(folder.path());
/// let names = BTreeSet::from(["TOKEN".parse().unwrap(), "OTHER".parse().unwrap()]);
/// let reader = SecretReader { pipeline: "etl".parse().unwrap(), schedules: Vec::new() };
/// let found = store.find(&names, &reader).await.unwrap();
/// assert_eq!(found.len(), 1);
/// # });
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectorySecrets {
    folder: PathBuf,
}

impl DirectorySecrets {
    /// The files of `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

#[async_trait]
impl SecretStore for DirectorySecrets {
    fn kind(&self) -> &'static str {
        "directory"
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        let (folder, names) = (self.folder.clone(), names.clone());
        let found = tokio::task::spawn_blocking(move || read_all(&folder, &names)).await;
        let panicked = |panic| Error::new(ErrorKind::Internal, "reading secrets panicked").because(panic);
        let secret = |(name, value): (SecretName, Secret)| {
            (name.clone(), FoundSecret::secret(self.kind(), name, value))
        };
        Ok(found.map_err(panicked)??.into_iter().map(secret).collect())
    }
}

fn read_all(folder: &Path, names: &BTreeSet<SecretName>) -> Result<BTreeMap<SecretName, Secret>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, folder, flags, Mode::empty()).map_err(|errno| {
        failed("the folder of secrets cannot be opened", errno.into()).with("path", folder.display())
    })?;
    let mut found = BTreeMap::new();
    for name in names {
        let value = open(opened.as_fd(), name).and_then(|file| file.map(read).transpose());
        let value = value.map_err(|error| error.with("path", folder.join(name.as_str()).display()))?;
        found.extend(value.map(|value| (name.clone(), value)));
    }
    Ok(found)
}

/// The file of a name; none if there is no such entry.
fn open(folder: BorrowedFd<'_>, name: &SecretName) -> Result<Option<OwnedFd>> {
    // A pipe would keep us until somebody writes into it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(folder, name.as_str(), flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => match statat(folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            // What is found in the instant in which Kubernetes switches to other files, too.
            _ => Err(Error::new(ErrorKind::Unavailable, "the file of a secret is a link that leads nowhere")),
        },
        Err(errno) => Err(failed("the file of a secret cannot be opened", errno.into())),
    }
}

fn read(file: OwnedFd) -> Result<Secret> {
    let invalid = |message: &'static str| Error::new(ErrorKind::Invalid, message);
    let broken = |error| failed("the file of a secret cannot be read", error);
    let kind = fstat(&file).map_err(|errno| broken(errno.into()))?;
    if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
        return Err(invalid("a secret has to be in a plain file"));
    }
    // Memory that is wiped and never moves.
    let mut bytes = Zeroizing::new(vec![0; ANSWER_BYTES]);
    let mut length = 0;
    let mut file = File::from(file);
    while length < ANSWER_BYTES {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    if length == ANSWER_BYTES {
        return Err(
            invalid("the file is longer than a secret can be").with("at_most_bytes", MAX_SECRET_BYTES)
        );
    }
    plain(&bytes[..length]).map_err(invalid)
}

/// An error of the kind that the system's has.
fn failed(message: &'static str, error: io::Error) -> Error {
    let cause = Error::from(error);
    Error::new(cause.kind(), message).because(cause)
}
