//! The folder that holds all environments, and the locks that make several processes share it.
//!
//! ```text
//! <id>/            a published environment: complete, because it got this name by a rename
//! .building-<id>/  one in the making, or what a crash left of it; belongs to the holder of guards/<id>
//! .input-<id>/     what uv is told to install, same owner
//! .removing-<id>/  one on its way out, same owner
//! .cache-<name>/   a cache of uv for one build whose packages run code, belongs to the holder of guards/<name>
//! cache/<place>    the cache of uv of a place other than this machine
//! locks/           resolved locks, by the hash of what they were resolved from
//! interpreters/    interpreters that were found, by what was asked for
//! pythons/<place>  interpreters that uv installed in a place because none was there
//! used/            when each environment was last asked for, and each place last worked in
//! guards/          empty files to lock
//! ```
//!
//! A `<place>` is `host` for this machine, else the hash of the place's identity. What one place writes, no other reads:
//! the uv that writes there is the place's own, and does what whoever made the place likes.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    EnvironmentFailure, EnvironmentFailureKind, EnvironmentId, Workbench, digest::Digest, tool::Cache,
};
use crate::{Clock, Timestamp};

/// How long to wait before looking at a held lock again, at first and at most.
const GUARD_POLL_FIRST: Duration = Duration::from_millis(5);
const GUARD_POLL_MAX: Duration = Duration::from_millis(200);

/// The name of the folders of this machine among those of places.
pub(super) const THIS_MACHINE: &str = "host";

/// Everybody may look into environments; locks may name private indexes.
const SHARED_DIR_MODE: u32 = 0o755;
const PRIVATE_DIR_MODE: u32 = 0o700;
const PRIVATE_FILE_MODE: u32 = 0o600;

/// The names in the folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn environment(&self, id: &EnvironmentId) -> PathBuf {
        self.root.join(id.as_str())
    }

    pub(super) fn building(&self, id: &EnvironmentId) -> PathBuf {
        self.root.join(format!(".building-{id}"))
    }

    pub(super) fn input(&self, id: &EnvironmentId) -> PathBuf {
        self.root.join(format!(".input-{id}"))
    }

    pub(super) fn removing(&self, id: &EnvironmentId) -> PathBuf {
        self.root.join(format!(".removing-{id}"))
    }

    /// Where a project is copied to be resolved.
    pub(super) fn resolving(&self, key: &str) -> PathBuf {
        self.root.join(format!(".resolving-{key}"))
    }

    /// The cache that uv uses in a place that is not this machine.
    pub(super) fn uv_cache(&self, place: &dyn Workbench, cache: Cache<'_>) -> PathBuf {
        match cache {
            Cache::Shared => self.shared_caches().join(place_name(place)),
            Cache::Private(owner) => self.root.join(format!(".cache-{owner}")),
        }
    }

    pub(super) fn shared_caches(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// When a place was last worked in.
    pub(super) fn place_used(&self, name: &str) -> PathBuf {
        self.root.join("used").join(place_owner(name))
    }

    pub(super) fn lock(&self, key: &str) -> PathBuf {
        self.root.join("locks").join(key)
    }

    pub(super) fn interpreter(&self, key: &str) -> PathBuf {
        self.root.join("interpreters").join(key)
    }

    /// The interpreters that the uv of a place installed there.
    pub(super) fn pythons(&self, place: &dyn Workbench) -> PathBuf {
        self.all_pythons().join(place_name(place))
    }

    pub(super) fn all_pythons(&self) -> PathBuf {
        self.root.join("pythons")
    }

    pub(super) fn used(&self, id: &EnvironmentId) -> PathBuf {
        self.root.join("used").join(id.as_str())
    }

    pub(super) fn guard(&self, name: &str) -> PathBuf {
        self.root.join("guards").join(name)
    }

    /// Makes the folder where it is missing.
    pub(super) fn create(&self) -> Result<(), EnvironmentFailure> {
        create_directory(&self.root, SHARED_DIR_MODE)?;
        create_directory(&self.all_pythons().join(THIS_MACHINE), SHARED_DIR_MODE)?;
        for name in ["locks", "interpreters", "used", "guards", "cache"] {
            create_directory(&self.root.join(name), PRIVATE_DIR_MODE)?;
        }
        Ok(())
    }

    /// Makes the folders of a place other than this machine where they are missing, and notes that it is worked in. The
    /// caller holds its guard.
    pub(super) fn open_place(&self, name: &str, now: Timestamp) -> Result<(), EnvironmentFailure> {
        for folder in [self.shared_caches(), self.all_pythons()] {
            create_directory(&folder.join(name), SHARED_DIR_MODE)?;
        }
        replace(&self.place_used(name), now.to_string().as_bytes())
    }
}

