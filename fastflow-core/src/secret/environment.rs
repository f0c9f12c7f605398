//! Secrets from variables of this process.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{FoundSecret, MAX_SECRET_BYTES, Secret, SecretName, SecretReader, SecretStore, SecretVariables};
use crate::{Error, ErrorKind, Result};

/// Variables of this process whose names begin with a prefix: the secret `TOKEN` is the variable `<prefix>TOKEN`.
///
/// The prefix says which variables pipelines may ask for at all, so there has to be one. All users of the machine with
/// this user's rights can read such variables in `/proc`. Programs of pipelines do not find them, nor do those that build
/// their packages.
///
/// ```
/// use fastflow_core::secret::EnvironmentSecrets;
///
/// let store = EnvironmentSecrets::new("PIPELINE_SECRET_").unwrap();
/// // Without one, every pipeline could ask for whatever this process was started with.
/// assert!(EnvironmentSecrets::new("").is_err());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvironmentSecrets {
    prefix: Box<str>,
}

impl EnvironmentSecrets {
    /// The variables whose names begin with `prefix`. They are looked at anew each time.
    ///
    /// # Errors
    ///
    /// `Invalid` for an empty prefix, and for one that no name of a variable can begin with.
    pub fn new(prefix: impl Into<Box<str>>) -> Result<Self> {
        let prefix = prefix.into();
        let plain = prefix.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
        if prefix.is_empty() || !plain {
            let message = "not a prefix of variables: visible ASCII characters without `=`, and at least one";
            return Err(Error::new(ErrorKind::Invalid, message).with("prefix", prefix.escape_debug()));
        }
        Ok(Self { prefix })
    }

    #[expect(clippy::disallowed_methods, reason = "its owner names the variables by their prefix")]
    fn value(&self, name: &SecretName) -> Result<Option<Secret>> {
        let variable = format!("{}{name}", self.prefix);
        let Some(value) = std::env::var_os(&variable) else { return Ok(None) };
        let wrong =
            |message: &'static str| Error::new(ErrorKind::Invalid, message).with("variable", &variable);
        let value = Secret::new(value.into_string().map_err(|_| wrong("the value is not UTF-8"))?);
        if value.expose().len() > MAX_SECRET_BYTES {
            return Err(
                wrong("the value is longer than a secret can be").with("at_most_bytes", MAX_SECRET_BYTES)
            );
        }
        Ok(Some(value))
    }
}

#[async_trait]
impl SecretStore for EnvironmentSecrets {
    fn kind(&self) -> &'static str {
        "environment"
    }

    fn variables(&self) -> SecretVariables {
        SecretVariables { prefixes: [self.prefix.to_string()].into(), ..SecretVariables::default() }
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        let mut found = BTreeMap::new();
        for name in names {
            if let Some(value) = self.value(name)? {
                found.insert(name.clone(), FoundSecret::secret(self.kind(), name.clone(), value));
            }
        }
        Ok(found)
    }
}
