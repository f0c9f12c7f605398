//! The secrets of an installation, as its host program keeps them.

use std::{collections::BTreeMap, num::NonZeroU32};

use super::Orchestrator;
use crate::{
    Error, ErrorKind, PipelineName, Result, Timestamp,
    pipeline::EnvName,
    secret::{
        MIN_MASKED_BYTES, MasterKeyId, Rotation, SealedSecrets, Secret, SecretName, SecretScope, SecretValue,
        no_key, seal_text,
    },
    store::{SecretContent, SecretLastUse, SecretQuery, SecretRecord, SecretVersion},
};

/// The secrets of an installation. Values go in here and do not come out again, but for
/// [`reveal`](Self::reveal), which the host program alone can call.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// use fastflow_core::secret::{Secret, SecretScope};
///
/// let name = "DATABASE_URL".parse()?;
/// let set = flow.secrets().set(&SecretScope::Global, &name, Secret::new("postgres://…")).await?;
/// println!("version {}", set.version);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Secrets<'a> {
    flow: &'a Orchestrator,
}

/// What became of a value that was set.
///
/// ```
/// fn warn(set: &fastflow_core::orchestrator::SetSecret) {
///     if !set.is_masked {
///         eprintln!("too short to be masked in logs");
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SetSecret {
    /// Which value it is: the first has 1.
    pub version: NonZeroU32,
    /// Whether it is long enough to be masked in logs. A parameter is not masked at all.
    pub is_masked: bool,
}

/// What is known of a value that pipelines can name, but for the value of a secret.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// for secret in flow.secrets().list(&Default::default()).await? {
///     println!("{} {} version {}", secret.scope, secret.name, secret.version);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SecretInfo {
    /// Whom it is for.
    pub scope: SecretScope,
    /// Its name.
    pub name: SecretName,
    /// Counts its values, those before a removal included.
    pub version: NonZeroU32,
    /// The value, of a parameter.
    pub parameter: Option<String>,
    /// The master key that it is sealed with, of a secret.
    pub key: Option<MasterKeyId>,
    /// When this value was set.
    pub set_at: Timestamp,
    /// When an attempt last got this value, and of which run.
    pub last_use: Option<SecretLastUse>,
    /// Whether it is the newest that there ever was under its scope and name. One that is not was put back by somebody,
    /// and no attempt gets it: set it anew, or remove it.
    pub is_newest: bool,
}

/// A master key, and what it is used for.
///
/// ```
/// fn can_go(key: &fastflow_core::orchestrator::MasterKeyUse) -> bool {
///     key.values == 0 && !key.seals
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MasterKeyUse {
    /// The key.
    pub key: MasterKeyId,
    /// How many stored values are sealed with it. Sealed text in pipelines is not counted.
    pub values: u64,
    /// Whether this host has it.
    pub is_there: bool,
    /// Whether it is the one that new values are sealed with.
    pub seals: bool,
}

