//! The builder that ships.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{
    Collected, Environment, EnvironmentBuilder, EnvironmentFailure, EnvironmentFailureKind, EnvironmentId,
    EnvironmentRequest, Package, SetupLog, UvConfig, Workbench,
    build::Build,
    digest::Digest,
    flight::{Flights, Lines, Outcome},
    folder::{Folder, Guard, Hold, blocking, place_name, place_owner, replace},
    input::Input,
    interpreter::{Interpreter, Wanted},
    lock::{Lock, Resolution},
    packages,
    phase::Builds,
    publish::{RECORD, Record},
    stamp::Stamps,
    tool::{Site, Uv},
    turn::Turns,
};
use crate::{Clock, Result};

/// How many answers are remembered. The table is emptied when it is full.
const REMEMBERED_MAX: usize = 8192;
/// How old the note of an environment's last use may get. Garbage collection is never more exact than this.
pub(super) const USED_NOTE_MAX_AGE: Duration = Duration::from_hours(1);

/// Builds environments with `uv`, each once.
///
/// Which Python: `python_version` of the pipeline, else the folder's `.python-version`, else `requires-python`,
/// else [`UvConfig::default_python`], else what uv finds.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use fastflow_core::{SystemClock, environment::{UvConfig, UvEnvironments}};
///
/// # fn main() -> fastflow_core::Result<()> {
/// let config = UvConfig::new("/var/lib/fastflow/environments");
/// let environments = UvEnvironments::new(config, Arc::new(SystemClock::new()))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UvEnvironments {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) folder: Folder,
    pub(super) clock: Arc<dyn Clock>,
    uv: Uv,
    default_python: Option<String>,
    python_downloads: bool,
    wheels_only: bool,
    build_timeout: Duration,
    max_parallel_builds: NonZeroUsize,
    permits: Semaphore,
    flights: Flights,
    /// Taken to look for an interpreter: the second one finds the record of the first.
    finding: Turns,
    remembered: Mutex<HashMap<EnvironmentRequest, Remembered>>,
    used: Mutex<HashMap<EnvironmentId, Duration>>,
}

#[derive(Clone, Debug)]
struct Remembered {
    environment: Environment,
    stamps: Arc<Stamps>,
}

/// Everything that is known of a request before anything is resolved or built.
struct Plan {
    request: EnvironmentRequest,
    input: Input,
    interpreter: Interpreter,
    /// Names the input, the interpreter and the settings: what a resolved lock is kept under.
    key: String,
}

