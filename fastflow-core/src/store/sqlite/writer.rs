//! The one task that writes: it takes every command that waits, and commits them together.

use std::{collections::HashMap, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use sqlx::{Connection, SqliteConnection};
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    Shared,
    batch::{Batch, Entry, Next, WRITE},
    command::{Answer, Command},
    fault::{Fault, is_busy},
    forked::Opened,
    host::Role,
    packages::{self, AuditRow, EnvironmentRows},
    reserve::Reserve,
    schedules::{self, ScheduleRows},
    specs::SpecId,
    syncs::{self, PublicationRows, SyncRow},
    turns::Turns,
};
use crate::{Clock, ErrorKind, PipelineName, Result, RunId, run::RunState, source::SyncId, store::EventId};

/// Commands that may wait; more callers wait for room.
pub(super) const WAITING_MAX: usize = 1024;
/// Commands that share one commit.
const BATCH_MAX: usize = 512;
/// Open runs that are kept in memory; more are read when they move.
const OPEN_CACHE_MAX: usize = 16_384;
/// Names of pipelines and hashes of specs whose rows are kept in memory.
const ROW_CACHE_MAX: usize = 16_384;

/// The writer's whole world. What it keeps in memory is true as long as no other process writes the file, and is
/// forgotten when one has, and whenever a commit fails.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    /// None after a failure, until it is opened again.
    pub(super) connection: Option<SqliteConnection>,
    /// What the connection said of other writers when it was asked last; none for one that never was.
    pub(super) version: Option<i64>,
    /// The newest event of which nobody needs to be told that others have written it.
    pub(super) known: Option<EventId>,
    pub(super) reserve: Reserve,
    pub(super) file: FileIdentity,
    /// None where the rows must be asked.
    pub(super) next: Option<Next>,
    /// With the batch that is at work, and otherwise here; none where the rows must be asked.
    pub(super) turns: Option<Turns>,
    pub(super) open: HashMap<RunId, Entry>,
    pub(super) pipelines: HashMap<PipelineName, i64>,
    pub(super) spec_rows: HashMap<[u8; 32], SpecId>,
    /// Dropped when all connections of this store are closed.
    pub(super) _opened: Opened,
}

/// Which file a path named when it was opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

