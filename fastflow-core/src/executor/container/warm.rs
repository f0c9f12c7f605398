//! Sandboxes that are made ahead of their attempts.
//!
//! A warm sandbox is a container whose shim waits for its order: nothing of a pipeline is in it, and no secret. Its run
//! directory is an empty folder that is given the place of the attempt's own when one comes, which a mount does not
//! mind: it holds the folder, not its name.
//!
//! ```text
//! <state_dir>/warm/<class>/<container>       waits, and is taken by a rename, which only one can do
//! <state_dir>/warm/<class>/.<container>      is being made, or removed
//! <state_dir>/serving/<owner>/<attempt>      serves this attempt
//! ```
//!
//! Whatever has a container and neither folder nor entry is needed by nobody. So nothing is kept in memory, any host
//! finds what another has left, and one that ends by itself after a while holds nobody up.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_shim::Order;
use rustix::fs::RenameFlags;
use sha2::{Digest as _, Sha256};

use super::{
    ContainerId,
    compose::{Blueprint, CLASS_LABEL, Kind},
    launch::{Launched, clear, make, reply},
    place::{Place, remove_order, write_order},
    serving::Serving,
};
use crate::{Entropy as _, Error, ErrorKind, OsEntropy, Result, executor::AttemptSpec};

/// How the names of warm containers begin.
pub(super) const WARM_PREFIX: &str = "fastflow-warm-";
/// How many characters of its hash name a class.
const CLASS_CHARS: usize = 16;

/// The warm sandboxes of one executor.
#[derive(Clone, Debug)]
pub(super) struct Warm {
    root: PathBuf,
    serving: Serving,
    /// Held while some are made: two callers would make twice as many.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Warm {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("warm"), serving: Serving::new(state_dir), making: Arc::default() }
    }

    pub(super) fn serving(&self) -> &Serving {
        &self.serving
    }

    /// The names of all that wait or are being made.
    pub(super) fn waiting(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for class in names(&self.root)? {
            found.extend(
                names(&self.root.join(class))?
                    .into_iter()
                    .map(|name| name.trim_start_matches('.').to_owned()),
            );
        }
        Ok(found)
    }

    /// Makes or removes some, until `count` wait for attempts like `like`.
    pub(super) async fn keep(
        &self,
        place: &Arc<Place>,
        image: &str,
        like: &AttemptSpec,
        count: u32,
    ) -> Result<()> {
        let _only_one = self.making.lock().await;
        let class = class(place, image, like);
        let folder = self.root.join(&class);
        let mut usable = Vec::new();
        for name in names(&folder)?.into_iter().filter(|name| !name.starts_with('.')) {
            let state = place.engine.inspect(&name).await?;
            if state.is_some_and(|state| state.status.is_alive()) {
                usable.push(name);
            } else {
                self.discard(place, &class, &name).await;
            }
        }
        while usable.len() > count as usize {
            if let Some(name) = usable.pop() {
                self.discard(place, &class, &name).await;
            }
        }
        let missing = (count as usize).saturating_sub(usable.len());
        let room = (place.config.max_warm as usize).saturating_sub(self.waiting()?.len());
        if room < missing {
            let max_warm = place.config.max_warm;
            tracing::info!(max_warm, "no more warm sandboxes: the most of them wait already");
        }
        for _ in 0..missing.min(room) {
            self.make(place, image, like, &class).await?;
        }
        Ok(())
    }

    async fn make(&self, place: &Arc<Place>, image: &str, like: &AttemptSpec, class: &str) -> Result<()> {
        let name = new_name();
        let folder = self.root.join(class);
        let unfinished = folder.join(format!(".{name}"));
        let describe = |error: io::Error| Error::from(error).with("path", unfinished.display());
        fs::create_dir_all(&unfinished).map_err(describe)?;
        let made = async {
            place.give(&unfinished).await?;
            let blueprint = Blueprint {
                name: &name,
                kind: Kind::Warm,
                owner: &like.owner,
                labels: &[(CLASS_LABEL, class.to_owned())],
                image,
                run_dir: &unfinished,
                network: like.network,
                limits: &like.limits,
                reads: &like.read_only,
                writes: &[],
                order_wait: Some(place.config.warm_lifetime),
            };
            let id = make(place, &blueprint, None).await?;
            place.engine.start(&id).await?;
            fs::rename(&unfinished, folder.join(&name)).map_err(describe)
        };
        let ended = made.await;
        if ended.is_err() {
            self.discard(place, class, &name).await;
        }
        ended
    }

    /// Gives the order of an attempt to one that waits for such. `None` when none does.
    pub(super) async fn serve(
        &self,
        place: &Arc<Place>,
        image: &str,
        spec: &AttemptSpec,
        order: &Order,
    ) -> Result<Option<(String, Launched)>> {
        let folder = self.root.join(class(place, image, spec));
        for name in names(&folder)?.into_iter().filter(|name| !name.starts_with('.')) {
            // Before it is taken: at no time is there a container that leads to nobody.
            self.serving.write(&spec.owner, spec.id, &name)?;
            if !take(&folder.join(&name), &spec.run_dir)? {
                self.serving.remove(&spec.owner, spec.id)?;
                continue;
            }
            let user = place.known().await?.user;
            write_order(&place.order_dir(&name).await?, order, user)?;
            let id = ContainerId::new(name.as_str());
            let reply = reply(place, &spec.run_dir, &id).await?;
            remove_order(&place.order_dir(&name).await?);
            let id = match place.engine.inspect(&name).await {
                Ok(Some(state)) => state.id,
                _ => id,
            };
            return Ok(Some((name, Launched { id, reply })));
        }
        Ok(None)
    }

    /// Undoes a taking that led to nothing. The folder stays the attempt's.
    pub(super) async fn give_back(&self, place: &Place, spec: &AttemptSpec, name: &str) -> Result<()> {
        place.engine.remove(name).await?;
        clear(place, name).await;
        self.serving.remove(&spec.owner, spec.id)
    }

    /// Removes one that nobody uses.
    pub(super) async fn discard(&self, place: &Place, class: &str, name: &str) {
        let folder = self.root.join(class);
        let going = folder.join(format!(".{name}"));
        // Whoever has just taken it keeps it.
        match fs::rename(folder.join(name), &going) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(container = name, %error, "a warm sandbox could not be set aside");
                return;
            }
            _ => {}
        }
        clear(place, name).await;
        if let Err(error) = fs::remove_dir_all(&going)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %going.display(), %error, "the folder of a warm sandbox could not be removed");
        }
        // The last one takes the folder of the class along.
        let _ = fs::remove_dir(&folder);
    }
}

