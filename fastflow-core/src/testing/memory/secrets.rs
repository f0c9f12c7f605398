//! Sealed values and parameters.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use super::World;
use crate::{
    Result, Timestamp,
    secret::{MasterKeyId, SecretName, SecretScope},
    store::{
        PutSecret, ResealSecret, SecretContent, SecretLastUse, SecretQuery, SecretRecord, SecretVersion,
        Step, keep, whole_micros,
    },
};

/// Scope and name as texts: in the order of these, values are listed.
type Place = (String, String);

/// What is kept of secrets.
#[derive(Debug, Default)]
pub(super) struct Vault {
    values: BTreeMap<Place, SecretRecord>,
    /// Oldest first; they stay when a value is removed.
    versions: BTreeMap<Place, Vec<SecretVersion>>,
}

fn place(scope: &SecretScope, name: &SecretName) -> Place {
    (scope.to_string(), name.to_string())
}

impl Vault {
    fn end(&mut self, place: &Place, at: Timestamp) {
        if let Some(newest) = self.versions.get_mut(place).and_then(|versions| versions.last_mut()) {
            newest.ended_at.get_or_insert(whole_micros(at));
        }
    }
}

impl World {
    pub(super) fn put_secret(&mut self, put: PutSecret) -> Result<()> {
        let place = place(&put.scope, &put.name);
        let newest = self.vault.versions.get(&place).and_then(|versions| versions.last());
        keep::check_version(&put, newest.map_or(0, |newest| newest.version.get()))?;
        self.vault.end(&place, put.at);
        let PutSecret { scope, name, version, content, at } = put;
        let put_at = whole_micros(at);
        let is_sealed = matches!(content, SecretContent::Sealed(_));
        let kept = SecretVersion { version, is_sealed, put_at, ended_at: None };
        self.vault.versions.entry(place.clone()).or_default().push(kept);
        let record = SecretRecord { scope, name, version, content, put_at, last_use: None, is_newest: true };
        self.vault.values.insert(place, record);
        Ok(())
    }

    pub(super) fn find_secrets(
        &self,
        scopes: &[SecretScope],
        names: &BTreeSet<SecretName>,
    ) -> Vec<SecretRecord> {
        let wanted = |record: &&SecretRecord| scopes.contains(&record.scope) && names.contains(&record.name);
        self.vault.values.values().filter(wanted).cloned().collect()
    }

    pub(super) fn secrets(&self, query: &SecretQuery) -> Vec<SecretRecord> {
        let after = query.after.as_ref().map(|(scope, name)| place(scope, name));
        let comes_after = |at: &Place| after.as_ref().is_none_or(|after| at > after);
        let is_wanted = |record: &SecretRecord| {
            query.scope.as_ref().is_none_or(|scope| record.scope == *scope)
                && query.not_under.is_none_or(|key| record.content.key().is_some_and(|under| under != key))
        };
        let wanted = self.vault.values.iter().filter(|(at, record)| comes_after(at) && is_wanted(record));
        let limit = query.limit.min(SecretQuery::MAX_LIMIT).get() as usize;
        wanted.take(limit).map(|(_, record)| record.clone()).collect()
    }

    pub(super) fn secret_versions(&self, scope: &SecretScope, name: &SecretName) -> Vec<SecretVersion> {
        let versions = self.vault.versions.get(&place(scope, name)).into_iter().flatten().rev();
        versions.take(SecretQuery::MAX_LIMIT.get() as usize).cloned().collect()
    }

    pub(super) fn remove_secret(
        &mut self,
        scope: &SecretScope,
        name: &SecretName,
        at: Timestamp,
    ) -> Result<()> {
        let place = place(scope, name);
        self.vault.values.remove(&place).ok_or_else(|| keep::no_such_secret(scope, name))?;
        self.vault.end(&place, at);
        Ok(())
    }

    pub(super) fn reseal_secret(&mut self, reseal: ResealSecret) -> bool {
        let found = self.vault.values.get_mut(&place(&reseal.scope, &reseal.name));
        let from = SecretContent::Sealed(reseal.from);
        let Some(record) = found.filter(|record| record.version == reseal.version && record.content == from)
        else {
            return false;
        };
        record.content = SecretContent::Sealed(reseal.to);
        true
    }

    pub(super) fn secrets_by_key(&self) -> BTreeMap<MasterKeyId, u64> {
        let mut by_key = BTreeMap::new();
        for key in self.vault.values.values().filter_map(|record| record.content.key()) {
            *by_key.entry(key).or_default() += 1;
        }
        by_key
    }

    /// Notes the last use of what an attempt gets whose start a step records.
    pub(super) fn use_secrets(&mut self, step: &Step) {
        let new = SecretLastUse { at: whole_micros(step.at), run: step.run };
        for (scope, name, version) in keep::given(step) {
            if let Some(record) = self.vault.values.get_mut(&place(scope, name))
                && is_newer_use(record, version, new)
            {
                record.last_use = Some(new);
            }
        }
    }
}

fn is_newer_use(record: &SecretRecord, version: NonZeroU32, new: SecretLastUse) -> bool {
    record.version == version && record.last_use.is_none_or(|last| last.at <= new.at)
}