/// What the folders of a place are called. No hash is the name of this machine's.
pub(super) fn place_name(place: &dyn Workbench) -> String {
    if place.is_this_machine() {
        return THIS_MACHINE.to_owned();
    }
    let mut digest = Digest::new("fastflow-place-1");
    digest.add(place.identity());
    digest.finish()
}

/// The guard of the folders of a place: held together by those who work there, alone by who removes them.
pub(super) fn place_owner(name: &str) -> String {
    format!("place-{name}")
}

/// Makes a directory that a tool will write to, after what an interrupted build left there.
pub(super) fn create_anew(path: &Path) -> Result<(), EnvironmentFailure> {
    remove_tree(path)?;
    create_directory(path, SHARED_DIR_MODE)
}

fn create_directory(path: &Path, mode: u32) -> Result<(), EnvironmentFailure> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| EnvironmentFailure::io("create the directory", path, &error))
}

/// A lock that is held, also against other processes. It ends with this value, with the process, or with the
/// last child that [`share`](Self::share)s it, whichever is last.
#[derive(Debug)]
pub(super) struct Guard {
    file: File,
}

/// Whether a lock leaves room for others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    Alone,
    /// With all who hold it together.
    Together,
}

impl Guard {
    /// Takes the lock if nobody holds it that leaves no room.
    pub(super) fn try_take(path: &Path, hold: Hold) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .mode(PRIVATE_FILE_MODE)
            .open(path)?;
        let taken = match hold {
            Hold::Alone => file.try_lock(),
            Hold::Together => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // A garbage collection may have removed the name between open and lock: then this locks nothing.
        let is_same =
            fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
        Ok(is_same.then_some(Self { file }))
    }

    /// Waits for the lock until `deadline` on `clock`, calling `waiting` once if it is held.
    ///
    /// It asks again and again instead of blocking a thread in the kernel, because such a thread could not be
    /// cancelled and would hold up the end of the process.
    pub(super) async fn take(
        path: PathBuf,
        hold: Hold,
        clock: &dyn Clock,
        deadline: Duration,
        waiting: impl FnOnce() + Send,
    ) -> Result<Self, EnvironmentFailure> {
        let mut waiting = Some(waiting);
        let mut pause = GUARD_POLL_FIRST;
        loop {
            let asked = path.clone();
            let taken = blocking(move || {
                Self::try_take(&asked, hold).map_err(|error| EnvironmentFailure::io("lock", &asked, &error))
            });
            if let Some(guard) = taken.await? {
                return Ok(guard);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            if clock.elapsed() >= deadline {
                return Err(EnvironmentFailure::new(
                    EnvironmentFailureKind::DownloadFailed,
                    format!("another process still holds {} after the whole build timeout", path.display()),
                ));
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(GUARD_POLL_MAX);
        }
    }

    /// The lock for a tool, so that it is held until the tool is gone too: when this process is killed, nobody
    /// builds where its orphan still writes.
    pub(super) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Runs file operations where they may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnvironmentFailure> + Send + 'static,
) -> Result<T, EnvironmentFailure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EnvironmentFailure::new(
            EnvironmentFailureKind::Internal,
            format!("file operations did not end: {error}"),
        )),
    }
}

/// Writes a file that is there in full or not at all, also after a crash of the machine.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), EnvironmentFailure> {
    write(path, content, true)
}

/// Writes a file that is there in full or not at all, and that may be lost in a crash of the machine.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), EnvironmentFailure> {
    write(path, content, false)
}

fn write(path: &Path, content: &[u8], is_durable: bool) -> Result<(), EnvironmentFailure> {
    // One thread writes one file at a time, so this name is nobody else's.
    let thread = std::thread::current().id();
    let staged = path.with_extension(format!("staged-{}-{thread:?}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(PRIVATE_FILE_MODE).open(&staged)?;
        file.write_all(content)?;
        if is_durable {
            file.sync_all()?;
        }
        fs::rename(&staged, path)?;
        if is_durable { sync_directory(path.parent().unwrap_or(path)) } else { Ok(()) }
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&staged);
        EnvironmentFailure::io("write", path, &error)
    })
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a tree that may be read-only. That it is gone already is fine.
pub(super) fn remove_tree(path: &Path) -> Result<(), EnvironmentFailure> {
    fn open_up(path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE_DIR_MODE))?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open_up(&entry.path())?;
            }
        }
        Ok(())
    }
    let remove = || -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() {
            open_up(path)?;
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    };
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EnvironmentFailure::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}
