//! A key pair of which the server knows the public half.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use zeroize::Zeroizing;

use crate::{Error, ErrorKind, Result, source::git::access::read_secret};

/// The longest file of a key, in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;
/// What stands behind a key of ours, so that people know where it comes from.
const COMMENT: &str = "fastflow";

/// A key pair of which the server knows the public half: a deploy key. Its private half is in a file that only the
/// host's user can read.
///
/// ```
/// use fastflow_core::source::DeployKey;
///
/// let folder = tempfile::tempdir().unwrap();
/// let key = DeployKey::ensure(folder.path().join("keys/id_ed25519")).unwrap();
/// let public = key.public().unwrap();
/// assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" fastflow"));
/// // The same one, from then on.
/// assert_eq!(DeployKey::at(key.path()).public().unwrap(), public);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeployKey {
    path: PathBuf,
}

impl DeployKey {
    /// The key whose private half is in this file, in OpenSSH's format. It is looked at only once it is used.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The key in this file, made first if there is none: Ed25519, with mode 600, in a folder of mode 700 if that has to
    /// be made, too. One that is there is never written over.
    ///
    /// # Errors
    ///
    /// By the file system's word; `Invalid` and `Denied` as [`public`](Self::public).
    pub fn ensure(path: impl Into<PathBuf>) -> Result<Self> {
        let key = Self::at(path);
        match key.path.try_exists() {
            Ok(true) => {}
            Ok(false) => key.make().map_err(|error| Error::from(error).with("path", key.path.display()))?,
            Err(error) => return Err(Error::from(error).with("path", key.path.display())),
        }
        key.read()?;
        Ok(key)
    }

    /// Where its private half is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its public half, as servers want to be told it: `ssh-ed25519 AAAA… fastflow`.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such file, `Denied` when others can read it, too, `Invalid` when it is not a private
    /// key, or is locked with a passphrase.
    pub fn public(&self) -> Result<String> {
        let key = self.read()?;
        key.public_key()
            .to_openssh()
            .map_err(|error| self.invalid("the key has no public half").because(error))
    }

    /// The private half, looked at before a program stumbles over it.
    pub(in crate::source::git) fn read(&self) -> Result<PrivateKey> {
        check_owner_only(&self.path)?;
        let text = read_secret(&self.path, MAX_KEY_BYTES)?;
        let key = PrivateKey::from_openssh(text.as_bytes())
            .map_err(|error| self.invalid("this is not a private key in OpenSSH's format").because(error))?;
        if key.is_encrypted() {
            return Err(self.invalid("the key is locked with a passphrase, and nobody is there to tell it"));
        }
        Ok(key)
    }

    fn invalid(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::Invalid, message).with("path", self.path.display())
    }

    fn make(&self) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| io::Error::other(error.to_string()))?;
        let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
        let key = PrivateKey::new(pair, COMMENT).map_err(io::Error::other)?;
        let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
        // Whole, or not there; and who comes second finds the first one's.
        let aside = self.path.with_extension("new");
        let _ = fs::remove_file(&aside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let linked = match fs::hard_link(&aside, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        };
        fs::remove_file(&aside)?;
        linked
    }
}

/// Refuses a file that others than its owner can read.
pub(in crate::source::git) fn check_owner_only(path: &Path) -> Result<()> {
    const OTHERS: u32 = 0o077;
    let mode = fs::metadata(path).map_err(|error| Error::from(error).with("path", path.display()))?.mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, "others can read this key, too: make its mode 600")
        .with("path", path.display())
        .with("mode", format!("{:o}", mode & 0o777)))
}
