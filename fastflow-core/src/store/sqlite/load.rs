//! What the writer reads before it decides.

use std::collections::{HashMap, HashSet};

use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    batch::{Batch, Entry, Next, ScheduleRow, row_mark},
    codec::{self, Columns, hex, unhex},
    command::Command,
    fault::Fault,
    runs::{RunRow, SELECT_OPEN, SELECT_RECORDS},
    specs::{PreparedSpec, SpecId},
    writer::Writer,
};
use crate::{
    ErrorKind, PipelineName, Result, RunId, ScheduleId,
    pipeline::WhenFull,
    run::{NewRun, Origin, RunSpec, Status},
    store::{Claim, FollowUpAction, Step},
};

const SELECT_NEXT: &str =
    "SELECT (SELECT coalesce(max(id), 0) FROM pipelines), (SELECT coalesce(max(id), 0) FROM specs),
     (SELECT coalesce(max(id), 0) FROM events)";
const SELECT_KEYS: &str = "SELECT r.key, r.id FROM json_each($1) AS wanted CROSS JOIN runs AS r ON r.key = wanted.value AND r.key IS NOT NULL";
const SELECT_PIPELINE_ROWS: &str =
    "SELECT p.name, p.id FROM json_each($1) AS wanted CROSS JOIN pipelines AS p ON p.name = wanted.value";
const SELECT_SPEC_ROWS: &str = "SELECT lower(hex(s.hash)), s.id FROM json_each($1) AS wanted CROSS JOIN specs AS s ON s.hash = unhex(wanted.value)";

/// The unfinished runs of some pipelines, by their names, oldest first.
const SELECT_UNFINISHED: &str = "
SELECT p.name, r.id FROM json_each($1) AS wanted CROSS JOIN pipelines AS p ON p.name = wanted.value
CROSS JOIN runs AS r ON r.pipeline = p.id AND r.status IN (0, 1) ORDER BY r.id";
/// The rows of some schedules.
pub(super) const SELECT_SCHEDULE_ROWS: &str = "
SELECT s.name, s.id, s.generation, s.cursor FROM json_each($1) AS wanted
CROSS JOIN schedules AS s ON s.name = wanted.value AND s.removed = 0";
/// All runs of some chains, first to last.
pub(super) const SELECT_CHAINS: &str = "
SELECT wanted.value, p.name, r.status, r.submission->'$.origin.join' IS NOT NULL
FROM json_each($1) AS wanted CROSS JOIN runs AS r ON r.id = unhex(wanted.value)
CROSS JOIN pipelines AS p ON p.id = r.pipeline
UNION ALL
SELECT wanted.value, p.name, r.status, r.submission->'$.origin.join' IS NOT NULL
FROM json_each($1) AS wanted CROSS JOIN runs AS r INDEXED BY runs_chain ON r.chain = unhex(wanted.value)
CROSS JOIN pipelines AS p ON p.id = r.pipeline";
/// What the commands of a batch speak of, and the batch must know.
#[derive(Default)]
struct Named<'a> {
    runs: Vec<String>,
    keys: Vec<String>,
    new: Vec<(&'a NewRun, &'a PreparedSpec)>,
    schedules: Vec<String>,
    /// Runs whose end may wait for others of their chain.
    joins: Vec<RunId>,
    claims: Vec<&'a Claim>,
    take_over: bool,
}

impl<'a> Named<'a> {
    fn create(&mut self, new: &'a NewRun, spec: &'a PreparedSpec) {
        self.runs.push(hex(new.id.as_bytes()));
        self.runs.extend(new.replaces.iter().map(|run| hex(run.as_bytes())));
        self.keys.extend(new.key.as_ref().map(|key| key.as_str().to_owned()));
        if let Origin::Schedule { schedule, .. } = &new.origin {
            self.schedules.push(schedule.to_string());
        }
        self.new.push((new, spec));
    }

    fn advance(&mut self, step: &'a Step, specs: &'a [PreparedSpec]) {
        for follow_up in &step.follow_ups {
            let FollowUpAction::Start(new) = &follow_up.action else { continue };
            if let Some(spec) = specs.iter().find(|spec| std::sync::Arc::ptr_eq(&spec.spec, &new.spec)) {
                self.create(new, spec);
            }
        }
        if step.follow_ups.iter().any(|follow_up| !follow_up.after.is_empty()) {
            self.joins.push(step.run);
        }
    }
}

