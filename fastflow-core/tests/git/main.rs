//! The git source and what it talks to: real servers, real programs.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, and an error it does not expect is one")]

mod access;
mod age;
mod damage;
mod fault;
mod fetch;
mod github_app;
mod host_key;
mod https;
mod large;
mod servers;
mod source;

use std::{os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use fastflow_core::{
    SystemClock,
    source::{
        DeployKey, GitAccess, GitArrived, GitConfig, GitMirror, GitReference, InsecureScheme, SyncFailure,
    },
    testing::{
        git::{DaemonServer, HttpServer, Repository, SshServer},
        tool,
    },
};
use tempfile::TempDir;

/// A repository with one commit, or none where there is no git.
fn repository() -> Option<(Repository, String)> {
    if tool::git().is_none() {
        tool::require("git", "git and its servers are not installed");
        return None;
    }
    let repository = Repository::new();
    repository.write("etl/main.py", "print(1)\n");
    let commit = repository.commit("Add etl");
    Some((repository, commit))
}

/// The same, where there is a server for ssh.
fn repository_for_ssh() -> Option<(Repository, String)> {
    let repository = repository()?;
    if tool::sshd().is_none() {
        tool::require("ssh", "openssh-server is not installed");
        return None;
    }
    Some(repository)
}

/// A folder for a mirror, with what a mirror is made from.
struct Desk {
    folder: TempDir,
    config: GitConfig,
}

impl Desk {
    fn new(remote: impl Into<String>) -> Self {
        Self { folder: TempDir::new().unwrap(), config: GitConfig::new(remote) }
    }

    fn of_daemon(server: &DaemonServer) -> Self {
        let mut desk = Self::new(server.url(Repository::NAME));
        desk.config.insecure_schemes = vec![InsecureScheme::Git];
        desk
    }

    fn of_http(server: &HttpServer) -> Self {
        let mut desk = Self::new(server.url(Repository::NAME));
        desk.config.ca_certificates = Some(server.authority());
        desk
    }

    /// With a key that the server knows.
    fn of_ssh(server: &SshServer, repository: &Repository) -> Self {
        let mut desk = Self::new(server.url(&repository.path()));
        let key = DeployKey::ensure(desk.folder.path().join("keys/id")).unwrap();
        server.allow(&key.public().unwrap());
        desk.config.access = GitAccess::DeployKey(key);
        desk
    }

    fn mirror(&self) -> GitMirror {
        let clock = Arc::new(SystemClock::new());
        GitMirror::new(self.path(), self.config.clone(), clock).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mirror")
    }

    /// Which repository it is: one that was made anew is another one.
    fn identity(&self) -> u64 {
        std::fs::metadata(self.path().join("repository")).unwrap().ino()
    }

    /// Its packs, by name.
    fn packs(&self) -> Vec<PathBuf> {
        let folder = self.path().join("repository/objects/pack");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut packs: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|end| end == "pack")).collect();
        packs.sort();
        packs
    }
}

fn fetch(mirror: &GitMirror) -> Result<GitArrived, SyncFailure> {
    mirror.fetch(&GitReference::Head, &Arc::default())
}

fn fetch_branch(mirror: &GitMirror, branch: &str) -> Result<GitArrived, SyncFailure> {
    mirror.fetch(&GitReference::Branch(branch.to_owned()), &Arc::default())
}

/// Bytes that cannot be packed any smaller.
fn noise(bytes: u32) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes as usize).collect()
}
