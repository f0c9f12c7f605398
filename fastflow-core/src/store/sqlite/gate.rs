//! Who has the database open: any number of processes, or one that moves its schema forward.

use std::{
    fs::{File, TryLockError},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{Connection, SqliteConnection};

use super::{
    SqliteOptions,
    fault::Fault,
    lock::{HostLock, Patience, beside, open},
    migration::{self, Migration},
    open as opening,
};
use crate::{Clock, Error, ErrorKind, Result};

/// How long those that open a database at one moment may stand in each other's way.
const STAND_OFF_LIMIT: Duration = Duration::from_secs(2);
/// How long another process that makes a database, or moves its schema forward, is waited for.
const MOVE_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `<database>.open`, whose lock everybody shares who has the database open.
#[derive(Debug)]
pub(super) struct Gate {
    path: PathBuf,
    file: File,
}

impl Gate {
    pub(super) fn open(database: &Path) -> Result<Self> {
        let path = beside(database, ".open");
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    /// Whether nobody else has it open. Who asks beside others is counted by nobody any more.
    pub(super) fn try_alone(&self) -> Result<bool> {
        self.tried(self.file.try_lock())
    }

    fn try_beside(&self) -> Result<bool> {
        self.tried(self.file.try_lock_shared())
    }

    fn tried(&self, tried: Result<(), TryLockError>) -> Result<bool> {
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(Error::from(error).with("lock", self.path.display())),
        }
    }

    pub(super) fn leave(&self) {
        // Closing follows anyway, but is not enough while a child that is just being started has a copy.
        let _ = self.file.unlock();
    }

    /// Opens the database beside whoever has it open, with the schema of the last of `migrations`. That is made, or moved
    /// forward, while nobody else has it open.
    pub(super) async fn enter(
        &self,
        (path, host): (&Arc<Path>, &HostLock),
        migrations: &[Migration],
        options: &SqliteOptions,
        clock: &dyn Clock,
    ) -> Result<SqliteConnection> {
        let began = clock.elapsed();
        let mut checked = false;
        loop {
            let beside = self.try_beside()?;
            if beside && migration::is_current(path, migrations).await? {
                let mut connection =
                    opening::writer(path).await.map_err(|error| Fault::of(&error, path).error())?;
                if !checked {
                    opening::quick_check(&mut connection, path, options.check_max_bytes).await?;
                }
                return Ok(connection);
            }
            self.leave();
            if self.try_alone()? {
                // A version that knows nothing of this gate has the database to itself while it hosts.
                host.take(clock, Patience::UntilLetGo, None).await?;
                let moved = moved(path, migrations, options, clock).await;
                host.release();
                self.leave();
                moved?;
                checked = true;
                continue;
            }
            let waited = clock.elapsed().saturating_sub(began);
            if beside && waited >= STAND_OFF_LIMIT {
                let message = "the database must be moved to a newer schema, and another process has it open; stop all of \
                               them first";
                return Err(Error::new(ErrorKind::Conflict, message).with("database", path.display()));
            }
            if waited >= MOVE_LIMIT {
                let message = "another process is moving the database to a newer schema; try again";
                return Err(Error::new(ErrorKind::Unavailable, message).with("database", path.display()));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Makes the schema what it must be, alone.
async fn moved(
    path: &Arc<Path>,
    migrations: &[Migration],
    options: &SqliteOptions,
    clock: &dyn Clock,
) -> Result<()> {
    let fault = |error: sqlx::Error| Fault::of(&error, path).error();
    let mut connection = opening::writer(path).await.map_err(fault)?;
    opening::quick_check(&mut connection, path, options.check_max_bytes).await?;
    migration::migrate(&mut connection, migrations, path, clock.now()).await?;
    connection.close().await.map_err(fault)
}
