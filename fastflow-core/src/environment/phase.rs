//! In which order uv is let do what, so that the code of a package never runs where others' files can be written.
//!
//! Whoever writes to the cache that a place shares decides what is installed into every environment made from it later:
//! uv checks hashes when it unpacks, and trusts what is unpacked. So whatever may run code of a package (the build of a
//! source) works with a cache of its own, and only after everything else has failed without.

use super::{
    EnvironmentFailure,
    classify::Stage,
    folder::{Guard, blocking, create_anew, remove_tree},
    lock,
    tool::{Cache, Call, Ended, Site},
};

/// Whether uv may build packages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Builds {
    Allowed,
    Refused,
}

impl Builds {
    /// As it is configured.
    pub(super) fn of(wheels_only: bool) -> Self {
        if wheels_only { Self::Refused } else { Self::Allowed }
    }
}

/// Whether uv builds nothing where it is told so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Obedience {
    /// It does as it is told.
    Kept,
    /// It builds a project that does not say plainly what it requires, whatever it is told.
    ProjectsAreBuilt,
}

/// One try of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Phase<'a> {
    pub(super) builds: Builds,
    pub(super) cache: Cache<'a>,
}

/// What is done in phases.
pub(super) struct Phased<'a> {
    pub(super) stage: Stage,
    /// Whose guard is held; names the private cache.
    pub(super) owner: &'a str,
    /// A lock for the tools.
    pub(super) guard: Option<&'a Guard>,
    /// As it is configured.
    pub(super) builds: Builds,
    pub(super) obedience: Obedience,
    /// Makes the call.
    pub(super) call: &'a (dyn Fn(Phase<'_>) -> Call + Sync),
}

impl Phased<'_> {
    /// Runs the careful phase and, if that fails, the other. The failure is that of the last.
    pub(super) async fn run(&self, site: Site<'_>) -> Result<Ended, EnvironmentFailure> {
        if site.place.is_this_machine() {
            return self.last(Phase { builds: self.builds, cache: Cache::Shared }, site).await;
        }
        let cache = site.folder.uv_cache(site.place, Cache::Private(self.owner));
        let (made, left) = (cache.clone(), cache);
        blocking(move || create_anew(&made)).await?;
        let ended = self.elsewhere(site).await;
        // What cannot be removed now is removed with other leftovers; how this ended matters more.
        let _ = blocking(move || remove_tree(&left)).await;
        ended
    }

    async fn elsewhere(&self, site: Site<'_>) -> Result<Ended, EnvironmentFailure> {
        let careful = Phase { builds: Builds::Refused, cache: Cache::Shared };
        let free = Phase { builds: self.builds, cache: Cache::Private(self.owner) };
        match (self.obedience, self.builds) {
            (Obedience::ProjectsAreBuilt, _) => self.last(free, site).await,
            (Obedience::Kept, Builds::Refused) => self.last(careful, site).await,
            (Obedience::Kept, Builds::Allowed) => {
                let ended = self.once(careful, site).await?;
                if ended.succeeded() {
                    return Ok(ended);
                }
                site.log.line("not without building packages: trying again, apart from what others use");
                self.last(free, site).await
            }
        }
    }

    async fn last(&self, phase: Phase<'_>, site: Site<'_>) -> Result<Ended, EnvironmentFailure> {
        let ended = self.once(phase, site).await?;
        if ended.succeeded() {
            return Ok(ended);
        }
        // What is asked now meets files that packages may have left.
        let again = (self.call)(Phase { cache: Cache::Private(self.owner), ..phase });
        Err(lock::failure(self.stage, &ended, &again, site).await)
    }

    async fn once(&self, phase: Phase<'_>, site: Site<'_>) -> Result<Ended, EnvironmentFailure> {
        site.run((self.call)(phase), self.guard).await.map_err(|failed| site.explain(failed))
    }
}
