//! How one process tells the others that it has written: it writes a byte into a file that they watch.
//!
//! A bell that is not heard only delays: everybody looks at the database once in a while.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc::WeakSender, oneshot};

use super::{
    Role, Shared,
    command::Command,
    lock::{beside, open},
};
use crate::{Clock, Result};

/// Between two looks at the database where bells are heard.
const LOOK_INTERVAL: Duration = Duration::from_millis(900);
/// The same where they cannot be.
const DEAF_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks at least: one look is enough for all that was written before it, and who writes often must not keep
/// everybody else busy.
const LEAST_INTERVAL: Duration = Duration::from_millis(5);

/// The bells of one database. The host has one of its own, so that it is not woken by what it writes itself.
#[derive(Debug)]
pub(super) struct Bells {
    /// `<database>.bell-host`, which wakes the host.
    host: Bell,
    /// `<database>.bell`, which wakes everybody else.
    others: Bell,
}

#[derive(Debug)]
struct Bell {
    path: PathBuf,
    file: File,
}

impl Bells {
    pub(super) fn open(database: &Path) -> Result<Self> {
        Ok(Self { host: Bell::open(database, ".bell-host")?, others: Bell::open(database, ".bell")? })
    }

    /// Tells the others that this one has written.
    pub(super) fn ring(&self, by: Role) {
        if by == Role::Guest {
            self.host.ring();
        }
        self.others.ring();
    }

    fn of(&self, role: Role) -> &Bell {
        match role {
            Role::Host { .. } => &self.host,
            Role::Guest => &self.others,
        }
    }
}

impl Bell {
    fn open(database: &Path, suffix: &str) -> Result<Self> {
        let path = beside(database, suffix);
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    fn ring(&self) {
        // Whoever is not told looks by itself.
        if let Err(error) = self.file.write_all_at(b"!", 0) {
            tracing::debug!(%error, bell = %self.path.display(), "other processes could not be told");
        }
    }
}

/// Hears one bell.
struct Ear {
    rung: Arc<Notify>,
    /// None where the system cannot tell, for example because there is no room for more watches.
    watcher: Option<RecommendedWatcher>,
}

impl Ear {
    fn at(bell: &Path) -> Self {
        let rung = Arc::new(Notify::new());
        let told = Arc::clone(&rung);
        let heard = move |event: notify::Result<Event>| {
            // Opening and reading are told, too. After an error some were lost.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Modify(_)) && !event.need_rescan()) {
                return;
            }
            told.notify_one();
        };
        let watcher = RecommendedWatcher::new(heard, Config::default()).and_then(|mut watcher| {
            watcher.watch(bell, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, bell = %bell.display(), "other processes cannot be heard; looking often instead");
        }
        Self { rung, watcher: watcher.ok() }
    }

    fn look_interval(&self) -> Duration {
        if self.watcher.is_some() { LOOK_INTERVAL } else { DEAF_INTERVAL }
    }
}

/// Has the writer look whenever the bell of this one's role rings, and once in a while. Until there is no writer.
pub(super) async fn listen(shared: Arc<Shared>, commands: WeakSender<Command>, clock: Arc<dyn Clock>) {
    let mut role = shared.role.subscribe();
    loop {
        let now = *role.borrow_and_update();
        let ear = Ear::at(&shared.bells.of(now).path);
        loop {
            // First of all: nobody has heard what was rung until now.
            let Some(commands) = commands.upgrade() else { return };
            let (reply, looked) = oneshot::channel();
            if commands.send(Command::Look { reply }).await.is_err() {
                return;
            }
            drop(commands);
            if looked.await.is_err() {
                return;
            }
            let enough = clock.elapsed() + LEAST_INTERVAL;
            tokio::select! {
                changed = role.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                () = ear.rung.notified() => {}
                () = clock.sleep(ear.look_interval()) => {}
            }
            let early = enough.saturating_sub(clock.elapsed());
            if !early.is_zero() {
                clock.sleep(early).await;
            }
        }
    }
}
