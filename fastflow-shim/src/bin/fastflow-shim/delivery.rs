//! Secrets as files, for as long as the program lives.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use fastflow_shim::{Outcome, SecretFiles};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::program::failed;

/// How the program finds the folder.
pub(crate) const VARIABLE: &str = "FASTFLOW_SECRETS_DIR";
/// The file systems that are never on a disk by themselves, by the numbers that `statfs` gives them.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The folder with the secrets. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Delivered {
    path: PathBuf,
    /// The folder itself, wherever the program moves it.
    dir: OwnedFd,
    names: Vec<String>,
    is_removed: bool,
}

impl Delivered {
    /// Makes the folder and the files in it.
    pub(crate) fn make(secrets: &SecretFiles) -> Result<Self, Outcome> {
        let path = &secrets.dir;
        let refused = |error: &io::Error| {
            failed(&format!("cannot make the folder {} for secrets", path.display()), error)
        };
        let mut delivered = Self::make_dir(path).map_err(|error| refused(&error))?;
        for (name, secret) in &secrets.files {
            delivered.write(name, secret.expose().as_bytes()).map_err(|error| refused(&error))?;
        }
        Ok(delivered)
    }

    fn make_dir(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, OFlags::PATH | folder, Mode::empty())?;
        let kind = rustix::fs::fstatfs(&parent)?.f_type;
        // Asked before anything is made, so that no secret and no trace is ever on a disk.
        if !IN_MEMORY.iter().any(|known| i128::from(kind) == i128::from(*known)) {
            let message = "it would be on a disk; secrets are written to tmpfs or ramfs alone";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
        let dir =
            rustix::fs::openat(&parent, name, OFlags::RDONLY | OFlags::NOFOLLOW | folder, Mode::empty());
        let dir = dir.inspect_err(|_| {
            let _ = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR);
        })?;
        let made = Self { path: path.to_owned(), dir, names: Vec::new(), is_removed: false };
        // Said again, for the mode given to `mkdir` was subject to the umask.
        rustix::fs::fchmod(&made.dir, Mode::RWXU)?;
        Ok(made)
    }

    fn write(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.dir, name, flags, Mode::RUSR)?);
        self.names.push(name.to_owned());
        rustix::fs::fchmod(&file, Mode::RUSR)?;
        file.write_all(value)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder with all that is in it.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_removed, true) {
            return Ok(());
        }
        // Whatever the program has made of its mode.
        let _ = rustix::fs::fchmod(&self.dir, Mode::RWXU);
        // Also where the program has moved the folder, or put another one into its place.
        for name in &self.names {
            let _ = rustix::fs::unlinkat(&self.dir, name.as_str(), AtFlags::empty());
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        let _ = self.take_away();
    }
}