/// A name for which a pipeline wants a value.
///
/// ```no_run
/// # async fn example(flow: fastflow_core::Orchestrator) -> fastflow_core::Result<()> {
/// for wanted in flow.secrets().wanted().await? {
///     println!("{} wants {}", wanted.pipeline, wanted.variable);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WantedSecret {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The name.
    pub variable: EnvName,
    /// Whether the pipeline brings a sealed value itself, in its `encrypted_env`.
    pub is_brought: bool,
    /// The scopes under which the store has a value for it, the one that wins last. Other stores are not asked.
    pub stored: Vec<SecretScope>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(flow: &'a Orchestrator) -> Self {
        Self { flow }
    }

    fn sealed(self) -> &'a SealedSecrets {
        &self.flow.inner.ports.sealed
    }

    /// Sets a secret, in the place of what there was. Attempts that start from now on get it.
    ///
    /// # Errors
    ///
    /// `Invalid` without a master key, for a value that no program could get, or for the scope of code, which has global
    /// secrets only; `Unavailable`, `StorageFull` when nothing can be written now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old value or the new one.
    pub async fn set(&self, scope: &SecretScope, name: &SecretName, secret: Secret) -> Result<SetSecret> {
        check_scope(scope)?;
        let version = self.sealed().put(scope, name, &secret).await?;
        let is_masked = secret.expose().len() >= MIN_MASKED_BYTES;
        if !is_masked {
            tracing::warn!(
                secret = %name,
                %scope,
                min_bytes = MIN_MASKED_BYTES,
                "a secret this short is not masked in logs"
            );
        }
        Ok(SetSecret { version, is_masked })
    }

    /// Sets a value that anybody may see, for pipelines to name beside secrets. It is neither sealed nor masked.
    ///
    /// # Errors
    ///
    /// `Invalid` for a value that no program could get, or for the scope of code; `Unavailable`, `StorageFull` when
    /// nothing can be written now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old value or the new one.
    pub async fn set_parameter(
        &self,
        scope: &SecretScope,
        name: &SecretName,
        value: &str,
    ) -> Result<SetSecret> {
        check_scope(scope)?;
        let version = self.sealed().put_parameter(scope, name, value).await?;
        Ok(SetSecret { version, is_masked: false })
    }

    /// Removes a value. Attempts that start from now on and want it do not start.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Unavailable`, `StorageFull` when nothing can be written now.
    pub async fn remove(&self, scope: &SecretScope, name: &SecretName) -> Result<()> {
        let sealed = self.sealed();
        sealed.store.remove_secret(scope, name, sealed.clock.now()).await
    }

    /// What there is, by scope and name.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    pub async fn list(&self, query: &SecretQuery) -> Result<Vec<SecretInfo>> {
        let records = self.sealed().store.secrets(query).await?;
        Ok(records.into_iter().map(SecretInfo::from).collect())
    }

    /// The values that there are and were under a scope and name, newest first. The values themselves are not kept.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    pub async fn versions(&self, scope: &SecretScope, name: &SecretName) -> Result<Vec<SecretVersion>> {
        self.sealed().store.secret_versions(scope, name).await
    }

    /// The value itself, for the host program. Nothing else in Fast-Flow calls this.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Invalid` when it cannot be opened; `Unavailable` when the store cannot be read now.
    pub async fn reveal(&self, scope: &SecretScope, name: &SecretName) -> Result<Secret> {
        let sealed = self.sealed();
        let names = [name.clone()].into();
        let found = sealed.store.find_secrets(std::slice::from_ref(scope), &names).await?;
        let record = found.first().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such secret")
                .with("secret", name)
                .with("scope", scope)
        })?;
        Ok(match sealed.open(record)? {
            SecretValue::Secret(secret) => secret,
            SecretValue::Parameter(value) => Secret::new(value),
        })
    }

    /// Puts every stored secret under the key that seals now. Each is readable all the time; a call that ends in the
    /// middle is gone on with by the next. Sealed text in pipelines stays as it is.
    ///
    /// # Errors
    ///
    /// `Invalid` without a master key; `Unavailable`, `StorageFull` when nothing can be read or written now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves some under the new key, and the others under theirs.
    pub async fn rotate(&self) -> Result<Rotation> {
        self.sealed().rotate().await
    }

    /// The master keys that this host has or that stored secrets need. One that stored secrets need cannot be dropped: a
    /// host without it does not start.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store cannot be read now.
    pub async fn keys(&self) -> Result<Vec<MasterKeyUse>> {
        let sealed = self.sealed();
        let mut values = sealed.store.secrets_by_key().await?;
        for key in sealed.keyring.ids() {
            values.entry(key).or_default();
        }
        let newest = sealed.keyring.newest();
        let used = |(key, values)| MasterKeyUse {
            key,
            values,
            is_there: sealed.keyring.has(key),
            seals: newest == Some(key),
        };
        Ok(values.into_iter().map(used).collect())
    }

    /// A sealed text for `encrypted_env` of a `pipeline.json`: only this pipeline can use it, under this name, on a host
    /// that has the master key.
    ///
    /// # Errors
    ///
    /// `Invalid` without a master key, for a value that no program could get, or for a name of code, which has no
    /// `encrypted_env`.
    pub fn seal_text(&self, pipeline: &PipelineName, variable: &EnvName, secret: &Secret) -> Result<String> {
        check_scope(&SecretScope::Pipeline(pipeline.clone()))?;
        let sealed = self.sealed();
        if sealed.keyring.newest().is_none() {
            return Err(no_key());
        }
        seal_text(&sealed.keyring, pipeline, variable, secret, &*sealed.entropy)
    }

    /// Which names the pipelines that are shown now want, and whether the store has values for them.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the source or the store cannot be read now.
    pub async fn wanted(&self) -> Result<Vec<WantedSecret>> {
        let ports = &self.flow.inner.ports;
        let catalog = ports.source.catalog().await?;
        let stored = self.stored().await?;
        let mut wanted = Vec::new();
        for found in catalog.entries.iter().filter_map(|entry| entry.pipeline.as_ref().ok()) {
            let (pipeline, definition) = (&found.pipeline.name, &found.pipeline.definition);
            let entries = definition.schedules.iter().flat_map(|entry| entry.encrypted_env.keys());
            let stored_names = definition.secrets.iter().map(SecretName::variable);
            let mut names: BTreeMap<&EnvName, bool> = stored_names.map(|name| (name, false)).collect();
            names.extend(definition.encrypted_env.keys().chain(entries).map(|name| (name, true)));
            wanted.extend(names.into_iter().map(|(variable, is_brought)| WantedSecret {
                pipeline: pipeline.clone(),
                variable: variable.clone(),
                is_brought,
                stored: stored_for(&stored, pipeline, variable),
            }));
        }
        Ok(wanted)
    }

    /// Under which scopes each name is stored.
    async fn stored(&self) -> Result<BTreeMap<String, Vec<SecretScope>>> {
        let mut stored: BTreeMap<String, Vec<SecretScope>> = BTreeMap::new();
        let mut query = SecretQuery { limit: SecretQuery::MAX_LIMIT, ..SecretQuery::default() };
        loop {
            let records = self.sealed().store.secrets(&query).await?;
            let Some(last) = records.last() else { return Ok(stored) };
            query.after = Some((last.scope.clone(), last.name.clone()));
            for record in records {
                stored.entry(record.name.into()).or_default().push(record.scope);
            }
        }
    }
}

