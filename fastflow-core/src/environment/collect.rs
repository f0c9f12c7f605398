//! Removes environments that nobody needs any more.

use std::{collections::BTreeSet, fs, io, path::Path, str::FromStr, sync::Arc, time::Duration};

use super::{
    EnvironmentFailure, EnvironmentId, UvEnvironments,
    folder::{Folder, Guard, Hold, THIS_MACHINE, blocking, place_owner, remove_tree},
    publish::Record,
    uv::{Inner, USED_NOTE_MAX_AGE},
};
use crate::Timestamp;

/// What a garbage collection did.
///
/// ```
/// use fastflow_core::environment::Collected;
///
/// assert_eq!(Collected::default().removed.len(), 0);
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Collected {
    /// The environments that are gone.
    pub removed: Vec<EnvironmentId>,
    /// Leftovers of interrupted builds, and places that nobody builds in any more, whose caches and interpreters are gone.
    pub leftovers: usize,
    /// Whether there is more to do than this call was allowed.
    pub more: bool,
}

impl UvEnvironments {
    /// The shortest time an environment stays unused before it may be removed. It is longer than the note of
    /// its last use may be old.
    pub const MIN_UNUSED: Duration = Duration::from_secs(2 * USED_NOTE_MAX_AGE.as_secs());

    /// Removes at most `limit` environments that were not asked for since `max_unused`, caches and interpreters of places
    /// that nobody built in since then, and what crashed builds left. Never one of `keep`, never one that is being built,
    /// and no interpreter that an environment was made with. Resolved locks stay: they are small, and they make the same
    /// environment come back.
    ///
    /// # Errors
    ///
    /// An [`EnvironmentFailure`] if the folder cannot be read or an environment cannot be removed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops waiting; what was begun goes on in the background.
    pub async fn collect(
        &self,
        keep: &BTreeSet<EnvironmentId>,
        max_unused: Duration,
        limit: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        let (inner, keep) = (Arc::clone(&self.inner), keep.clone());
        let max_unused = max_unused.max(Self::MIN_UNUSED);
        blocking(move || inner.collect(&keep, max_unused, limit)).await
    }
}

impl Inner {
    fn collect(
        &self,
        keep: &BTreeSet<EnvironmentId>,
        max_unused: Duration,
        limit: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        let folder = &self.folder;
        let mut collected = Collected::default();
        let now = self.clock.now();
        for name in entries(folder.root())? {
            if collected.removed.len() + collected.leftovers >= limit {
                collected.more = true;
                break;
            }
            if let Some(owner) = leftover(&name) {
                collected.leftovers += usize::from(remove_leftover(folder, &name, owner)?);
            } else if let Ok(id) = EnvironmentId::from_str(&name)
                && !keep.contains(&id)
                && is_unused(folder, &id, now, max_unused)
                && remove(folder, &id, now, max_unused)?
            {
                collected.removed.push(id);
            }
        }
        self.collect_places(&mut collected, max_unused, limit)?;
        Ok(collected)
    }

    /// Removes what belongs to places that nobody has built in since `max_unused`: an image that was replaced is another
    /// place, and never uses this one's again. What belongs to this machine stays.
    fn collect_places(
        &self,
        collected: &mut Collected,
        max_unused: Duration,
        limit: usize,
    ) -> Result<(), EnvironmentFailure> {
        let (folder, now) = (&self.folder, self.clock.now());
        for name in places(folder)? {
            let is_unused = || is_past(noted(&folder.place_used(&name)), now, max_unused);
            if !is_unused() {
                continue;
            }
            if collected.removed.len() + collected.leftovers >= limit {
                collected.more = true;
                break;
            }
            let owner = place_owner(&name);
            let Some(_guard) = take(folder, &owner)? else { continue };
            if !is_unused() {
                continue;
            }
            let mut is_removed = remove_of_place(&folder.shared_caches().join(&name), folder, &owner)?;
            let pythons = folder.all_pythons().join(&name);
            // Environments hold no more than links to their interpreter.
            let is_needed = pythons.exists() && is_linked(folder, &pythons)?;
            if !is_needed {
                is_removed |= remove_of_place(&pythons, folder, &owner)?;
                forget(&folder.place_used(&name))?;
                forget(&folder.guard(&owner))?;
            }
            collected.leftovers += usize::from(is_removed);
        }
        Ok(())
    }
}