impl Writer {
    /// Works until everybody who could ask has gone, or somebody closes the store.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, listener: AbortHandle) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        let mut closers = Vec::new();
        while commands.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            let mut batch = Vec::with_capacity(waiting.len());
            for command in waiting.drain(..) {
                match command {
                    Command::Close { reply } => {
                        // What was accepted before is still done; what comes later is refused.
                        commands.close();
                        closers.push(reply);
                    }
                    Command::PutSchedules { rows, reply } => {
                        drop(reply.send(self.put_schedules(&rows).await));
                    }
                    Command::Publish { rows, reply } => drop(reply.send(self.publish(&rows).await)),
                    Command::RecordSync { row, reply } => {
                        let kept = self.record_sync(&row).await;
                        drop(reply.send(kept.map_err(|fault| fault.error())));
                    }
                    Command::PutEnvironment { rows, reply } => {
                        let put = self.put_environment(&rows).await;
                        drop(reply.send(put.map_err(|fault| fault.error())));
                    }
                    Command::PutAudit { row, reply } => {
                        let put = self.put_audit(&row).await;
                        drop(reply.send(put.map_err(|fault| fault.error())));
                    }
                    Command::ChangeSecret { change, reply } => {
                        drop(reply.send(self.change_secret(&change).await));
                    }
                    Command::Look { reply } => {
                        if let Err(fault) = self.look().await {
                            tracing::debug!(error = %fault.error().chain(), "the database cannot be looked at now");
                        }
                        let _ = reply.send(());
                    }
                    command => batch.push(command),
                }
            }
            if !batch.is_empty() {
                self.commit(batch).await;
            }
        }
        listener.abort();
        let closed = self.finish().await;
        for reply in closers {
            let answer = closed.as_ref().map_or_else(|fault| Err(fault.error()), |()| Ok(()));
            drop(reply.send(answer));
        }
    }

    async fn finish(mut self) -> Result<(), Fault> {
        self.shared.readers.close().await;
        let connection = self.connection.take();
        let mut result = Ok(());
        if let Some(mut connection) = connection {
            // It keeps all others from writing: the last one does it.
            let checkpoint = match self.shared.gate.try_alone() {
                Ok(true) => {
                    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.map(drop)
                }
                Ok(false) | Err(_) => Ok(()),
            };
            let closed = connection.close().await;
            result = checkpoint.and(closed).map_err(|error| self.fault(&error));
        }
        self.shared.step_down().await;
        self.shared.gate.leave();
        result
    }

    async fn commit(&mut self, commands: Vec<Command>) {
        let commands = match self.admit(commands) {
            Ok(commands) if commands.is_empty() => return,
            Ok(commands) => commands,
            Err((commands, fault)) => {
                for command in commands {
                    command.fail(&fault);
                }
                return;
            }
        };
        let (batch, claims) = match self.load(&commands).await {
            Ok(loaded) => loaded,
            Err(fault) => {
                self.forget(&fault).await;
                for command in commands {
                    command.fail(&fault);
                }
                return;
            }
        };
        let (batch, answers) = decide(batch, commands, claims);
        let written = self.write(batch).await;
        if let Err(fault) = &written {
            self.forget(fault).await;
        }
        for answer in answers {
            answer.send(written.as_ref().err());
        }
    }

    /// Refuses what must not be written now.
    fn admit(&mut self, commands: Vec<Command>) -> Result<Vec<Command>, (Vec<Command>, Fault)> {
        if let Err(fault) = self.check_file() {
            return Err((commands, fault));
        }
        let Err(fault) = self.check_room() else { return Ok(commands) };
        let (new, open): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| {
            matches!(command, Command::Create { .. } | Command::Claim { .. } | Command::Fire { .. })
        });
        for command in new {
            command.fail(&fault);
        }
        Ok(open)
    }

    /// What is written into a file that nobody finds any more would be lost.
    pub(super) fn check_file(&self) -> Result<(), Fault> {
        if FileIdentity::of(&self.shared.path).ok() == Some(self.file) {
            return Ok(());
        }
        Err(Fault::new(
            ErrorKind::Corrupt,
            "the database file was removed or replaced while it is in use; stop this host and put it back",
            &self.shared.path,
        ))
    }

    pub(super) fn check_room(&mut self) -> Result<(), Fault> {
        let role = *self.shared.role.borrow();
        if !self.reserve.is_spent(role, self.clock.elapsed()) {
            return Ok(());
        }
        Err(Fault::new(
            ErrorKind::StorageFull,
            "the disk of the database is full, and what is left is kept for the runs that are open; make room on it",
            &self.shared.path,
        ))
    }

    /// Writes the batch into the transaction in which it was loaded, and ends that.
    async fn write(&mut self, mut batch: Batch) -> Result<(), Fault> {
        if batch.is_empty() {
            self.roll_back().await;
        } else {
            let rows = batch.rows().map_err(|error| {
                tracing::error!(%error, "cannot write what was decided");
                Fault::new(ErrorKind::Internal, "cannot write what was decided", &self.shared.path)
            })?;
            let mut query = sqlx::query(WRITE);
            for rows in rows {
                query = query.bind(rows.to_string());
            }
            let connection = self.connection().await?;
            if let Err(error) = query.execute(connection).await {
                return Err(self.fault(&error));
            }
            self.known = Some(batch.last_event());
            self.wrote();
        }
        self.keep(batch);
        Ok(())
    }

    /// Takes over what a committed batch knows.
    fn keep(&mut self, mut batch: Batch) {
        self.next = Some(batch.next);
        self.turns = Some(std::mem::take(&mut batch.turns));
        for (id, prepared) in batch.new_specs.drain(..) {
            self.shared.specs.learn(id, &prepared.spec);
        }
        if self.pipelines.len() + batch.pipelines.len() <= ROW_CACHE_MAX {
            self.pipelines.extend(batch.pipelines.drain());
        }
        if self.spec_rows.len() + batch.specs.len() <= ROW_CACHE_MAX {
            self.spec_rows.extend(batch.specs.drain());
        }
        for entry in batch.into_committed() {
            let run = &entry.record.run;
            self.open.remove(&run.id);
            let open = !run.state.is_terminal() && !matches!(run.state, RunState::Queued { .. });
            if open && self.open.len() < OPEN_CACHE_MAX {
                self.open.insert(run.id, entry);
            }
        }
    }

    /// Changes schedules in a transaction of their own.
    async fn put_schedules(&mut self, rows: &ScheduleRows) -> Result<()> {
        self.check_file().map_err(|fault| fault.error())?;
        let connection = self.connection().await.map_err(|fault| fault.error())?;
        let Err(error) = schedules::put(connection, rows).await else {
            self.wrote();
            return Ok(());
        };
        if schedules::is_stale(&error) {
            // The caller is late, and the store is well.
            self.roll_back().await;
            return Err(schedules::stale());
        }
        let fault = self.fault(&error);
        self.forget(&fault).await;
        Err(fault.error())
    }

    /// Shows what a source has, in a transaction of its own.
    async fn publish(&mut self, rows: &PublicationRows) -> Result<SyncId> {
        self.check_file().map_err(|fault| fault.error())?;
        let connection = self.connection().await.map_err(|fault| fault.error())?;
        let fault = match syncs::publish(connection, rows).await {
            Ok(id) => {
                // It may have made rows of pipelines.
                self.next = None;
                self.wrote();
                return Ok(id);
            }
            Err(error) if schedules::is_stale(&error) => {
                // The caller is late, and the store is well.
                self.roll_back().await;
                return Err(schedules::stale());
            }
            Err(error) => self.fault(&error),
        };
        self.forget(&fault).await;
        Err(fault.error())
    }

    async fn record_sync(&mut self, row: &SyncRow) -> Result<SyncId, Fault> {
        self.check_file()?;
        let connection = self.connection().await?;
        let kept = syncs::record(connection, row).await.map_err(|error| self.fault(&error));
        match &kept {
            Ok(_) => self.wrote(),
            Err(fault) => self.forget(fault).await,
        }
        kept
    }

    async fn put_environment(&mut self, rows: &EnvironmentRows) -> Result<(), Fault> {
        self.check_file()?;
        self.check_room()?;
        self.begin().await?;
        let put = packages::put_environment(self.connection().await?, rows).await;
        self.committed(put).await
    }

    async fn put_audit(&mut self, row: &AuditRow) -> Result<(), Fault> {
        self.check_file()?;
        self.check_room()?;
        self.begin().await?;
        let put = packages::put_audit(self.connection().await?, row).await;
        self.committed(put).await
    }

    /// Commits what was written into the transaction that was begun for it.
    pub(super) async fn committed<T>(&mut self, written: Result<T, sqlx::Error>) -> Result<T, Fault> {
        let done = match written {
            Ok(written) => self.commit_begun().await.map(|()| written),
            Err(error) => Err(self.fault(&error)),
        };
        match &done {
            Ok(_) => self.wrote(),
            Err(fault) => self.forget(fault).await,
        }
        done
    }

    pub(super) fn fault(&self, error: &sqlx::Error) -> Fault {
        let fault = Fault::of(error, &self.shared.path);
        if is_busy(error) && *self.shared.role.borrow() == Role::Guest {
            return fault.beside(self.shared.host.noted());
        }
        fault
    }
}

