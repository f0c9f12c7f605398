//! Secrets from whichever of several stores has them first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{FoundSecret, SecretName, SecretReader, SecretStore, SecretVariables};
use crate::Result;

/// Several stores, of which the first that has a name wins. The later ones are not asked for it.
///
/// A store that cannot be asked fails the whole: nobody knows whether it has the name, and another one's value must not
/// take the place of its own.
///
/// ```
/// use std::sync::Arc;
/// use fastflow_core::secret::{ChainedSecrets, DirectorySecrets, EnvironmentSecrets};
///
/// let store = ChainedSecrets::new([
///     Arc::new(DirectorySecrets::new("/run/secrets")) as _,
///     Arc::new(EnvironmentSecrets::new("PIPELINE_SECRET_").unwrap()) as _,
/// ]);
/// ```
#[derive(Clone, Debug)]
pub struct ChainedSecrets {
    stores: Vec<Arc<dyn SecretStore>>,
}

impl ChainedSecrets {
    /// These stores, the one that wins first.
    pub fn new(stores: impl IntoIterator<Item = Arc<dyn SecretStore>>) -> Self {
        Self { stores: stores.into_iter().collect() }
    }
}

#[async_trait]
impl SecretStore for ChainedSecrets {
    /// What is found says itself which of the stores had it.
    fn kind(&self) -> &'static str {
        "chain"
    }

    fn variables(&self) -> SecretVariables {
        let each = self.stores.iter().map(|store| store.variables());
        each.fold(SecretVariables::default(), SecretVariables::and)
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        reader: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        let (mut open, mut all) = (names.clone(), BTreeMap::new());
        for store in &self.stores {
            if open.is_empty() {
                break;
            }
            let mut found = store.find(&open, reader).await?;
            // What a store gives without being asked is nothing that anybody named.
            found.retain(|name, _| open.remove(name));
            all.append(&mut found);
        }
        Ok(all)
    }
}
