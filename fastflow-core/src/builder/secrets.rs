//! Who has secrets, and the keys that those in the store are sealed with.

use std::{fmt, sync::Arc};

use super::OrchestratorBuilder;
use crate::{
    Clock, Entropy, Error, ErrorKind, OwnerId, Result,
    secret::{
        ChainedSecrets, FernetKey, Keyring, MasterKeySource, SealedSecrets, SecretStore, SecretVariables,
    },
    store::Store,
};

/// What the builder was told about secrets.
#[derive(Default)]
pub(super) struct GivenSecrets {
    /// The key that seals, and those that only open.
    sealing: Option<MasterKeySource>,
    older: Vec<MasterKeySource>,
    fernet: Vec<FernetKey>,
    stores: Vec<Arc<dyn SecretStore>>,
    /// Two keys cannot both be the one that seals.
    has_two: bool,
}

impl OrchestratorBuilder {
    /// The master key that secrets are sealed with in the store, and texts for `encrypted_env`. It is read once, by
    /// [`build`](Self::build). Without one there are no stored secrets.
    pub fn master_key(mut self, source: MasterKeySource) -> Self {
        self.secrets.has_two |= self.secrets.sealing.is_some();
        self.secrets.sealing = Some(source);
        self
    }

    /// A master key of earlier: what is sealed with it can be opened, and nothing is sealed with it any more. It can go
    /// when [`rotate`](crate::orchestrator::Secrets::rotate) has left nothing under it, and no pipeline has text that was
    /// sealed with it.
    pub fn older_master_key(mut self, source: MasterKeySource) -> Self {
        self.secrets.older.push(source);
        self
    }

    /// The `ENCRYPTION_KEY` of a Python Fast-Flow, with which the values in `encrypted_env` of its pipelines are read.
    pub fn fernet_key(mut self, key: FernetKey) -> Self {
        self.secrets.fernet.push(key);
        self
    }

    /// Somebody else who has secrets. They are asked after the store, in the order in which they are given, for what has
    /// not been found.
    pub fn secret_store(mut self, store: impl SecretStore) -> Self {
        self.secrets.stores.push(Arc::new(store));
        self
    }
}

impl GivenSecrets {
    pub(super) fn check(&self) -> Result<()> {
        if self.has_two {
            return Err(Error::new(
                ErrorKind::Invalid,
                "give one master key, which seals, and the others as older ones",
            ));
        }
        Ok(())
    }

    /// The variables of this process that hold keys or secrets.
    pub(super) fn variables(&self) -> SecretVariables {
        let keys = self.sealing.iter().chain(&self.older).map(MasterKeySource::variables);
        let stores = self.stores.iter().map(|store| store.variables());
        keys.chain(stores).fold(SecretVariables::default(), SecretVariables::and)
    }

    /// Loads the keys.
    pub(super) async fn keyring(&mut self, clock: &dyn Clock) -> Result<Keyring> {
        let mut keyring = match self.sealing.take() {
            Some(source) => Keyring::new(source.load(clock).await?),
            None => Keyring::default(),
        };
        for source in self.older.drain(..) {
            keyring = keyring.with_older(source.load(clock).await?);
        }
        for key in self.fernet.drain(..) {
            keyring = keyring.with_fernet(key);
        }
        Ok(keyring)
    }

    /// Everybody who is asked, the store first.
    pub(super) fn chain(self, sealed: SealedSecrets) -> Arc<dyn SecretStore> {
        let sealed: Arc<dyn SecretStore> = Arc::new(sealed);
        if self.stores.is_empty() {
            return sealed;
        }
        Arc::new(ChainedSecrets::new([sealed].into_iter().chain(self.stores)))
    }
}

/// The secrets of the store, opened with these keys.
pub(super) fn sealed(
    store: &Arc<dyn Store>,
    keyring: Keyring,
    instance: &OwnerId,
    (clock, entropy): (&Arc<dyn Clock>, &Arc<dyn Entropy>),
) -> SealedSecrets {
    SealedSecrets {
        store: Arc::clone(store),
        keyring: Arc::new(keyring),
        instance: instance.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
    }
}

impl fmt::Debug for GivenSecrets {
    /// No key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenSecrets").field("stores", &self.stores).finish_non_exhaustive()
    }
}