/// Applies every command in memory. One that fails by its own fault changes nothing.
fn decide(mut batch: Batch, commands: Vec<Command>, claims: Vec<Vec<RunId>>) -> (Batch, Vec<Answer>) {
    let mut claims = claims.into_iter();
    let mut answers = Vec::with_capacity(commands.len());
    // Claims were chosen from the rows as they are, so they come first; the callers are not ordered anyway.
    let (first, rest): (Vec<_>, Vec<_>) =
        commands.into_iter().partition(|command| matches!(command, Command::Claim { .. }));
    for command in first.into_iter().chain(rest) {
        match command {
            Command::Create { new, spec, reply } => {
                let created = batch.create(*new, &spec);
                answers.push(Answer::Created(reply, created));
            }
            Command::Claim { claim, reply } => {
                let chosen = claims.next().unwrap_or_default();
                let runs = chosen.into_iter().map(|id| batch.claim(id, claim.at)).collect();
                answers.push(Answer::Runs(reply, runs));
            }
            Command::TakeOver { reply } => answers.push(Answer::Runs(reply, Ok(batch.take_over()))),
            Command::Advance { step, specs, reply } => {
                let advanced = batch.advance(&step, &specs);
                answers.push(Answer::Advanced(reply, advanced));
            }
            Command::Note { run, epoch, note, reply } => {
                answers.push(Answer::Noted(reply, batch.note_by(run, epoch, *note)));
            }
            Command::Fire { fires, reply } => {
                let fired = fires.into_iter().map(|(fire, specs)| batch.fire(fire, &specs)).collect();
                answers.push(Answer::Fired(reply, Ok(fired)));
            }
            // These are handled before a batch is made.
            Command::PutSchedules { .. }
            | Command::PutEnvironment { .. }
            | Command::PutAudit { .. }
            | Command::Publish { .. }
            | Command::RecordSync { .. }
            | Command::ChangeSecret { .. }
            | Command::Look { .. }
            | Command::Close { .. } => {}
        }
    }
    (batch, answers)
}