impl Writer {
    /// A batch that knows everything the commands speak of, and the runs that each claim gets. It is read in a
    /// transaction that goes on until it is written.
    pub(super) async fn load(&mut self, commands: &[Command]) -> Result<(Batch, Vec<Vec<RunId>>), Fault> {
        self.begin().await?;
        let next = match self.next {
            Some(next) => next,
            None => self.load_next().await?,
        };
        let turns = match self.turns.take() {
            Some(turns) => turns,
            None => self.load_turns().await?,
        };
        let mut batch = Batch::after(next, turns);
        let mut named = Named::default();
        for command in commands {
            match command {
                Command::Create { new, spec, .. } => named.create(new, spec),
                Command::Advance { step, specs, .. } => {
                    self.take_open(&mut batch, &mut named, step.run);
                    named.advance(step, specs);
                }
                Command::Note { run, .. } => self.take_open(&mut batch, &mut named, *run),
                Command::Fire { fires, .. } => {
                    for (fire, specs) in fires {
                        named.schedules.push(fire.schedule.to_string());
                        for (new, spec) in fire.runs.iter().zip(specs) {
                            named.create(new, spec);
                        }
                    }
                }
                Command::Claim { claim, .. } => named.claims.push(claim),
                Command::TakeOver { .. } => named.take_over = true,
                Command::PutSchedules { .. }
                | Command::Publish { .. }
                | Command::RecordSync { .. }
                | Command::PutEnvironment { .. }
                | Command::PutAudit { .. }
                | Command::ChangeSecret { .. }
                | Command::Look { .. }
                | Command::Close { .. } => {}
            }
        }
        self.load_unfinished(&mut batch, &mut named).await?;
        if !named.runs.is_empty() {
            let runs = std::mem::take(&mut named.runs);
            self.load_records(&mut batch, SELECT_RECORDS, Some(runs)).await?;
        }
        if named.take_over {
            self.load_records(&mut batch, SELECT_OPEN, None).await?;
        }
        self.load_keys(&mut batch, &named).await?;
        self.load_schedules(&mut batch, &named).await?;
        self.load_chains(&mut batch, &named).await?;
        self.load_rows(&mut batch, &named).await?;
        let claimed = self.choose(&mut batch, &named.claims).await?;
        Ok((batch, claimed))
    }

    /// Moves an open run from memory into the batch, or has it read.
    fn take_open(&mut self, batch: &mut Batch, named: &mut Named<'_>, run: RunId) {
        match self.open.remove(&run) {
            Some(entry) => drop(batch.runs.insert(run, entry)),
            None if batch.runs.contains_key(&run) => {}
            None => named.runs.push(hex(run.as_bytes())),
        }
    }

    /// The unfinished runs of pipelines that take no more than so many.
    async fn load_unfinished(&mut self, batch: &mut Batch, named: &mut Named<'_>) -> Result<(), Fault> {
        let (mut pipelines, mut gives_up) = (HashSet::new(), HashSet::new());
        for (new, _) in &named.new {
            let queue = &new.spec.pipeline.definition.queue;
            if queue.max_instances.is_some() && queue.when_full != WhenFull::Queue {
                pipelines.insert(new.spec.pipeline.name.as_str().to_owned());
                if queue.when_full == WhenFull::Replace {
                    gives_up.insert(new.spec.pipeline.name.clone());
                }
                batch.unfinished.insert(new.spec.pipeline.name.clone(), Vec::new());
            }
        }
        if pipelines.is_empty() {
            return Ok(());
        }
        for row in self.select(SELECT_UNFINISHED, &pipelines.into_iter().collect::<Vec<_>>()).await? {
            let mut columns = Columns::of(&row);
            let name: PipelineName =
                columns.text().and_then(str::parse).map_err(|error| self.damaged(&error))?;
            let id = columns.run_id().map_err(|error| self.damaged(&error))?;
            // To refuse, their number is enough.
            if gives_up.contains(&name) {
                self.take_open(batch, named, id);
            }
            batch.unfinished.entry(name).or_default().push(id);
        }
        Ok(())
    }

    async fn load_keys(&mut self, batch: &mut Batch, named: &Named<'_>) -> Result<(), Fault> {
        if named.keys.is_empty() {
            return Ok(());
        }
        for row in self.select(SELECT_KEYS, &named.keys).await? {
            let mut columns = Columns::of(&row);
            let key = columns.text().map(str::to_owned).map_err(|error| self.damaged(&error))?;
            let id = columns.run_id().map_err(|error| self.damaged(&error))?;
            batch.keys.insert(key, id);
        }
        Ok(())
    }

    async fn load_schedules(&mut self, batch: &mut Batch, named: &Named<'_>) -> Result<(), Fault> {
        if named.schedules.is_empty() {
            return Ok(());
        }
        for row in self.select(SELECT_SCHEDULE_ROWS, &named.schedules).await? {
            let mut columns = Columns::of(&row);
            let read = (|| {
                let name: ScheduleId = columns.text()?.parse()?;
                let id = columns.int()?;
                Ok((name, ScheduleRow { id, generation: columns.count()?, cursor: columns.instant()? }))
            })();
            let (name, row) = read.map_err(|error: crate::Error| self.damaged(&error))?;
            batch.schedules.insert(name, row);
        }
        Ok(())
    }