impl UvEnvironments {
    /// A builder for the folder of `config`. Nothing is read or written before it is used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the folder's path is empty.
    pub fn new(config: UvConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let root = std::path::absolute(&config.environments_dir)?;
        let inner = Inner {
            folder: Folder::new(root),
            clock,
            uv: Uv { given: config.uv, candidates: config.uv_candidates, env: config.extra_env },
            default_python: config.default_python,
            python_downloads: config.python_downloads,
            wheels_only: config.wheels_only,
            build_timeout: config.build_timeout,
            max_parallel_builds: config.max_parallel_builds,
            permits: Semaphore::new(config.max_parallel_builds.get()),
            flights: Flights::default(),
            finding: Turns::default(),
            remembered: Mutex::default(),
            used: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl EnvironmentBuilder for UvEnvironments {
    async fn prepare(
        &self,
        request: &EnvironmentRequest,
        log: &dyn SetupLog,
    ) -> Result<Environment, EnvironmentFailure> {
        if let Some(environment) = self.inner.recall(request).await? {
            return Ok(environment);
        }
        let plan = self.inner.plan(request, log).await?;
        let (inner, stamps) = (Arc::clone(&self.inner), plan.stamps());
        let environment = if let Some(environment) = self.inner.ready(&plan).await? {
            environment
        } else {
            let key = plan.key.clone();
            self.inner.flights.join(key, log, |lines| async move { inner.build(plan, &lines).await }).await?
        };
        self.inner.remember(request, &environment, stamps).await?;
        Ok(environment)
    }

    async fn packages(&self, id: &EnvironmentId) -> Result<Option<Vec<Package>>, EnvironmentFailure> {
        let directory = self.inner.folder.environment(id);
        let read = blocking(move || {
            let record = Record::read(&directory)?;
            record.map(|record| packages::read(&directory, record.has_packages())).transpose()
        });
        read.await
    }

    async fn find(&self, request: &EnvironmentRequest) -> Result<Option<Environment>, EnvironmentFailure> {
        if let Some(environment) = self.inner.recall(request).await? {
            return Ok(Some(environment));
        }
        let (input, _, known) = self.inner.look(request).await?;
        let Some(interpreter) = known else { return Ok(None) };
        let plan = self.inner.planned(request, input, interpreter);
        let found = self.inner.ready(&plan).await?;
        if let Some(environment) = &found {
            self.inner.remember(request, environment, plan.stamps()).await?;
        }
        Ok(found)
    }

    fn max_parallel_builds(&self) -> Option<NonZeroUsize> {
        Some(self.inner.max_parallel_builds)
    }

    async fn collect(
        &self,
        keep: &BTreeSet<EnvironmentId>,
        max_unused: Duration,
        limit: usize,
    ) -> Result<Collected, EnvironmentFailure> {
        Self::collect(self, keep, max_unused, limit).await
    }
}

impl Inner {
    /// The answer of an earlier call, if no file it was made from has changed: a few `stat` calls.
    async fn recall(
        self: &Arc<Self>,
        request: &EnvironmentRequest,
    ) -> Result<Option<Environment>, EnvironmentFailure> {
        let remembered = {
            let table = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            table.get(request).cloned()
        };
        let Some(Remembered { environment, stamps }) = remembered else { return Ok(None) };
        let holds = blocking(move || Ok(stamps.hold())).await?;
        if holds {
            self.note_use(&environment.id).await;
            return Ok(Some(environment));
        }
        Ok(None)
    }

    async fn remember(
        self: &Arc<Self>,
        request: &EnvironmentRequest,
        environment: &Environment,
        mut stamps: Stamps,
    ) -> Result<(), EnvironmentFailure> {
        self.note_use(&environment.id).await;
        let record = environment.directory.join(RECORD);
        let stamps = blocking(move || {
            stamps.note(record);
            Ok(stamps)
        });
        let environment = Environment { built: false, ..environment.clone() };
        let remembered = Remembered { environment, stamps: Arc::new(stamps.await?) };
        let mut table = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= REMEMBERED_MAX {
            table.clear();
        }
        table.insert(request.clone(), remembered);
        Ok(())
    }

    /// Writes down that an environment is in use, once in a while.
    async fn note_use(self: &Arc<Self>, id: &EnvironmentId) {
        let now = self.clock.elapsed();
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            if used.get(id).is_some_and(|noted| now.saturating_sub(*noted) < USED_NOTE_MAX_AGE) {
                return;
            }
            if used.len() >= REMEMBERED_MAX {
                used.clear();
            }
            used.insert(id.clone(), now);
        }
        let (path, text) = (self.folder.used(id), self.clock.now().to_string());
        if let Err(failure) = blocking(move || replace(&path, text.as_bytes())).await {
            tracing::warn!(environment = %id, %failure, "cannot note that an environment is in use");
        }
    }

    async fn plan(
        self: &Arc<Self>,
        request: &EnvironmentRequest,
        log: &dyn SetupLog,
    ) -> Result<Plan, EnvironmentFailure> {
        let folder = self.folder.clone();
        blocking(move || folder.create()).await?;
        let (input, wanted, known) = self.look(request).await?;
        let interpreter = match known {
            Some(interpreter) => interpreter,
            None => self.find(wanted, &*request.place, log).await?,
        };
        Ok(self.planned(request, input, interpreter))
    }

    /// What is asked for, and the interpreter that was found for that before. It only reads.
    async fn look(
        self: &Arc<Self>,
        request: &EnvironmentRequest,
    ) -> Result<(Input, Wanted, Option<Interpreter>), EnvironmentFailure> {
        let (this, asked) = (Arc::clone(self), request.clone());
        let read = blocking(move || {
            let input = Input::read(&asked)?;
            let pinned = input.pinned_python.as_deref();
            let wanted = Wanted::of(&asked, pinned, this.default_python.as_deref(), this.python_downloads)?;
            let known = Interpreter::remembered(&this.folder, &wanted);
            Ok((input, wanted, known))
        });
        read.await
    }

    fn planned(&self, request: &EnvironmentRequest, input: Input, interpreter: Interpreter) -> Plan {
        let mut digest = Digest::new("fastflow-plan-1");
        digest.add(&input.digest);
        digest.add(interpreter.digest());
        digest.add([u8::from(self.wheels_only)]);
        for (name, value) in &self.uv.env {
            digest.add(name);
            digest.add(value);
        }
        if let Some(settings) = &input.settings {
            digest.add(settings);
        }
        Plan { request: request.clone(), input, interpreter, key: digest.finish() }
    }

    async fn find(
        self: &Arc<Self>,
        wanted: Wanted,
        place: &dyn Workbench,
        log: &dyn SetupLog,
    ) -> Result<Interpreter, EnvironmentFailure> {
        let _only_one = self.finding.take(place_name(place)).await;
        let (this, again) = (Arc::clone(self), wanted.clone());
        if let Some(known) = blocking(move || Ok(Interpreter::remembered(&this.folder, &again))).await? {
            return Ok(known);
        }
        let site = self.site(place, log);
        let _hold = self.hold_place(site).await?;
        wanted.find(site).await
    }

    /// The environment of `plan`, if its lock is known and it is there.
    async fn ready(self: &Arc<Self>, plan: &Plan) -> Result<Option<Environment>, EnvironmentFailure> {
        let lock = match Lock::given(&plan.request.dependencies, &plan.input)? {
            Some(lock) => Some(lock),
            None => self.kept(plan).await?,
        };
        match lock {
            Some(lock) => {
                self.open(lock.environment(&plan.interpreter, &plan.key)?, &*plan.request.place).await
            }
            None => Ok(None),
        }
    }

    async fn kept(self: &Arc<Self>, plan: &Plan) -> Result<Option<Lock>, EnvironmentFailure> {
        let (this, source, key) = (Arc::clone(self), plan.request.dependencies.clone(), plan.key.clone());
        blocking(move || Lock::kept(&source, &this.folder, &key)).await
    }

    async fn open(
        self: &Arc<Self>,
        id: EnvironmentId,
        place: &dyn Workbench,
    ) -> Result<Option<Environment>, EnvironmentFailure> {
        let (folder, pythons) = (self.folder.clone(), self.folder.pythons(place));
        let read = blocking(move || {
            let record = Record::read(&folder.environment(&id))?;
            Ok(record.map(|record| record.into_environment(&folder, pythons, false)))
        });
        read.await
    }

    /// Resolves if that was not done yet, builds if that was not done yet.
    async fn build(self: Arc<Self>, plan: Plan, lines: &Lines) -> Outcome {
        let _permit = self.permits.acquire().await.map_err(|error| {
            EnvironmentFailure::new(EnvironmentFailureKind::Internal, format!("no permit to build: {error}"))
        })?;
        let site = self.site(&*plan.request.place, lines);
        let pipeline = std::path::absolute(&plan.request.folder).map_err(|error| {
            EnvironmentFailure::io("find the pipeline's folder", &plan.request.folder, &error)
        })?;
        let _hold = self.hold_place(site).await?;
        let lock = self.lock(&plan, &pipeline, site).await?;
        let id = lock.environment(&plan.interpreter, &plan.key)?;
        let guard = self.guard(id.as_str(), site).await?;
        if let Some(environment) = self.open(id.clone(), site.place).await? {
            return Ok(environment);
        }
        site.log.line(&format!("building environment {}", &id.as_str()[..12]));
        let build = Build {
            id: &id,
            lock: &lock,
            options: &plan.input.options,
            pipeline: &pipeline,
            directory: &plan.input.directory,
            interpreter: &plan.interpreter,
            builds: Builds::of(self.wheels_only),
        };
        let environment = build.run(site, &guard).await?;
        site.log.line(&format!("environment {} is ready", &id.as_str()[..12]));
        Ok(environment)
    }

    async fn lock(
        self: &Arc<Self>,
        plan: &Plan,
        pipeline: &Path,
        site: Site<'_>,
    ) -> Result<Lock, EnvironmentFailure> {
        let source = &plan.request.dependencies;
        if let Some(lock) = Lock::given(source, &plan.input)? {
            return Ok(lock);
        }
        let _guard = self.guard(&plan.key, site).await?;
        if let Some(lock) = self.kept(plan).await? {
            return Ok(lock);
        }
        let resolution = Resolution {
            source,
            pipeline,
            input: &plan.input,
            interpreter: &plan.interpreter,
            key: &plan.key,
            builds: Builds::of(self.wheels_only),
        };
        resolution.run(site).await
    }

    async fn guard(&self, name: &str, site: Site<'_>) -> Result<Guard, EnvironmentFailure> {
        let waiting = || site.log.line("waiting for another process that builds this environment");
        Guard::take(self.folder.guard(name), Hold::Alone, site.clock, site.deadline, waiting).await
    }

    /// Keeps the folders of a place from being removed, as long as what this returns lives.
    async fn hold_place(&self, site: Site<'_>) -> Result<Option<Guard>, EnvironmentFailure> {
        if site.place.is_this_machine() {
            return Ok(None);
        }
        let (folder, name, now) = (self.folder.clone(), place_name(site.place), site.clock.now());
        let path = folder.guard(&place_owner(&name));
        let waiting = || site.log.line("waiting until what was unused is removed");
        let guard = Guard::take(path, Hold::Together, site.clock, site.deadline, waiting).await?;
        blocking(move || folder.open_place(&name, now)).await?;
        Ok(Some(guard))
    }

    fn site<'a>(&'a self, place: &'a dyn Workbench, log: &'a dyn SetupLog) -> Site<'a> {
        let deadline = self.clock.elapsed() + self.build_timeout;
        Site { uv: &self.uv, place, folder: &self.folder, clock: &*self.clock, deadline, log }
    }
}

impl Plan {
    fn stamps(&self) -> Stamps {
        let mut stamps = self.input.stamps.clone();
        if let Some(file) = self.interpreter.file() {
            stamps.note(file.to_owned());
        }
        stamps
    }
}
