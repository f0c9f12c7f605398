//! Immutable copies of pipelines' folders, one per revision.

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
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{
    Revision,
    tree::{Kind, Refusal, Tree, unreadable},
};
use crate::{Error, ErrorKind, Result};

/// What a name of a copy in progress begins with.
const PARTIAL_PREFIX: &str = ".partial-";
/// The first bytes of every hash. A change of what is hashed changes this.
const HASH_DOMAIN: &[u8] = b"fastflow revision 1\n";
const BUFFER_BYTES: usize = 64 * 1024;

/// The folder of all snapshots.
#[derive(Debug)]
pub(super) struct Snapshots {
    folder: PathBuf,
    /// Makes names of copies unique within this process.
    copies: AtomicU64,
}

impl Snapshots {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, copies: AtomicU64::new(0) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, revision: &Revision) -> PathBuf {
        self.folder.join(revision.as_str())
    }

    pub(super) fn has(&self, revision: &Revision) -> bool {
        fs::symlink_metadata(self.path(revision)).is_ok_and(|meta| meta.is_dir())
    }

    /// The revision of a folder, with a snapshot of it. `Conflict` when the folder changed meanwhile.
    pub(super) fn take(&self, root: &OwnedFd, shown: &Path, tree: &Tree) -> Result<Revision, Refusal> {
        let revision = hash(root, shown, tree, &mut Nowhere)?;
        if self.has(&revision) {
            return Ok(revision);
        }
        fs::create_dir_all(&self.folder).map_err(|error| at(error, &self.folder))?;
        let partial = self.new_partial()?;
        let copied = hash(root, shown, tree, &mut Into(partial.clone())).and_then(|copied| {
            if copied != revision {
                return Err(conflict(shown).into());
            }
            Ok(self.publish(&partial, tree, &revision)?)
        });
        if copied.is_err() {
            // What cannot be removed now is stale, and collected later.
            let _ = remove(&partial);
        }
        copied.map(|()| revision)
    }

    fn new_partial(&self) -> Result<PathBuf> {
        loop {
            let number = self.copies.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{PARTIAL_PREFIX}{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Left by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(error, &path)),
                Ok(()) => return Ok(path),
            }
        }
    }

    /// Makes the copy durable and unwritable, and gives it its name.
    fn publish(&self, partial: &Path, tree: &Tree, revision: &Revision) -> Result<()> {
        let folders = tree.entries.iter().rev().filter(|entry| entry.kind == Kind::Folder);
        for path in folders.map(|entry| partial.join(&entry.path)).chain([partial.to_path_buf()]) {
            let folder = File::open(&path).map_err(|error| at(error, &path))?;
            folder
                .set_permissions(Permissions::from_mode(0o555))
                .and_then(|()| folder.sync_all())
                .map_err(|error| at(error, &path))?;
        }
        let target = self.path(revision);
        match fs::rename(partial, &target) {
            Ok(()) => {}
            // Another one took the same snapshot at the same time.
            Err(_) if self.has(revision) => {
                let _ = remove(partial);
                return Ok(());
            }
            Err(error) => return Err(at(error, &target)),
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|error| at(error, &self.folder))
    }

    /// The snapshots that are there.
    pub(super) fn revisions(&self) -> Result<Vec<Revision>> {
        Ok(self.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The copies that were never finished.
    pub(super) fn partials(&self) -> Result<Vec<PathBuf>> {
        let names = self.names()?;
        let partials = names.iter().filter(|name| name.starts_with(PARTIAL_PREFIX));
        Ok(partials.map(|name| self.folder.join(name)).collect())
    }

    fn names(&self) -> Result<Vec<String>> {
        let list = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            list => list.map_err(|error| at(error, &self.folder))?,
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            Ok(entry.map_err(|error| at(error, &self.folder))?.file_name().into_string().ok())
        };
        list.filter_map(|entry| name(entry).transpose()).collect()
    }

    /// Removes a snapshot: first its name, then its content, so that a half of it is never found.
    pub(super) fn remove(&self, revision: &Revision) -> Result<()> {
        let partial = self.new_partial()?;
        let path = self.path(revision);
        fs::rename(&path, &partial).map_err(|error| at(error, &path))?;
        remove(&partial).map_err(|error| at(error, &partial))
    }
}

/// Removes a folder whose folders are not writable.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// What is done with a file's bytes beside hashing them.
trait Sink {
    fn folder(&mut self, path: &Path) -> io::Result<()>;
    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()>;
    fn file(&mut self, path: &Path, executable: bool) -> io::Result<Option<File>>;
}

struct Nowhere;

impl Sink for Nowhere {
    fn folder(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn file(&mut self, _: &Path, _: bool) -> io::Result<Option<File>> {
        Ok(None)
    }
}

struct Into(PathBuf);

impl Sink for Into {
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.0.join(path))
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        symlink(target, self.0.join(path))
    }

    fn file(&mut self, path: &Path, executable: bool) -> io::Result<Option<File>> {
        let mode = if executable { 0o555 } else { 0o444 };
        let path = self.0.join(path);
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map(Some)
    }
}

/// Hashes a folder's paths, kinds, modes and contents, and passes them on.
fn hash(root: &OwnedFd, shown: &Path, tree: &Tree, sink: &mut dyn Sink) -> Result<Revision, Refusal> {
    let mut hasher = Sha256::new_with_prefix(HASH_DOMAIN);
    let mut buffer = vec![0; BUFFER_BYTES];
    for entry in &tree.entries {
        let wrote = |error| at(error, &entry.path);
        match &entry.kind {
            Kind::Folder => {
                put(&mut hasher, b'd', &entry.path, b"");
                sink.folder(&entry.path).map_err(wrote)?;
            }
            Kind::Link { target } => {
                put(&mut hasher, b'l', &entry.path, target.as_os_str().as_bytes());
                sink.link(&entry.path, target).map_err(wrote)?;
            }
            Kind::File { executable, .. } => {
                let mut source = open_file(root, shown, &entry.path)?;
                let copy = sink.file(&entry.path, *executable).map_err(wrote)?;
                let content = pour(&mut source, copy, &mut buffer)
                    .map_err(|error| at(error, &shown.join(&entry.path)))?;
                put(&mut hasher, if *executable { b'x' } else { b'f' }, &entry.path, &content);
            }
        }
    }
    Ok(hex(&hasher.finalize()).parse()?)
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

/// Reads a file to its end, writes it on, and returns the hash of its content.
fn pour(source: &mut File, mut copy: Option<File>, buffer: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    loop {
        let read = match source.read(buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        if let Some(copy) = &mut copy {
            copy.write_all(&buffer[..read])?;
        }
    }
    if let Some(copy) = copy {
        copy.sync_all()?;
    }
    Ok(hasher.finalize().into())
}

/// One entry, with lengths, so that no two lists of entries hash alike.
fn put(hasher: &mut Sha256, kind: u8, path: &Path, content: &[u8]) {
    hasher.update([kind]);
    for part in [path.as_os_str().as_bytes(), content] {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn at(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}

fn conflict(path: &Path) -> Error {
    Error::new(ErrorKind::Conflict, "a file changed while it was read").with("path", path.display())
}
