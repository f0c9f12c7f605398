//! What runs execute: each distinct content is stored once, by its hash.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use super::codec::{self, Columns};
use crate::{Result, run::RunSpec};

/// The most specs kept in memory. A spec is a few hundred bytes; a host rarely has more pipelines than this.
const KNOWN_MAX: usize = 16_384;
/// The most specs whose text and hash are kept in memory, by the value that was submitted.
const PREPARED_MAX: usize = 128;

const SELECT_SPECS: &str =
    "SELECT s.id, s.body FROM json_each($1) AS wanted CROSS JOIN specs AS s ON s.id = wanted.value";

/// The row of a spec.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SpecId(pub(super) i64);

/// A spec ready to be stored.
#[derive(Clone, Debug)]
pub(super) struct PreparedSpec {
    pub(super) spec: Arc<RunSpec>,
    pub(super) hash: [u8; 32],
    pub(super) body: Arc<str>,
}

/// Specs in memory. Only what is committed gets in, and a committed spec never changes.
#[derive(Debug, Default)]
pub(super) struct Specs {
    known: Mutex<HashMap<SpecId, Arc<RunSpec>>>,
    /// By address; the value inside keeps the address from being used again.
    prepared: Mutex<HashMap<usize, PreparedSpec>>,
}

impl Specs {
    /// The text and hash of a spec, made once for the same `Arc`.
    pub(super) fn prepare(&self, spec: &Arc<RunSpec>) -> Result<PreparedSpec> {
        let address = Arc::as_ptr(spec).addr();
        {
            let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = prepared.get(&address) {
                return Ok(found.clone());
            }
        }
        let body: Arc<str> = codec::to_json(&**spec)?.into();
        let made =
            PreparedSpec { spec: Arc::clone(spec), hash: Sha256::digest(body.as_bytes()).into(), body };
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut prepared, PREPARED_MAX);
        prepared.insert(address, made.clone());
        Ok(made)
    }

    /// The specs of these rows that are in memory, and the rows of the others.
    pub(super) fn known(&self, ids: &[SpecId]) -> (HashMap<SpecId, Arc<RunSpec>>, Vec<SpecId>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for id in ids {
            match known.get(id) {
                Some(spec) => drop(found.insert(*id, Arc::clone(spec))),
                None => missing.push(*id),
            }
        }
        (found, missing)
    }

    pub(super) fn learn(&self, id: SpecId, spec: &Arc<RunSpec>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut known, KNOWN_MAX);
        known.insert(id, Arc::clone(spec));
    }

    /// Reads specs from the database. The outer error is the database's, the inner one says what it holds.
    pub(super) async fn load(
        &self,
        connection: &mut SqliteConnection,
        missing: &[SpecId],
    ) -> std::result::Result<Result<Vec<(SpecId, Arc<RunSpec>)>>, sqlx::Error> {
        let ids: Vec<i64> = missing.iter().map(|id| id.0).collect();
        let ids = serde_json::Value::from(ids).to_string();
        let rows = sqlx::query(SELECT_SPECS).bind(ids).fetch_all(connection).await?;
        Ok(rows
            .iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                let id = SpecId(columns.int()?);
                Ok((id, Arc::new(codec::from_json::<RunSpec>(columns.text()?)?)))
            })
            .collect::<Result<Vec<_>>>()
            .inspect(|loaded| loaded.iter().for_each(|(id, spec)| self.learn(*id, spec))))
    }
}

/// Drops some entry when a cache is full: which one matters little, since all can be had again.
fn make_room<K: Copy + Eq + std::hash::Hash, V>(cache: &mut HashMap<K, V>, max: usize) {
    if cache.len() >= max
        && let Some(key) = cache.keys().next().copied()
    {
        cache.remove(&key);
    }
}