/// The names of places other than this machine that have folders.
fn places(folder: &Folder) -> Result<BTreeSet<String>, EnvironmentFailure> {
    let mut names = BTreeSet::new();
    for path in [folder.shared_caches(), folder.all_pythons()] {
        names.extend(entries(&path)?.into_iter().filter(|name| name != THIS_MACHINE));
    }
    Ok(names)
}

/// Whether an environment was made with one of the interpreters in `pythons`. The guard of their place keeps others
/// from being made meanwhile.
fn is_linked(folder: &Folder, pythons: &Path) -> Result<bool, EnvironmentFailure> {
    for name in entries(folder.root())? {
        let Ok(id) = EnvironmentId::from_str(&name) else { continue };
        let record = Record::read(&folder.environment(&id))?;
        if record.is_some_and(|record| record.interpreter.starts_with(pythons)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a folder of a place, whose guard is held. Whether there was one.
fn remove_of_place(from: &Path, folder: &Folder, owner: &str) -> Result<bool, EnvironmentFailure> {
    // What of it is left after a crash must not be taken for the folder.
    let to = folder.root().join(format!(".removing-{owner}"));
    remove_tree(&to)?;
    match fs::rename(from, &to) {
        Ok(()) => remove_tree(&to).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(EnvironmentFailure::io("remove", from, &error)),
    }
}

/// The names in a folder; none where there is no folder.
fn entries(path: &Path) -> Result<Vec<String>, EnvironmentFailure> {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| EnvironmentFailure::io("read", path, &error)),
    }
}

/// Whose guard a leftover belongs to.
fn leftover(name: &str) -> Option<&str> {
    let prefixes = [".building-", ".input-", ".removing-", ".resolving-", ".cache-"];
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))
}

fn remove_leftover(folder: &Folder, name: &str, owner: &str) -> Result<bool, EnvironmentFailure> {
    let Some(_guard) = take(folder, owner)? else { return Ok(false) };
    remove_tree(&folder.root().join(name))?;
    Ok(true)
}

fn is_unused(folder: &Folder, id: &EnvironmentId, now: Timestamp, max_unused: Duration) -> bool {
    let last = noted(&folder.used(id));
    let last = last.or_else(|| Record::read(&folder.environment(id)).ok().flatten().map(|r| r.created_at));
    is_past(last, now, max_unused)
}

/// When something was last used, if that was noted.
fn noted(path: &Path) -> Option<Timestamp> {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<Timestamp>().ok())
}

/// Whether `last` is longer ago than `max_unused`. A clock that went back makes a thing look used, which only keeps it
/// longer.
fn is_past(last: Option<Timestamp>, now: Timestamp, max_unused: Duration) -> bool {
    last.is_none_or(|last| now.duration_since(last).unsigned_abs() > max_unused && last < now)
}

fn remove(
    folder: &Folder,
    id: &EnvironmentId,
    now: Timestamp,
    max_unused: Duration,
) -> Result<bool, EnvironmentFailure> {
    let Some(guard) = take(folder, id.as_str())? else { return Ok(false) };
    if !is_unused(folder, id, now, max_unused) {
        return Ok(false);
    }
    // The name goes first and at once: from here on it is not there, and is built anew when asked for.
    let (from, to) = (folder.environment(id), folder.removing(id));
    fs::rename(&from, &to).map_err(|error| EnvironmentFailure::io("remove", &from, &error))?;
    remove_tree(&to)?;
    forget(&folder.used(id))?;
    forget(&folder.guard(id.as_str()))?;
    drop(guard);
    Ok(true)
}

fn forget(path: &Path) -> Result<(), EnvironmentFailure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EnvironmentFailure::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}

fn take(folder: &Folder, name: &str) -> Result<Option<Guard>, EnvironmentFailure> {
    let path = folder.guard(name);
    Guard::try_take(&path, Hold::Alone).map_err(|error| EnvironmentFailure::io("lock", &path, &error))
}
