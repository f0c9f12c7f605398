//! Which servers are believed to be who they are.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use ssh_key::{HashAlg, PublicKey};

use crate::{Error, Result, source::git::access::read_secret};

/// The name of the file of pinned keys in the folder of ssh.
const PINNED: &str = "known_hosts";
/// The same of the given keys, written anew at each use.
const GIVEN: &str = "given_hosts";
/// The largest file of known hosts, in bytes.
const MAX_KNOWN_BYTES: u64 = 16 << 20;

/// Which servers are believed to be who they are, with ssh.
///
/// ```
/// use fastflow_core::source::{GitConfig, HostKeyPolicy};
///
/// let mut config = GitConfig::new("git@git.example.org:team/pipelines.git");
/// config.host_keys = HostKeyPolicy::KnownFile("/etc/ssh/ssh_known_hosts".into());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HostKeyPolicy {
    /// The key that a server shows first is pinned, and no other is taken from then on until somebody resets it.
    #[default]
    TrustFirst,
    /// Only keys in these lines, in the format of `known_hosts`.
    Known(String),
    /// Only keys in this file, which is read anew for each sync.
    KnownFile(PathBuf),
}

/// The public key of a server, as files of known hosts have it: a type, and a text in base64.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::source::git) struct HostKey {
    pub(super) kind: String,
    encoded: String,
}

impl HostKey {
    /// The key in a line of known hosts, and whether the line is about a plain key: not one of an authority, and not a
    /// revoked one.
    fn of_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        if first.starts_with(['#', '@']) {
            return None;
        }
        Some(Self { kind: words.next()?.to_owned(), encoded: words.next()?.to_owned() })
    }

    /// The fingerprint as ssh shows it: `SHA256:…`.
    pub(in crate::source::git) fn fingerprint(&self) -> String {
        let text = format!("{} {}", self.kind, self.encoded);
        match PublicKey::from_openssh(&text) {
            Ok(key) => key.fingerprint(HashAlg::Sha256).to_string(),
            Err(_) => format!("a key of type {}", self.kind),
        }
    }
}

/// The keys that are believed, in a folder of our own.
#[derive(Debug)]
pub(in crate::source::git) struct KnownHosts {
    folder: PathBuf,
}

impl KnownHosts {
    pub(in crate::source::git) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name, in the folder, of the file that holds what the policy believes.
    pub(super) fn file(&self, policy: &HostKeyPolicy) -> Result<&'static str> {
        let given = match policy {
            HostKeyPolicy::TrustFirst => return Ok(PINNED),
            HostKeyPolicy::Known(lines) => lines.clone(),
            HostKeyPolicy::KnownFile(path) => read_secret(path, MAX_KNOWN_BYTES)?.to_string(),
        };
        self.write(GIVEN, &given)?;
        Ok(GIVEN)
    }

    /// The keys that a file of the folder has for a server, by the program that knows all the ways to write one.
    pub(super) fn keys(&self, file: &str, name: &str) -> Result<Vec<HostKey>> {
        let mut command = Command::new("ssh-keygen");
        command.current_dir(&self.folder).args(["-F", name, "-f", file]);
        let output = command.output().map_err(|error| Error::from(error).with("program", "ssh-keygen"))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(HostKey::of_line).collect())
    }

    /// The key that is pinned for a server.
    pub(in crate::source::git) fn pinned(&self, name: &str) -> Result<Option<HostKey>> {
        Ok(self.lines()?.iter().filter(|line| is_of(line, name)).find_map(|line| HostKey::of_line(line)))
    }

    /// Pins the key of a server that has none yet.
    pub(super) fn pin(&self, name: &str, key: &HostKey) -> Result<()> {
        let mut lines = self.lines()?;
        lines.push(format!("{name} {} {}", key.kind, key.encoded));
        self.write(PINNED, &lines.join("\n"))
    }

    /// Writes a file of the folder that knows nothing but this key.
    pub(super) fn once(&self, file: &str, name: &str, key: &HostKey) -> Result<()> {
        self.write(file, &format!("{name} {} {}", key.kind, key.encoded))
    }

    /// Forgets the key of a server. Returns what it was.
    pub(in crate::source::git) fn forget(&self, name: &str) -> Result<Option<HostKey>> {
        let forgotten = self.pinned(name)?;
        let left: Vec<_> = self.lines()?.into_iter().filter(|line| !is_of(line, name)).collect();
        if forgotten.is_some() {
            self.write(PINNED, &left.join("\n"))?;
        }
        Ok(forgotten)
    }

    fn lines(&self) -> Result<Vec<String>> {
        match read_secret(&self.folder.join(PINNED), MAX_KNOWN_BYTES) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Writes a file whole, or not at all.
    fn write(&self, name: &str, content: &str) -> Result<()> {
        let (aside, path) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            writeln!(file, "{content}")?;
            file.sync_all()?;
            fs::rename(&aside, &path)
        };
        write().map_err(|error| Error::from(error).with("path", path.display()))
    }
}

fn is_of(line: &str, name: &str) -> bool {
    line.split_whitespace().next() == Some(name)
}
