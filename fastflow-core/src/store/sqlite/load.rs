//! What the writer reads before it decides.

use std::collections::HashSet;

use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    batch::{Batch, Entry, Next, row_mark},
    codec::{Columns, hex},
    fault::Fault,
    runs::{RunRow, SELECT_DUE, SELECT_DUE_WITHOUT, SELECT_OPEN, SELECT_RECORDS},
    specs::SpecId,
    writer::{Command, Writer},
};
use crate::{ErrorKind, ExecutorName, Result, RunId, run::RunState, store::Claim};

/// The most runs that one claim takes.
const CLAIM_MAX: i64 = 1024;

const SELECT_NEXT: &str =
    "SELECT (SELECT coalesce(max(id), 0) FROM pipelines), (SELECT coalesce(max(id), 0) FROM specs),
     (SELECT coalesce(max(id), 0) FROM events)";
const SELECT_KEYS: &str = "SELECT r.key, r.id FROM json_each($1) AS wanted CROSS JOIN runs AS r ON r.key = wanted.value AND r.key IS NOT NULL";
const SELECT_PIPELINE_ROWS: &str =
    "SELECT p.name, p.id FROM json_each($1) AS wanted CROSS JOIN pipelines AS p ON p.name = wanted.value";
const SELECT_SPEC_ROWS: &str = "SELECT lower(hex(s.hash)), s.id FROM json_each($1) AS wanted CROSS JOIN specs AS s ON s.hash = unhex(wanted.value)";

impl Writer {
    /// A batch that knows everything the commands speak of, and the runs that each claim gets.
    pub(super) async fn load(&mut self, commands: &[Command]) -> Result<(Batch, Vec<Vec<RunId>>), Fault> {
        let mut batch = Batch::after(self.next);
        let mut missing = Vec::new();
        let mut keys = Vec::new();
        let mut take_over = false;
        let mut claims = Vec::new();
        for command in commands {
            match command {
                Command::Create { new, spec, .. } => {
                    missing.push(hex(new.id.as_bytes()));
                    keys.extend(new.key.as_ref().map(|key| key.as_str().to_owned()));
                    let name = &new.spec.pipeline.name;
                    if let Some(id) = self.pipelines.get(name) {
                        batch.pipelines.insert(name.clone(), *id);
                    }
                    if let Some(id) = self.spec_rows.get(&spec.hash) {
                        batch.specs.insert(spec.hash, *id);
                    }
                }
                Command::Advance { step, .. } => match self.open.remove(&step.run) {
                    Some(entry) => drop(batch.runs.insert(step.run, entry)),
                    None if batch.runs.contains_key(&step.run) => {}
                    None => missing.push(hex(step.run.as_bytes())),
                },
                Command::Claim { claim, .. } => claims.push(Wanted::of(claim)),
                Command::TakeOver { .. } => take_over = true,
                Command::PutCatalog { .. } | Command::Close { .. } => {}
            }
        }
        if !missing.is_empty() {
            self.load_records(&mut batch, SELECT_RECORDS, Some(missing)).await?;
        }
        if take_over {
            self.load_records(&mut batch, SELECT_OPEN, None).await?;
        }
        if !keys.is_empty() {
            for row in self.select(SELECT_KEYS, &keys).await? {
                let mut columns = Columns::of(&row);
                let key = columns.text().map(str::to_owned).map_err(|error| self.damaged(&error))?;
                let id = columns.run_id().map_err(|error| self.damaged(&error))?;
                batch.keys.insert(key, id);
            }
        }
        self.load_rows(&mut batch, commands).await?;
        let claimed = self.choose(&mut batch, &claims).await?;
        Ok((batch, claimed))
    }

