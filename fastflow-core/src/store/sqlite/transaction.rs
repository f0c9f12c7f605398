//! Transactions beside other processes that write the same file.
//!
//! A transaction takes the only turn there is to write before it reads anything. SQLite then says whether anybody else
//! has written since the last one: if so, what the writer keeps in memory is forgotten and read anew, within it. A host
//! that is alone pays one call for this.

use sqlx::SqliteConnection;

use super::{
    codec::Columns,
    fault::{Fault, result_code},
    open,
    writer::Writer,
};
use crate::{ErrorKind, Result, store::EventId};

/// What changes when another connection has written.
const VERSION: &str = "PRAGMA data_version";
const BEGIN: &str = "BEGIN IMMEDIATE; PRAGMA data_version";
/// The same with the newest event, by one look at the database.
const LOOK: &str = "SELECT data_version, coalesce((SELECT max(id) FROM events), 0) FROM pragma_data_version";

impl Writer {
    /// Begins a transaction in which nobody else writes, and in which what is in memory is true.
    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        let begun = self.compare(BEGIN).await;
        if begun.is_err() {
            self.roll_back().await;
        }
        begun
    }

    /// Commits a transaction that was begun, with what was written in it.
    pub(super) async fn commit_begun(&mut self) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let committed = sqlx::query("COMMIT").execute(connection).await;
        committed.map(drop).map_err(|error| self.fault(&error))
    }

    /// Looks whether another process has written.
    pub(super) async fn look(&mut self) -> Result<(), Fault> {
        self.check_file()?;
        self.compare(VERSION).await
    }

    /// Forgets and tells what must be when the version is another one than it was.
    async fn compare(&mut self, text: &'static str) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let version = sqlx::query_scalar(text).fetch_one(connection).await;
        let version: i64 = version.map_err(|error| self.fault(&error))?;
        if self.version == Some(version) {
            return Ok(());
        }
        let connection = self.connection().await?;
        let row = sqlx::query(LOOK).fetch_one(connection).await.map_err(|error| self.fault(&error))?;
        let mut columns = Columns::of(&row);
        let read = (|| Ok((columns.int()?, EventId(columns.count()?))))();
        let (version, newest) = read.map_err(|error: crate::Error| self.damaged(&error))?;
        self.version = Some(version);
        self.forget_what_moves();
        if let Some(known) = self.known.replace(newest) {
            // What others have written comes after what was known, and before anything of ours.
            self.shared.elsewhere.send_modify(|after| *after = Some(after.map_or(known, |at| at.min(known))));
        }
        Ok(())
    }

    /// Tells the other processes that this one has written.
    pub(super) fn wrote(&self) {
        self.shared.bells.ring(*self.shared.role.borrow());
    }

    /// Forgets what other processes can change. A pipeline and a spec keep their rows for ever.
    fn forget_what_moves(&mut self) {
        self.next = None;
        self.turns = None;
        self.open.clear();
    }

    /// After a failure nothing in memory is taken for true.
    pub(super) async fn forget(&mut self, fault: &Fault) {
        tracing::warn!(error = %fault.error().chain(), "a commit of the store failed");
        self.forget_what_moves();
        self.pipelines.clear();
        self.spec_rows.clear();
        if fault.kind == ErrorKind::StorageFull {
            self.reserve.spend(self.clock.elapsed());
        }
        self.roll_back().await;
    }

    pub(super) async fn roll_back(&mut self) {
        if let Some(connection) = &mut self.connection {
            // SQLite may have rolled back by itself; then this fails, and all is well too.
            let rolled_back = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            let alive = matches!(&rolled_back, Err(error) if result_code(error) == Some(1));
            if rolled_back.is_err() && !alive {
                self.connection = None;
            }
        }
    }

    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, Fault> {
        if self.connection.is_none() {
            let opened = open::writer(&self.shared.path).await.map_err(|error| self.fault(&error))?;
            self.connection = Some(opened);
            // A new connection counts anew.
            self.version = None;
        }
        self.connection
            .as_mut()
            .ok_or_else(|| Fault::new(ErrorKind::Unavailable, "the database is not open", &self.shared.path))
    }
}
