//! The secrets of one attempt, on their way to its program.

use std::{collections::BTreeMap, fmt};

use crate::{
    pipeline::EnvName,
    secret::{Secret, SecretName},
};

/// The secrets of one attempt. Executors hand them to the shim in its order, and keep them nowhere.
///
/// ```
/// use fastflow_core::{executor::AttemptSecrets, secret::Secret};
///
/// let mut secrets = AttemptSecrets::default();
/// secrets.env.insert("TOKEN".parse().unwrap(), Secret::new("s3cret"));
/// assert_eq!(format!("{secrets:?}"), r#"AttemptSecrets { env: {"TOKEN"}, files: {} }"#);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct AttemptSecrets {
    /// Those that the program finds as variables; they win over all others.
    pub env: BTreeMap<EnvName, Secret>,
    /// Those that it finds as files, in the folder that `FASTFLOW_SECRETS_DIR` names.
    pub files: BTreeMap<SecretName, Secret>,
}

impl AttemptSecrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.files.is_empty()
    }
}

impl fmt::Debug for AttemptSecrets {
    /// Shows names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptSecrets")
            .field("env", &Names(self.env.keys().map(EnvName::as_str).collect()))
            .field("files", &Names(self.files.keys().map(SecretName::as_str).collect()))
            .finish()
    }
}

struct Names<'a>(Vec<&'a str>);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}