    /// What is known of the chains whose runs may now be followed by one that waits for several.
    async fn load_chains(&mut self, batch: &mut Batch, named: &Named<'_>) -> Result<(), Fault> {
        let chain = |run: &RunId| Some(hex(batch.runs.get(run)?.record.run.chain.as_bytes()));
        let wanted: HashSet<String> = named.joins.iter().filter_map(chain).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for row in self.select(SELECT_CHAINS, &wanted.into_iter().collect::<Vec<_>>()).await? {
            let mut columns = Columns::of(&row);
            let read = (|| {
                let chain = unhex(columns.text()?)?;
                let pipeline: PipelineName = columns.text()?.parse()?;
                let succeeded = columns.int()? == codec::status_code(Status::Success);
                Ok((chain, pipeline, succeeded, columns.int()? == 1))
            })();
            let (chain, pipeline, succeeded, joined) =
                read.map_err(|error: crate::Error| self.damaged(&error))?;
            let chain = batch.chains.entry(chain).or_default();
            if succeeded {
                chain.succeeded.insert(pipeline.clone());
            }
            if joined {
                chain.joined.insert(pipeline);
            }
        }
        Ok(())
    }

    /// The rows of pipelines and specs.
    async fn load_rows(&mut self, batch: &mut Batch, named: &Named<'_>) -> Result<(), Fault> {
        let (mut pipelines, mut hashes) = (HashSet::new(), HashSet::new());
        for (new, spec) in &named.new {
            let name = &new.spec.pipeline.name;
            match self.pipelines.get(name) {
                Some(id) => drop(batch.pipelines.insert(name.clone(), *id)),
                None => drop(pipelines.insert(name.as_str().to_owned())),
            }
            match self.spec_rows.get(&spec.hash) {
                Some(id) => drop(batch.specs.insert(spec.hash, *id)),
                None => drop(hashes.insert(spec.hash)),
            }
        }
        if !pipelines.is_empty() {
            for row in self.select(SELECT_PIPELINE_ROWS, &pipelines.into_iter().collect::<Vec<_>>()).await? {
                let mut columns = Columns::of(&row);
                let name = columns.text().and_then(str::parse).map_err(|error| self.damaged(&error))?;
                let id = columns.int().map_err(|error| self.damaged(&error))?;
                batch.pipelines.insert(name, id);
            }
        }
        if !hashes.is_empty() {
            let by_text: HashMap<String, [u8; 32]> = hashes.iter().map(|hash| (hex(hash), *hash)).collect();
            let wanted: Vec<String> = by_text.keys().cloned().collect();
            for row in self.select(SELECT_SPEC_ROWS, &wanted).await? {
                let mut columns = Columns::of(&row);
                let text = columns.text().map_err(|error| self.damaged(&error))?;
                let id = columns.int().map_err(|error| self.damaged(&error))?;
                if let Some(hash) = by_text.get(text) {
                    batch.specs.insert(*hash, SpecId(id));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn load_records(
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
    pub(super) async fn decode(
        &mut self,
        batch: &mut Batch,
        rows: &[SqliteRow],
    ) -> Result<Vec<RunId>, Fault> {
        let rows = rows.iter().map(RunRow::with_attempt).collect::<Result<Vec<_>>>();
        let rows = rows.map_err(|error| self.damaged(&error))?;
        let wanted: Vec<SpecId> = rows.iter().map(|row| row.spec).collect();
        let specs = self.specs_of(&wanted).await?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let (pipeline, spec, ready, turn) = (row.pipeline, row.spec, row.ready, row.turn);
            let record = row.into_record(&specs).map_err(|error| self.damaged(&error))?;
            let id = record.run.id;
            ids.push(id);
            let mark = row_mark(&record.run);
            let entry = Entry { record, pipeline, spec, ready, turn, schedule: None, row: Some(mark) };
            batch.runs.entry(id).or_insert(entry);
        }
        Ok(ids)
    }

    /// What these rows of specs say.
    pub(super) async fn specs_of(
        &mut self,
        wanted: &[SpecId],
    ) -> Result<HashMap<SpecId, std::sync::Arc<RunSpec>>, Fault> {
        let (mut specs, missing) = self.shared.specs.known(wanted);
        if !missing.is_empty() {
            let shared = std::sync::Arc::clone(&self.shared);
            let connection = self.connection().await?;
            let loaded = shared.specs.load(connection, &missing).await;
            let loaded = loaded.map_err(|error| self.fault(&error))?.map_err(|error| self.damaged(&error))?;
            specs.extend(loaded);
        }
        Ok(specs)
    }

    /// Reads the next free ids.
    async fn load_next(&mut self) -> Result<Next, Fault> {
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
        next.map_err(|error: crate::Error| self.damaged(&error))
    }

    /// Rows for a list of texts.
    async fn select(&mut self, text: &'static str, wanted: &[String]) -> Result<Vec<SqliteRow>, Fault> {
        let wanted = serde_json::Value::from(wanted).to_string();
        let connection: &mut SqliteConnection = self.connection().await?;
        let rows = sqlx::query(text).bind(wanted).fetch_all(connection).await;
        rows.map_err(|error| self.fault(&error))
    }

    pub(super) fn damaged(&self, error: &crate::Error) -> Fault {
        tracing::error!(error = %error.chain(), "the database holds something that was never written");
        Fault::new(
            ErrorKind::Corrupt,
            "the database holds something that was never written; put a backup in its place",
            &self.shared.path,
        )
    }
}