    /// The rows of pipelines and specs that are not in memory.
    async fn load_rows(&mut self, batch: &mut Batch, commands: &[Command]) -> Result<(), Fault> {
        let creates = || {
            commands.iter().filter_map(|command| match command {
                Command::Create { new, spec, .. } => Some((&new.spec.pipeline.name, spec.hash)),
                _ => None,
            })
        };
        let names: HashSet<String> = creates()
            .filter(|(name, _)| !batch.pipelines.contains_key(name))
            .map(|(name, _)| name.as_str().to_owned())
            .collect();
        if !names.is_empty() {
            for row in self.select(SELECT_PIPELINE_ROWS, &names.into_iter().collect::<Vec<_>>()).await? {
                let mut columns = Columns::of(&row);
                let name = columns.text().and_then(str::parse).map_err(|error| self.damaged(&error))?;
                let id = columns.int().map_err(|error| self.damaged(&error))?;
                batch.pipelines.insert(name, id);
            }
        }
        let hashes: HashSet<[u8; 32]> =
            creates().map(|(_, hash)| hash).filter(|hash| !batch.specs.contains_key(hash)).collect();
        if !hashes.is_empty() {
            let wanted: Vec<String> = hashes.iter().map(|hash| hex(hash)).collect();
            for row in self.select(SELECT_SPEC_ROWS, &wanted).await? {
                let mut columns = Columns::of(&row);
                let text = columns.text().map_err(|error| self.damaged(&error))?;
                let id = columns.int().map_err(|error| self.damaged(&error))?;
                if let Some(hash) = hashes.iter().find(|hash| hex(*hash) == text) {
                    batch.specs.insert(*hash, SpecId(id));
                }
            }
        }
        Ok(())
    }

    async fn load_records(
        &mut self,
        batch: &mut Batch,
        text: &'static str,
        ids: Option<Vec<String>>,
    ) -> Result<(), Fault> {
        let rows = if let Some(ids) = ids {
            self.select(text, &ids).await?
        } else {
            let connection = self.connection().await?;
            let rows = sqlx::query(text).fetch_all(connection).await;
            rows.map_err(|error| self.fault(&error))?
        };
        self.decode(batch, &rows).await.map(drop)
    }