/// Everything that is fixed when a container is made. Attempts that agree in it can use the same.
fn class(place: &Place, image: &str, spec: &AttemptSpec) -> String {
    let limits = &spec.limits;
    let stated = format!(
        "{:?}",
        (
            (spec.owner.as_str(), image, spec.network, &spec.read_only),
            (limits.cpu_millis, limits.memory_bytes, limits.max_processes),
            (
                place.config.default_memory_bytes,
                place.config.default_max_processes,
                place.config.max_open_files
            ),
            (place.config.tmp_bytes, crate::shim::ShimBinary::sha256()),
        )
    );
    let digest = Sha256::digest(stated.as_bytes());
    let mut class = digest.iter().fold(String::new(), |mut hex, byte| {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    class.truncate(CLASS_CHARS);
    class
}

fn new_name() -> String {
    let mut random = [0; 8];
    OsEntropy.fill(&mut random);
    format!("{WARM_PREFIX}{:016x}", u64::from_be_bytes(random))
}

/// Takes the folder of a warm sandbox, and puts it in the place of `run_dir` with all that lies there. `false` when
/// another was faster.
fn take(slot: &Path, run_dir: &Path) -> Result<bool> {
    let describe = |error: io::Error| Error::from(error).with("run_dir", run_dir.display());
    let mut taken = run_dir.as_os_str().to_owned();
    taken.push(".warm");
    let taken = PathBuf::from(taken);
    match fs::rename(slot, &taken) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "warm sandboxes need the executor's state and the runs on one file system",
            )
            .with("run_dir", run_dir.display()));
        }
        Err(error) => return Err(describe(error)),
    }
    for entry in fs::read_dir(run_dir).map_err(describe)? {
        let entry = entry.map_err(describe)?;
        fs::rename(entry.path(), taken.join(entry.file_name())).map_err(describe)?;
    }
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, &taken, here, run_dir, RenameFlags::EXCHANGE)
        .map_err(|error| describe(error.into()))?;
    fs::remove_dir(&taken).map_err(describe)?;
    Ok(true)
}

/// The names in a folder that may not be there.
fn names(folder: &Path) -> Result<Vec<String>> {
    let describe = |error: io::Error| Error::from(error).with("path", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(describe(error)),
    };
    entries.map(|entry| Ok(entry.map_err(describe)?.file_name().to_string_lossy().into_owned())).collect()
}
