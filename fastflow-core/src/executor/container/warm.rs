//! Sandboxes that are made ahead of their attempts.
//!
//! A warm sandbox is a container whose shim waits for its order: nothing of a pipeline is in it, and no secret. Its run
//! directory is an empty folder that is given the place of the attempt's own when one comes, which a mount does not
//! mind: it holds the folder, not its name.
//!
//! ```text
//! <state_dir>/warm/<owner>/<class>/<container>    waits, and is taken by a rename, which only one can do
//! <state_dir>/warm/<owner>/<class>/.<container>   is being made, or removed
//! <state_dir>/warm/.lock                          held while that is done
//! <state_dir>/serving/<owner>/<attempt>           serves this attempt
//! ```
//!
//! Whatever has a container and neither folder nor entry is needed by nobody. So nothing is kept in memory, any host
//! finds what another has left, and one that ends by itself after a while holds nobody up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_shim::Order;
use rustix::fs::RenameFlags;
use sha2::{Digest as _, Sha256};

use super::{
    ContainerId, ImageInfo,
    compose::{Blueprint, KIND_LABEL, Kind, OWNER_LABEL},
    launch::{Launched, clear, make, reply},
    place::{Place, remove_order, remove_order_dir, write_order},
    serving::Serving,
};
use crate::{Entropy as _, Error, OsEntropy, OwnerId, Result, executor::AttemptSpec, hex::hex};

/// How the names of warm containers begin.
pub(super) const WARM_PREFIX: &str = "fastflow-warm-";
/// The lock in the folder of all warm sandboxes.
const LOCK: &str = ".lock";
/// How many characters of its hash name a class.
const CLASS_CHARS: usize = 16;

/// The warm sandboxes of one executor.
#[derive(Clone, Debug)]
pub(super) struct Warm {
    root: PathBuf,
    serving: Serving,
}

