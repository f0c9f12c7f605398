//! The keys of an installation.

use std::fmt;

use super::{Binding, Envelope, FernetKey, MasterKey, MasterKeyId, Secret, no_key, seal};
use crate::{Entropy, Error, ErrorKind, Result};

/// The keys of an installation: the newest one seals, all of them open. By default there are none.
///
/// ```
/// use fastflow_core::{OsEntropy, secret::{Binding, Keyring, MasterKey, Secret}};
///
/// let old = MasterKey::generate(&OsEntropy).unwrap();
/// let (pipeline, variable) = ("etl".parse().unwrap(), "TOKEN".parse().unwrap());
/// let binding = Binding::Pipeline { pipeline: &pipeline, variable: &variable };
/// let sealed = Keyring::new(old.clone()).seal(&binding, &Secret::new("s3cret"), &OsEntropy).unwrap();
///
/// let both = Keyring::new(MasterKey::generate(&OsEntropy).unwrap()).with_older(old.clone());
/// assert!(both.open(&binding, &sealed).unwrap() == Secret::new("s3cret"));
/// assert_ne!(both.newest(), Some(old.id()));
/// ```
#[derive(Clone, Default)]
pub struct Keyring {
    newest: Option<MasterKey>,
    older: Vec<MasterKey>,
    fernet: Vec<FernetKey>,
}

impl Keyring {
    /// One key, which seals and opens.
    pub fn new(newest: MasterKey) -> Self {
        Self { newest: Some(newest), older: Vec::new(), fernet: Vec::new() }
    }

    /// With a key that only opens. One that it has already changes nothing.
    #[must_use]
    pub fn with_older(mut self, key: MasterKey) -> Self {
        if !self.has(key.id()) {
            self.older.push(key);
        }
        self
    }

    /// With a key that opens texts of Python Fast-Flow in the files of pipelines.
    #[must_use]
    pub fn with_fernet(mut self, key: FernetKey) -> Self {
        self.fernet.push(key);
        self
    }

    /// The key that seals, if there is one.
    pub fn newest(&self) -> Option<MasterKeyId> {
        self.newest.as_ref().map(MasterKey::id)
    }

    /// All keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = MasterKeyId> {
        self.keys().map(MasterKey::id)
    }

    /// Whether it can open what is sealed with this key.
    pub fn has(&self, id: MasterKeyId) -> bool {
        self.ids().any(|own| own == id)
    }

    /// Seals a value for one purpose.
    ///
    /// # Errors
    ///
    /// `Invalid` without a key that seals, and for a value that [cannot be a secret](super::check_secret).
    pub fn seal(&self, binding: &Binding<'_>, secret: &Secret, entropy: &dyn Entropy) -> Result<Envelope> {
        let newest = self.newest.as_ref().ok_or_else(|| binding.describe(no_key()))?;
        seal::seal(newest, binding, secret, entropy)
    }

    /// Opens what was sealed for this purpose.
    ///
    /// # Errors
    ///
    /// `Denied`, with the key's id, when that key is not here. `Corrupt` for a stored value, and `Invalid` for one of a
    /// pipeline's files, that was sealed for something else or was changed. No error holds a value.
    pub fn open(&self, binding: &Binding<'_>, envelope: &Envelope) -> Result<Secret> {
        let id = envelope.key();
        let key = self.keys().find(|key| key.id() == id).ok_or_else(|| {
            binding.describe(
                Error::new(ErrorKind::Denied, "sealed with a master key that is not loaded").with("key", id),
            )
        })?;
        seal::open(key, binding, envelope)
    }

    pub(super) fn fernet_keys(&self) -> &[FernetKey] {
        &self.fernet
    }

    fn keys(&self) -> impl Iterator<Item = &MasterKey> {
        self.newest.iter().chain(&self.older)
    }
}

impl fmt::Debug for Keyring {
    /// Shows ids alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("newest", &self.newest())
            .field("older", &self.older.iter().map(MasterKey::id).collect::<Vec<_>>())
            .field("fernet", &self.fernet.len())
            .finish()
    }
}