/// Nobody could read a value in the scope of code.
fn check_scope(scope: &SecretScope) -> Result<()> {
    if !scope.is_of_code() {
        return Ok(());
    }
    let message =
        "code that is in no source has global secrets only: its name is chosen by whoever submits it";
    Err(Error::new(ErrorKind::Invalid, message).with("scope", scope))
}

/// Those that a run of this pipeline could have.
fn stored_for(
    stored: &BTreeMap<String, Vec<SecretScope>>,
    pipeline: &PipelineName,
    variable: &EnvName,
) -> Vec<SecretScope> {
    let is_for = |scope: &&SecretScope| match scope {
        SecretScope::Global => true,
        SecretScope::Pipeline(name) => name == pipeline,
        SecretScope::Schedule(id) => id.pipeline == *pipeline,
    };
    let scopes = stored.get(variable.as_str()).into_iter().flatten();
    let mut scopes: Vec<SecretScope> = scopes.filter(is_for).cloned().collect();
    scopes.sort();
    scopes
}

impl From<SecretRecord> for SecretInfo {
    fn from(record: SecretRecord) -> Self {
        let key = record.content.key();
        Self {
            scope: record.scope,
            name: record.name,
            version: record.version,
            parameter: match record.content {
                SecretContent::Parameter(value) => Some(value),
                SecretContent::Sealed(_) => None,
            },
            key,
            set_at: record.put_at,
            last_use: record.last_use,
            is_newest: record.is_newest,
        }
    }
}
