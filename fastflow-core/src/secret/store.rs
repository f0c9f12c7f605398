//! Who has values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Secret, SecretName, SecretReader, SecretScope, SecretVariables};
use crate::Result;

/// Somebody who has secrets: the sealed ones in the database, the environment, a folder of files, another program.
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
/// use fastflow_core::{Result, secret::{FoundSecret, Secret, SecretName, SecretReader, SecretStore}};
///
/// #[derive(Debug)]
/// struct Keychain;
///
/// #[async_trait::async_trait]
/// impl SecretStore for Keychain {
///     fn kind(&self) -> &'static str {
///         "keychain"
///     }
///
///     async fn find(
///         &self,
///         names: &BTreeSet<SecretName>,
///         _: &SecretReader,
///     ) -> Result<BTreeMap<SecretName, FoundSecret>> {
///         let known = names.iter().filter(|name| name.as_str() == "TOKEN");
///         let found = |name: &SecretName| FoundSecret::secret(self.kind(), name.clone(), Secret::new("s3cret"));
///         Ok(known.map(|name| (name.clone(), found(name))).collect())
///     }
/// }
/// ```
#[async_trait]
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// What it is, for messages and for what a run keeps: `"sealed"`, `"environment"`.
    fn kind(&self) -> &'static str;

    /// The variables of this process that hold its secrets: other programs do not find them. None by default.
    fn variables(&self) -> SecretVariables {
        SecretVariables::default()
    }

    /// Those of `names` that it has for whoever asks. One that it does not have is left out; one that it has and cannot
    /// give is an error: somebody else's value must not take its place.
    ///
    /// # Errors
    ///
    /// `Unavailable` where another try may help; all others mean that there is none to be had. No error holds a value.
    ///
    /// # Cancel safety
    ///
    /// Has to be safe: a run that is cancelled drops it.
    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        reader: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>>;
}

/// A value that was found.
///
/// ```compile_fail,E0277
/// fn show(found: fastflow_core::secret::FoundSecret) {
///     println!("{:?}", found);
/// }
/// ```
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a secret that can be printed will be")]
pub struct FoundSecret {
    /// The value.
    pub value: SecretValue,
    /// Which one it is.
    pub used: SecretUse,
}

impl FoundSecret {
    /// A secret of a store that knows neither scopes nor versions.
    pub fn secret(store: &'static str, name: SecretName, value: Secret) -> Self {
        let used = SecretUse { name, store: store.into(), scope: None, version: None };
        Self { value: SecretValue::Secret(value), used }
    }
}

/// A value that pipelines ask for by its name.
///
/// ```
/// use fastflow_core::secret::SecretValue;
///
/// fn is_masked(value: &SecretValue) -> bool {
///     matches!(value, SecretValue::Secret(_))
/// }
/// # assert!(!is_masked(&SecretValue::Parameter("eu".into())));
/// ```
///
/// ```compile_fail,E0277
/// fn show(value: fastflow_core::secret::SecretValue) {
///     println!("{:?}", value);
/// }
/// ```
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a secret that can be printed will be")]
#[non_exhaustive]
pub enum SecretValue {
    /// Nobody may see it.
    Secret(Secret),
    /// Anybody may: it is kept beside the secrets, is not sealed and not masked.
    Parameter(String),
}

/// Which value an attempt got. Kept with the attempt.
///
/// ```
/// use fastflow_core::secret::{SecretScope, SecretUse};
///
/// let used = SecretUse {
///     name: "TOKEN".parse().unwrap(),
///     store: "sealed".into(),
///     scope: Some(SecretScope::Global),
///     version: std::num::NonZeroU32::new(3),
/// };
/// assert_eq!(used.to_string(), "TOKEN (sealed, global, version 3)");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Its name.
    pub name: SecretName,
    /// The kind of the store that had it, or `"encrypted_env"` for one that the pipeline brought.
    pub store: Box<str>,
    /// Whom it is for, where the store knows scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<SecretScope>,
    /// Which of its values it was, where the store counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<NonZeroU32>,
}

impl fmt::Display for SecretUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.store)?;
        if let Some(scope) = &self.scope {
            write!(f, ", {scope}")?;
        }
        if let Some(version) = self.version {
            write!(f, ", version {version}")?;
        }
        f.write_str(")")
    }
}
