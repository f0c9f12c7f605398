//! The least that a machine can do for something.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use fastflow_core::{Clock, Error, ErrorKind, Result, SystemClock};
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::engine::Started;

const INSERT: &str =
    "INSERT INTO rows (body) VALUES ('a row about as long as the row of a run: 0123456789abcdef')";

/// A Python program, started by fork and exec and waited for, with nothing between.
#[derive(Clone, Debug)]
pub struct Direct {
    started: Started,
    script: PathBuf,
    dir: PathBuf,
}

impl Direct {
    /// The same start as an attempt's, of `script` in `dir`.
    pub fn new(started: Started, script: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self { started, script: script.into(), dir: dir.into() }
    }

    /// Where it works.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it and waits for its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started or does not exit with 0.
    pub fn run(&self, output: Option<&Path>) -> Result<Duration> {
        let [interpreter, arguments @ .., _script] = self.started.argv.as_slice() else {
            return Err(Error::new(ErrorKind::Internal, "a program was started without arguments"));
        };
        let mut command = Command::new(interpreter);
        command.args(arguments).arg(&self.script).env_clear().envs(&self.started.env).current_dir(&self.dir);
        command.stdin(Stdio::null());
        match output {
            Some(path) => command.stdout(File::create(path)?),
            None => command.stdout(Stdio::null()),
        };
        let clock = SystemClock::new();
        let status = command.spawn()?.wait()?;
        let took = clock.elapsed();
        if status.success() {
            return Ok(took);
        }
        Err(io::Error::other(format!("the floor's program ended with {status}")).into())
    }
}

/// A plain `SQLite` database in WAL mode with `synchronous=FULL`, written by one connection.
#[derive(Debug)]
pub struct PlainSqlite {
    connection: SqliteConnection,
}

impl PlainSqlite {
    /// Makes one at `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn create(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(broken)?;
        let table = "CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body TEXT NOT NULL)";
        sqlx::query(table).execute(&mut connection).await.map_err(broken)?;
        Ok(Self { connection })
    }

    /// One row in one transaction, durable when it returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub async fn commit(&mut self) -> Result<()> {
        sqlx::query(INSERT).execute(&mut self.connection).await.map_err(broken)?;
        Ok(())
    }

    /// So many rows in one transaction, durable when it returns, and how long that took.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub async fn commit_rows(&mut self, count: u32) -> Result<Duration> {
        let clock = SystemClock::new();
        let mut transaction = self.connection.begin().await.map_err(broken)?;
        for _ in 0..count {
            sqlx::query(INSERT).execute(&mut *transaction).await.map_err(broken)?;
        }
        transaction.commit().await.map_err(broken)?;
        Ok(clock.elapsed())
    }

    /// How many such transactions it does in a second, measured over `count`.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub async fn commits_per_second(&mut self, count: u64) -> Result<f64> {
        let clock = SystemClock::new();
        for _ in 0..count {
            self.commit().await?;
        }
        Ok(crate::sample::per_second(count, clock.elapsed()))
    }
}

fn broken(error: sqlx::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the plain database of the floor failed").because(error)
}
