//! The secrets in the database: sealed with a master key, opened for those who may have them.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use async_trait::async_trait;

use super::{
    Binding, FoundSecret, Keyring, MasterKeyId, Secret, SecretName, SecretReader, SecretScope, SecretStore,
    SecretUse, SecretValue, check_secret,
};
use crate::{
    Clock, Entropy, Error, ErrorKind, OwnerId, Result,
    host::backoff::Backoff,
    pipeline::check_env_value,
    store::{PutSecret, ResealSecret, SecretContent, SecretQuery, SecretRecord, Store},
};

/// What these are called where a run keeps what it got.
const KIND: &str = "sealed";
/// How often a value is put anew after somebody else was quicker.
const MAX_PUTS: u32 = 10;

/// The secrets that the store keeps sealed.
#[derive(Clone, Debug)]
pub(crate) struct SealedSecrets {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) instance: OwnerId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// What a rotation came to.
///
/// ```
/// use fastflow_core::secret::Rotation;
///
/// fn is_complete(rotation: &Rotation) -> bool {
///     rotation.unreadable.is_empty() && rotation.values_by_key.len() <= 1
/// }
/// # assert!(is_complete(&Rotation::default()));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rotation {
    /// How many values this call has put under the key that seals.
    pub resealed: u64,
    /// How many values there are under each key now.
    pub values_by_key: BTreeMap<MasterKeyId, u64>,
    /// Those that could not be opened, and why. They stay as they are.
    pub unreadable: Vec<(SecretScope, SecretName, String)>,
}

impl SealedSecrets {
    /// Puts a secret in the place of what there was, and says which version it is.
    pub(crate) async fn put(
        &self,
        scope: &SecretScope,
        name: &SecretName,
        secret: &Secret,
    ) -> Result<NonZeroU32> {
        check_secret(secret).map_err(|error| error.with("secret", name))?;
        self.put_content(scope, name, |version| {
            let binding = self.binding(scope, name, version);
            Ok(SecretContent::Sealed(self.keyring.seal(&binding, secret, &*self.entropy)?))
        })
        .await
    }

    /// The same with a value that anybody may see.
    pub(crate) async fn put_parameter(
        &self,
        scope: &SecretScope,
        name: &SecretName,
        value: &str,
    ) -> Result<NonZeroU32> {
        check_env_value(value).map_err(|error| error.with("parameter", name))?;
        self.put_content(scope, name, |_| Ok(SecretContent::Parameter(value.to_owned()))).await
    }