impl Warm {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("warm"), serving: Serving::new(state_dir) }
    }

    pub(super) fn serving(&self) -> &Serving {
        &self.serving
    }

    /// Makes or removes some, until `count` wait for attempts like `like`.
    pub(super) async fn keep(
        &self,
        place: &Arc<Place>,
        image: &ImageInfo,
        like: &AttemptSpec,
        count: u32,
    ) -> Result<()> {
        let _only_one = self.making().await?;
        let folder = self.folder(place, image, like);
        let mut usable = Vec::new();
        for name in waiting(&folder)? {
            let state = place.engine.inspect(&name).await?;
            if state.is_some_and(|state| state.status.is_alive()) && usable.len() < count as usize {
                usable.push(name);
            } else {
                discard(place, &folder, &name).await;
            }
        }
        let missing = (count as usize).saturating_sub(usable.len());
        let room = (place.config.max_warm as usize).saturating_sub(self.all()?.len());
        if room < missing {
            let max_warm = place.config.max_warm;
            tracing::info!(max_warm, "no more warm sandboxes: the most of them wait already");
        }
        for _ in 0..missing.min(room) {
            self.make(place, image, like, &folder).await?;
        }
        Ok(())
    }

    /// Held while some are made or removed, by any host: two would make twice as many, or take for left what is just
    /// being made.
    async fn making(&self) -> Result<File> {
        let root = self.root.clone();
        super::blocking(move || {
            let held = fs::create_dir_all(&root).and_then(|()| {
                let lock = File::create(root.join(LOCK))?;
                lock.lock()?;
                Ok(lock)
            });
            held.map_err(|error| Error::from(error).with("path", root.display()))
        })
        .await
    }

    /// Where those wait that attempts like `like` can use.
    fn folder(&self, place: &Place, image: &ImageInfo, like: &AttemptSpec) -> PathBuf {
        self.root.join(like.owner.as_str()).join(class(place, image, like))
    }

    /// All that wait, are being made, or are left by a host that died over it: by name, with their class's folder.
    fn all(&self) -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        for owner in names(&self.root)? {
            found.extend(self.all_of(&owner)?);
        }
        Ok(found)
    }

    fn all_of(&self, owner: &str) -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        let root = self.root.join(owner);
        for class in names(&root)? {
            let folder = root.join(class);
            for name in names(&folder)? {
                found.insert(name.trim_start_matches('.').to_owned(), folder.clone());
            }
        }
        Ok(found)
    }

    /// Removes what nobody can use: sandboxes that have ended, folders, entries and orders without one, and containers
    /// that lead to nobody. Nothing, while some are being made.
    pub(super) async fn sweep(&self, place: &Place, owner: &OwnerId) -> Result<()> {
        let held = match File::open(self.root.join(LOCK)) {
            Ok(lock) => lock,
            // There never were any.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::from(error).with("path", self.root.display())),
        };
        if held.try_lock().is_err() {
            return Ok(());
        }
        let labels = [(OWNER_LABEL, owner.as_str()), (KIND_LABEL, Kind::Warm.as_str())];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        // Asked before the engine is: what an entry leads to then, and the engine does not list, is gone.
        let served = self.serving.all(owner)?;
        let listed: BTreeMap<String, bool> = place
            .engine
            .list(&labels)
            .await?
            .into_iter()
            // Labels may come from an image; the name is given by us alone.
            .filter(|container| container.name.starts_with(WARM_PREFIX))
            .map(|container| (container.name, container.status.is_alive()))
            .collect();
        // Their host was killed after it had removed the sandbox, and before the entry.
        for (_, attempts) in served.iter().filter(|(name, _)| !listed.contains_key(*name)) {
            for attempt in attempts {
                self.serving.remove(owner, *attempt)?;
            }
        }
        let alive: BTreeSet<String> =
            listed.into_iter().filter_map(|(name, is_alive)| is_alive.then_some(name)).collect();
        // What is taken meanwhile serves before it leaves its folder.
        let slots = self.all_of(owner.as_str())?;
        for (name, folder) in &slots {
            if !alive.contains(name) || folder.join(format!(".{name}")).exists() {
                discard(place, folder, name).await;
            }
        }
        let serving = self.serving.all(owner)?;
        for name in alive.iter().filter(|name| !slots.contains_key(*name) && !serving.contains_key(*name)) {
            clear(place, name).await?;
        }
        self.sweep_orders(place).await
    }

    /// Orders of sandboxes that are gone, whoever's they were: nothing else leads to them.
    async fn sweep_orders(&self, place: &Place) -> Result<()> {
        let slots = self.all()?;
        let Some(root) = place.order_dir("x").await?.parent().map(Path::to_owned) else { return Ok(()) };
        let orders = names(&root)?.into_iter().filter(|name| name.starts_with(WARM_PREFIX));
        for name in orders.filter(|name| !slots.contains_key(name)) {
            if place.engine.inspect(&name).await?.is_none() {
                remove_order_dir(&root.join(name));
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        place: &Arc<Place>,
        image: &ImageInfo,
        like: &AttemptSpec,
        folder: &Path,
    ) -> Result<()> {
        let name = new_name();
        let unfinished = folder.join(format!(".{name}"));
        let describe = |error: io::Error| Error::from(error).with("path", unfinished.display());
        fs::create_dir_all(&unfinished).map_err(describe)?;
        let made = async {
            place.give(&unfinished).await?;
            let blueprint = Blueprint {
                name: &name,
                kind: Kind::Warm,
                owner: &like.owner,
                labels: &[],
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
            discard(place, folder, &name).await;
        }
        ended
    }

    /// Gives the order of an attempt to one that waits for such. `None` when there is none that can take it: nothing
    /// has happened then but that the run directory may be another folder.
    pub(super) async fn serve(
        &self,
        place: &Arc<Place>,
        image: &ImageInfo,
        spec: &AttemptSpec,
        order: &Order,
    ) -> Result<Option<(String, Launched)>> {
        let folder = self.folder(place, image, spec);
        for name in waiting(&folder)? {
            // Before it is taken: at no time is there a container that leads to nobody.
            self.serving.write(&spec.owner, spec.id, &name)?;
            match take(&folder.join(&name), &spec.run_dir) {
                Ok(true) => {}
                Ok(false) => {
                    self.serving.remove(&spec.owner, spec.id)?;
                    continue;
                }
                Err(error) => {
                    self.serving.remove(&spec.owner, spec.id)?;
                    tracing::warn!(attempt = %spec.id, error = error.chain(), "a warm sandbox cannot be used");
                    return Ok(None);
                }
            }
            let user = place.known().await?.user;
            let order_dir = place.order_dir(&name).await?;
            if let Err(error) = write_order(&order_dir, order, user) {
                tracing::warn!(attempt = %spec.id, error = error.chain(), "a warm sandbox gets no order");
                self.give_back(place, spec, &name).await?;
                return Ok(None);
            }
            let reply = reply(place, &spec.run_dir, &ContainerId::new(name.as_str())).await?;
            remove_order(&order_dir);
            let id = match place.engine.inspect(&name).await {
                Ok(Some(state)) => state.id,
                _ => ContainerId::new(name.as_str()),
            };
            return Ok(Some((name, Launched { id, reply })));
        }
        Ok(None)
    }

    /// Undoes a taking that led to nothing. The folder stays the attempt's.
    pub(super) async fn give_back(&self, place: &Place, spec: &AttemptSpec, name: &str) -> Result<()> {
        clear(place, name).await?;
        self.serving.remove(&spec.owner, spec.id)
    }
}

/// Removes one that nobody uses. The caller holds the lock, so that nobody is just making it.
async fn discard(place: &Place, folder: &Path, name: &str) {
    let going = folder.join(format!(".{name}"));
    // Whoever has just taken it keeps it.
    match fs::rename(folder.join(name), &going) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(container = name, %error, "a warm sandbox could not be set aside");
            return;
        }
        _ if !going.exists() => return,
        _ => {}
    }
    if let Err(error) = clear(place, name).await {
        tracing::warn!(container = name, error = error.chain(), "a warm sandbox could not be removed yet");
        return;
    }
    if let Err(error) = fs::remove_dir_all(&going)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %going.display(), %error, "the folder of a warm sandbox could not be removed");
    }
    // The last one takes the folders of the class and of the owner along.
    if fs::remove_dir(folder).is_ok()
        && let Some(owner) = folder.parent()
    {
        let _ = fs::remove_dir(owner);
    }
}