    /// Puts rows into the batch and says which runs they are. A run that is in it already stays as it is there.
    async fn decode(&mut self, batch: &mut Batch, rows: &[SqliteRow]) -> Result<Vec<RunId>, Fault> {
        let rows = rows.iter().map(RunRow::with_attempt).collect::<Result<Vec<_>>>();
        let rows = rows.map_err(|error| self.damaged(&error))?;
        let wanted: Vec<SpecId> = rows.iter().map(|row| row.spec).collect();
        let (mut specs, missing) = self.shared.specs.known(&wanted);
        if !missing.is_empty() {
            let shared = std::sync::Arc::clone(&self.shared);
            let connection = self.connection().await?;
            let loaded = shared.specs.load(connection, &missing).await;
            let loaded = loaded.map_err(|error| self.fault(&error))?.map_err(|error| self.damaged(&error))?;
            specs.extend(loaded);
        }
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let (pipeline, spec) = (row.pipeline, row.spec);
            let record = row.into_record(&specs).map_err(|error| self.damaged(&error))?;
            let id = record.run.id;
            ids.push(id);
            let mark = row_mark(&record.run);
            batch.runs.entry(id).or_insert(Entry { record, pipeline, spec, row: Some(mark) });
        }
        Ok(ids)
    }

    /// Chooses the runs of each claim. Those that leave nothing out share one read, since they are alike but for
    /// microseconds.
    async fn choose(&mut self, batch: &mut Batch, claims: &[Wanted]) -> Result<Vec<Vec<RunId>>, Fault> {
        let latest = claims.iter().filter(|claim| claim.without.is_none()).map(|claim| claim.at).max();
        let total: i64 = claims.iter().map(|claim| claim.limit).sum();
        let mut free = match latest {
            Some(latest) => self.due(batch, &Wanted { at: latest, limit: total, without: None }).await?,
            None => Vec::new(),
        };
        let cut_off = i64::try_from(free.len()).unwrap_or(i64::MAX) >= total;
        let mut taken = HashSet::new();
        let mut chosen = Vec::with_capacity(claims.len());
        for claim in claims {
            let mut mine = Vec::new();
            if claim.without.is_none() {
                choose_from(&mut free, batch, claim, &mut mine);
                taken.extend(mine.iter().copied());
            }
            // What is due for this claim may stand behind what is only due for a later one.
            let may_stand_behind = cut_off && latest.is_some_and(|latest| claim.at < latest);
            let read_on = claim.without.is_some() || may_stand_behind;
            if read_on && (mine.len() as u64) < claim.limit.unsigned_abs() {
                let limit = total.saturating_add(i64::try_from(taken.len()).unwrap_or(i64::MAX));
                let mut more = self.due(batch, &Wanted { limit, ..claim.clone() }).await?;
                more.retain(|id| !taken.contains(id));
                choose_from(&mut more, batch, claim, &mut mine);
                taken.extend(mine.iter().copied());
                free.retain(|id| !taken.contains(id));
            }
            chosen.push(mine);
        }
        Ok(chosen)
    }

    async fn due(&mut self, batch: &mut Batch, wanted: &Wanted) -> Result<Vec<RunId>, Fault> {
        let connection = self.connection().await?;
        let text = if wanted.without.is_some() { SELECT_DUE_WITHOUT } else { SELECT_DUE };
        let mut query = sqlx::query(text).bind(wanted.at).bind(wanted.limit);
        if let Some(without) = &wanted.without {
            query = query.bind(without.clone());
        }
        let rows = query.fetch_all(connection).await.map_err(|error| self.fault(&error))?;
        self.decode(batch, &rows).await
    }

    /// Reads the next free ids.
    pub(super) async fn load_next(&mut self) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let row = sqlx::query(SELECT_NEXT).fetch_one(connection).await.map_err(|error| self.fault(&error))?;
        let mut columns = Columns::of(&row);
        let next = (|| {
            Ok(Next {
                pipeline: columns.int()? + 1,
                spec: columns.int()? + 1,
                event: columns.count::<u64>()? + 1,
            })
        })();
        self.next = next.map_err(|error: crate::Error| self.damaged(&error))?;
        Ok(())
    }

    /// Rows for a list of texts.
    async fn select(&mut self, text: &'static str, wanted: &[String]) -> Result<Vec<SqliteRow>, Fault> {
        let wanted = serde_json::Value::from(wanted).to_string();
        let connection: &mut SqliteConnection = self.connection().await?;
        let rows = sqlx::query(text).bind(wanted).fetch_all(connection).await;
        rows.map_err(|error| self.fault(&error))
    }

    fn damaged(&self, error: &crate::Error) -> Fault {
        tracing::error!(error = %error.chain(), "the database holds something that was never written");
        Fault::new(
            ErrorKind::Corrupt,
            "the database holds something that was never written; put a backup in its place",
            &self.shared.path,
        )
    }
}

/// A claim in the words of the database.
#[derive(Clone, Debug)]
struct Wanted {
    at: i64,
    limit: i64,
    /// The executors that are left out, as a list in JSON; none where nothing is.
    without: Option<String>,
}

impl Wanted {
    fn of(claim: &Claim) -> Self {
        let without = || {
            let names: Vec<&str> = claim.without.iter().map(ExecutorName::as_str).collect();
            serde_json::Value::from(names).to_string()
        };
        Self {
            at: claim.at.as_microsecond(),
            limit: i64::from(claim.limit.get()).min(CLAIM_MAX),
            without: (!claim.without.is_empty()).then(without),
        }
    }
}

/// Moves the best runs that are due for `claim` from `free` to `mine`, until it has as many as it may.
fn choose_from(free: &mut Vec<RunId>, batch: &Batch, claim: &Wanted, mine: &mut Vec<RunId>) {
    free.retain(|id| {
        let due = batch.runs.get(id).is_some_and(|entry| {
            matches!(entry.record.run.state, RunState::Queued { not_before } if not_before.as_microsecond() <= claim.at)
        });
        let take = due && (mine.len() as u64) < claim.limit.unsigned_abs();
        if take {
            mine.push(*id);
        }
        !take
    });
}
