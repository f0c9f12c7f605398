//! The folder of a mirror: what lies in it, and how it is made sound before it is used.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::origin::Origin;
use crate::{Error, Result};

/// All that may be in the repository's configuration. Written anew whenever it is opened: nothing that somebody else has
/// put there has an effect.
const CONFIG: &str = "\
[core]
\trepositoryformatversion = 0
\tbare = true
\tfilemode = true
\tlogAllRefUpdates = false
\tuseReplaceRefs = false
[protocol]
\tversion = 2
[user]
\tname = fastflow
\temail = fastflow@localhost
[gitoxide \"objects\"]
\tallocLimit = 1073741824
";
/// What points to nothing: no branch of ours is ever checked out.
const HEAD: &str = "ref: refs/heads/none\n";
/// What git or gix would follow to other files and programs.
const STRANGE: [&str; 8] = [
    "hooks",
    "info",
    "worktrees",
    "modules",
    "config.worktree",
    "commondir",
    "objects/info/alternates",
    "objects/info/http-alternates",
];
/// How deep names of references lie in each other at most.
const MAX_DEPTH: usize = 64;

/// The folder of a mirror.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
}

impl Place {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The repository.
    pub(super) fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// One that is made beside it.
    pub(super) fn fresh(&self) -> PathBuf {
        self.folder.join("fresh")
    }

    /// One that is given up for it.
    fn old(&self) -> PathBuf {
        self.folder.join("old")
    }

    /// What ssh needs.
    pub(super) fn ssh(&self) -> PathBuf {
        self.folder.join("ssh")
    }

    /// Makes the folders, closed to others.
    pub(super) fn prepare(&self) -> Result<()> {
        make_closed(&self.folder)?;
        make_closed(&self.ssh())
    }

    /// Ends what a process that died has begun: a swap, a fetch, an update of a reference. Only one may change it then.
    pub(super) fn tidy(&self) -> Result<()> {
        let (repository, old) = (self.repository(), self.old());
        // What is given up goes only once the other one is there, with all that was fetched into it.
        if Origin::read(&repository).is_none() && Origin::read(&old).is_some() {
            remove(&repository)?;
            fs::rename(&old, &repository).map_err(|error| failed(error, &repository))?;
        }
        for left in [old, self.fresh()] {
            remove(&left)?;
        }
        remove_left_overs(&repository)
    }

    /// Makes the fresh repository the one that is used. Nobody may read the old one meanwhile.
    pub(super) fn swap(&self) -> Result<()> {
        let (repository, fresh, old) = (self.repository(), self.fresh(), self.old());
        remove(&old)?;
        if exists(&repository)? {
            fs::rename(&repository, &old).map_err(|error| failed(error, &old))?;
        }
        fs::rename(&fresh, &repository).map_err(|error| {
            // Where this fails as well, the next use of the folder does it.
            let _ = fs::rename(&old, &repository);
            failed(error, &repository)
        })?;
        remove(&old)
    }
}

/// Makes a folder that is closed to others.
pub(in crate::source::git) fn make_closed(folder: &Path) -> Result<()> {
    let made = make_folder(folder, 0o700);
    let closed = made.and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)));
    closed.map_err(|error| failed(error, folder))
}

/// Makes an empty repository of a folder, if it is none yet.
pub(super) fn make(repository: &Path) -> Result<()> {
    let make = || -> io::Result<()> {
        for folder in ["objects/pack", "objects/info", "refs/heads"] {
            make_folder(&repository.join(folder), 0o700)?;
        }
        Ok(())
    };
    make().map_err(|error| failed(error, repository))
}

/// Makes a repository sound that is there.
pub(super) fn settle(repository: &Path) -> Result<()> {
    let settle = || -> io::Result<()> {
        for strange in STRANGE {
            discard(&repository.join(strange))?;
        }
        write_if_other(&repository.join("config"), CONFIG)?;
        write_if_other(&repository.join("HEAD"), HEAD)
    };
    settle().map_err(|error| failed(error, repository))
}

/// Removes what only a process that died can have left.
fn remove_left_overs(repository: &Path) -> Result<()> {
    let clean = || -> io::Result<()> {
        if !repository.is_dir() {
            return Ok(());
        }
        remove_locks(repository, 1)?;
        remove_locks(&repository.join("refs"), MAX_DEPTH)?;
        let packs = repository.join("objects/pack");
        for entry in list(&packs)? {
            let (path, name) = (entry.path(), entry.file_name());
            let is_pack = name.as_encoded_bytes().starts_with(b"pack-");
            let partner = match path.extension().and_then(OsStr::to_str) {
                Some("idx") if is_pack => Some("pack"),
                Some("pack") if is_pack => Some("idx"),
                _ => None,
            };
            if partner.is_none_or(|partner| !path.with_extension(partner).exists()) {
                discard(&path)?;
            }
        }
        Ok(())
    };
    clean().map_err(|error| failed(error, repository))
}

fn remove_locks(folder: &Path, depth: usize) -> io::Result<()> {
    for entry in list(folder)? {
        let path = entry.path();
        if path.extension() == Some(OsStr::new("lock")) {
            discard(&path)?;
        } else if depth > 1 && entry.file_type()?.is_dir() {
            remove_locks(&path, depth - 1)?;
        }
    }
    Ok(())
}

pub(super) fn list(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes a file whole, where it does not say that already.
pub(super) fn write_if_other(path: &Path, content: &str) -> io::Result<()> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if is_file && fs::read(path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(());
    }
    discard(path)?;
    let aside = path.with_extension("new");
    discard(&aside)?;
    File::create_new(&aside)?.write_all(content.as_bytes())?;
    fs::rename(&aside, path)
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Removes a file, a link or a whole folder, if it is there.
fn discard(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn remove(path: &Path) -> Result<()> {
    discard(path).map_err(|error| failed(error, path))
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| failed(error, path))
}

pub(super) fn failed(error: io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
