//! The content of a pipeline's folder: what its revision is made of, and how it is written.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{OpenOptionsExt, PermissionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{
    Revision,
    tree::{Entry, Kind, Refusal, Tree, show, unreadable},
};
use crate::{Error, ErrorKind, Result, hex::hex, pipeline::Diagnostic};

/// The first bytes of every hash. A change of what is hashed changes this.
const HASH_DOMAIN: &[u8] = b"fastflow revision 1\n";
const BUFFER_BYTES: usize = 64 * 1024;
const FILE_MODE: u32 = 0o444;
const PROGRAM_MODE: u32 = 0o555;
const FOLDER_MODE: u32 = 0o555;

/// Where the bytes of a tree's files are.
pub(super) trait Contents {
    /// Pours out the file that the tree's entry `index` is.
    fn pour(&self, index: usize, entry: &Entry, into: &mut Pour) -> Result<(), Refusal>;

    /// What it means that the same content was read twice and was not the same.
    fn unstable(&self) -> Error;
}

/// A folder on this machine, which others may change at any time.
pub(super) struct OpenFolder<'a> {
    pub(super) folder: &'a OwnedFd,
    /// Its path, for people.
    pub(super) shown: &'a Path,
}

impl Contents for OpenFolder<'_> {
    fn pour(&self, _: usize, entry: &Entry, into: &mut Pour) -> Result<(), Refusal> {
        let mut source = open_file(self.folder, self.shown, &entry.path)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => into.put(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(at(error, &self.shown.join(&entry.path)).into()),
            }
        }
    }

    fn unstable(&self) -> Error {
        conflict(self.shown)
    }
}

/// Takes one file's bytes: hashes them, and writes them on where there is a copy to be made.
pub(super) struct Pour {
    hasher: Sha256,
    copy: Option<(File, PathBuf)>,
}

impl Pour {
    /// The next bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        match &mut self.copy {
            Some((file, path)) => file.write_all(bytes).map_err(|error| at(error, path)),
            None => Ok(()),
        }
    }
}

/// When what was written becomes durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flush {
    /// Each file and folder by itself.
    Each,
    /// By whoever writes many, all at once.
    #[cfg(feature = "git")]
    Later,
}

/// The revision of a tree.
pub(super) fn hash(contents: &dyn Contents, tree: &Tree) -> Result<Revision, Refusal> {
    let mut hasher = Sha256::new_with_prefix(HASH_DOMAIN);
    for (index, entry) in tree.entries.iter().enumerate() {
        match &entry.kind {
            Kind::Folder => put(&mut hasher, b'd', &entry.path, b""),
            Kind::Link { target } => put(&mut hasher, b'l', &entry.path, target.as_os_str().as_bytes()),
            Kind::File { executable, .. } => {
                let mut pour = Pour { hasher: Sha256::new(), copy: None };
                contents.pour(index, entry, &mut pour)?;
                put_file(&mut hasher, *executable, entry, pour);
            }
        }
    }
    Ok(hex(&hasher.finalize()).parse()?)
}

/// Writes a tree into the empty folder `target`, takes all permission to write away, and returns its revision.
pub(super) fn write(
    contents: &dyn Contents,
    tree: &Tree,
    target: &Path,
    flush: Flush,
) -> Result<Revision, Refusal> {
    let mut hasher = Sha256::new_with_prefix(HASH_DOMAIN);
    let mut links = Vec::new();
    for (index, entry) in tree.entries.iter().enumerate() {
        let path = target.join(&entry.path);
        match &entry.kind {
            Kind::Folder => {
                fs::create_dir(&path).map_err(|error| wrote(error, entry))?;
                put(&mut hasher, b'd', &entry.path, b"");
            }
            Kind::Link { target } => {
                links.push((entry, path, target));
                put(&mut hasher, b'l', &entry.path, target.as_os_str().as_bytes());
            }
            Kind::File { executable, .. } => {
                let mode = if *executable { PROGRAM_MODE } else { FILE_MODE };
                let mut options = fs::OpenOptions::new();
                let file = options.write(true).create_new(true).mode(mode).open(&path);
                let file = file.map_err(|error| wrote(error, entry))?;
                let mut pour = Pour { hasher: Sha256::new(), copy: Some((file, path)) };
                contents.pour(index, entry, &mut pour)?;
                if let (Some((file, path)), Flush::Each) = (&pour.copy, flush) {
                    file.sync_all().map_err(|error| at(error, path))?;
                }
                put_file(&mut hasher, *executable, entry, pour);
            }
        }
    }
    // Last, so that nothing is ever written where a link leads to.
    for (entry, path, target) in links {
        symlink(target, path).map_err(|error| wrote(error, entry))?;
    }
    seal(tree, target, flush)?;
    Ok(hex(&hasher.finalize()).parse()?)
}

/// Makes the folders unwritable, the inner ones first.
fn seal(tree: &Tree, target: &Path, flush: Flush) -> Result<()> {
    let folders = tree.entries.iter().rev().filter(|entry| entry.kind == Kind::Folder);
    for path in folders.map(|entry| target.join(&entry.path)).chain([target.to_path_buf()]) {
        let sealed = fs::set_permissions(&path, Permissions::from_mode(FOLDER_MODE))
            .and_then(|()| if flush == Flush::Each { File::open(&path)?.sync_all() } else { Ok(()) });
        sealed.map_err(|error| at(error, &path))?;
    }
    Ok(())
}

/// Opens a file below `root` without following any link on the way.
fn open_file(root: &OwnedFd, shown: &Path, path: &Path) -> Result<File, Refusal> {
    // A pipe that took the file's place must not block the open.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        // Old kernels and some sandboxes do not have this call.
        Err(Errno::NOSYS | Errno::PERM) => open_step_by_step(root, path, flags),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(File::from(file)),
        // It was there when the folder was listed.
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO | Errno::AGAIN) => {
            Err(conflict(&shown.join(path)).into())
        }
        Err(error) => Err(unreadable(error, path)),
    }
}

fn open_step_by_step(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::io::dup(root)?;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { folder } else { flags };
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
    }
    Ok(at)
}

fn put_file(hasher: &mut Sha256, executable: bool, entry: &Entry, pour: Pour) {
    put(hasher, if executable { b'x' } else { b'f' }, &entry.path, &pour.hasher.finalize());
}

/// One entry, with lengths, so that no two lists of entries hash alike.
fn put(hasher: &mut Sha256, kind: u8, path: &Path, content: &[u8]) {
    hasher.update([kind]);
    for part in [path.as_os_str().as_bytes(), content] {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
}

/// A path that this file system does not take is the pipeline's own fault, all else the machine's.
fn wrote(error: io::Error, entry: &Entry) -> Refusal {
    if error.kind() == io::ErrorKind::InvalidFilename {
        let message = "this path is too long for the file system of the snapshots; shorten it";
        return Refusal::Content(vec![Diagnostic::error(show(&entry.path), "", message)]);
    }
    at(error, &entry.path).into()
}

fn at(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}

fn conflict(path: &Path) -> Error {
    Error::new(ErrorKind::Conflict, "a file changed while it was read").with("path", path.display())
}