    async fn put_content(
        &self,
        scope: &SecretScope,
        name: &SecretName,
        content: impl Fn(NonZeroU32) -> Result<SecretContent>,
    ) -> Result<NonZeroU32> {
        let (mut tries, mut backoff) = (0, Backoff::new());
        loop {
            let newest = self.store.secret_versions(scope, name).await?.first().map(|newest| newest.version);
            let version = newest.map_or(Some(NonZeroU32::MIN), |newest| newest.checked_add(1));
            let version = version.ok_or_else(|| {
                Error::new(ErrorKind::Conflict, "this secret has had as many values as can be counted")
                    .with("secret", name)
            })?;
            let put = PutSecret {
                scope: scope.clone(),
                name: name.clone(),
                version,
                content: content(version)?,
                at: self.clock.now(),
            };
            match self.store.put_secret(put).await {
                Ok(()) => return Ok(version),
                // Another value came first, and this one was meant to come last.
                Err(error) if error.kind() == ErrorKind::Conflict && tries < MAX_PUTS => {
                    tries += 1;
                    backoff.wait(&*self.clock).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The value of one record.
    pub(crate) fn open(&self, record: &SecretRecord) -> Result<SecretValue> {
        match &record.content {
            SecretContent::Sealed(envelope) => {
                let binding = self.binding(&record.scope, &record.name, record.version);
                self.keyring.open(&binding, envelope).map(SecretValue::Secret)
            }
            SecretContent::Parameter(value) => Ok(SecretValue::Parameter(value.clone())),
        }
    }

    /// Puts every value under the key that seals, one after the other. Each is readable all the time, and whoever calls
    /// again after an end in the middle goes on there.
    pub(crate) async fn rotate(&self) -> Result<Rotation> {
        let newest = self.keyring.newest().ok_or_else(no_key)?;
        let mut rotation = Rotation::default();
        let mut query =
            SecretQuery { not_under: Some(newest), limit: SecretQuery::MAX_LIMIT, ..SecretQuery::default() };
        loop {
            let records = self.store.secrets(&query).await?;
            let Some(last) = records.last() else { break };
            query.after = Some((last.scope.clone(), last.name.clone()));
            for record in records {
                match self.reseal(&record).await {
                    Ok(resealed) => rotation.resealed += u64::from(resealed),
                    Err(error) if error.is_transient() || error.kind() == ErrorKind::StorageFull => {
                        return Err(error);
                    }
                    Err(error) => {
                        rotation.unreadable.push((record.scope, record.name, error.chain()));
                    }
                }
            }
        }
        rotation.values_by_key = self.store.secrets_by_key().await?;
        Ok(rotation)
    }

    /// Whether it was this call that did it: a value that was replaced meanwhile is under the new key already.
    async fn reseal(&self, record: &SecretRecord) -> Result<bool> {
        let SecretContent::Sealed(from) = &record.content else { return Ok(false) };
        let binding = self.binding(&record.scope, &record.name, record.version);
        let secret = self.keyring.open(&binding, from)?;
        let to = self.keyring.seal(&binding, &secret, &*self.entropy)?;
        let reseal = ResealSecret {
            scope: record.scope.clone(),
            name: record.name.clone(),
            version: record.version,
            from: from.clone(),
            to,
        };
        self.store.reseal_secret(reseal).await
    }

    /// Refuses to work on where a key that is in use is missing, or the values are another installation's: what is
    /// sealed could not be opened when it is needed.
    pub(crate) async fn check_keys(&self) -> Result<()> {
        for (key, values) in self.store.secrets_by_key().await? {
            if !self.keyring.has(key) {
                let known: Vec<String> = self.keyring.ids().map(|id| id.to_string()).collect();
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "a master key that secrets are sealed with is not there; give it as the master key, or as one of \
                     the older ones until a rotation has put its secrets under another. If it is lost, so are they: \
                     a process that does not host can remove them",
                )
                .with("key", key)
                .with("secrets", values)
                .with("known_keys", if known.is_empty() { "none".into() } else { known.join(", ") }));
            }
        }
        self.check_instance().await
    }

    /// All values are bound to the installation. One that opens is enough; where none does, it is not about one row.
    async fn check_instance(&self) -> Result<()> {
        let records = self.store.secrets(&SecretQuery::default()).await?;
        let mut sealed = records.iter().filter(|record| record.content.key().is_some()).peekable();
        if sealed.peek().is_none() || sealed.any(|record| self.open(record).is_ok()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            "no secret of the database can be opened although the keys are there: they belong to another installation; \
             put the file `owner` back that lay beside the database",
        )
        .with("installation", &self.instance))
    }

    fn binding<'a>(
        &'a self,
        scope: &'a SecretScope,
        name: &'a SecretName,
        version: NonZeroU32,
    ) -> Binding<'a> {
        Binding::Stored { instance: &self.instance, scope, name, version }
    }
}

#[async_trait]
impl SecretStore for SealedSecrets {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        reader: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        let scopes = reader.scopes();
        let rank = |record: &SecretRecord| scopes.iter().position(|scope| *scope == record.scope);
        let mut records = self.store.find_secrets(&scopes, names).await?;
        // The one that wins comes last.
        records.sort_by_key(|record| std::cmp::Reverse(rank(record)));
        let newest: BTreeMap<_, _> =
            records.into_iter().map(|record| (record.name.clone(), record)).collect();
        newest
            .into_iter()
            .map(|(name, record)| {
                let value = self.open(&record)?;
                let used = SecretUse {
                    name: name.clone(),
                    store: KIND.into(),
                    scope: Some(record.scope),
                    version: Some(record.version),
                };
                Ok((name, FoundSecret { value, used }))
            })
            .collect()
    }
}

/// Nothing can be sealed.
pub(crate) fn no_key() -> Error {
    Error::new(ErrorKind::Invalid, "there is no master key to seal secrets with: one has to be configured")
}