/// Everything that is fixed when a container is made. Attempts that agree in it can use the same.
fn class(place: &Place, image: &ImageInfo, spec: &AttemptSpec) -> String {
    let limits = &spec.limits;
    let stated = format!(
        "{:?}",
        (
            (&image.id, spec.network, &spec.read_only),
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
    let mut class = hex(&digest);
    class.truncate(CLASS_CHARS);
    class
}

fn new_name() -> String {
    let mut random = [0; 8];
    OsEntropy.fill(&mut random);
    format!("{WARM_PREFIX}{:016x}", u64::from_be_bytes(random))
}

/// Takes the folder of a warm sandbox, and puts it in the place of `run_dir` with all that lies there. `false` when
/// another was faster. On an error the run directory is as it was, or the folder with all that was there.
fn take(slot: &Path, run_dir: &Path) -> Result<bool> {
    let describe = |error: io::Error| Error::from(error).with("run_dir", run_dir.display());
    let mut taken = run_dir.as_os_str().to_owned();
    taken.push(".warm");
    let taken = PathBuf::from(taken);
    match fs::rename(slot, &taken) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(describe(error)),
    }
    let here = rustix::fs::CWD;
    if let Err(error) = rustix::fs::renameat_with(here, &taken, here, run_dir, RenameFlags::EXCHANGE) {
        // Not on every file system. The sandbox is as it was.
        fs::rename(&taken, slot).map_err(describe)?;
        return Err(describe(error.into()));
    }
    for entry in fs::read_dir(&taken).map_err(describe)? {
        let entry = entry.map_err(describe)?;
        fs::rename(entry.path(), run_dir.join(entry.file_name())).map_err(describe)?;
    }
    fs::remove_dir(&taken).map_err(describe)?;
    Ok(true)
}

/// The names of those that wait in a class's folder.
fn waiting(folder: &Path) -> Result<Vec<String>> {
    Ok(names(folder)?.into_iter().filter(|name| !name.starts_with('.')).collect())
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
