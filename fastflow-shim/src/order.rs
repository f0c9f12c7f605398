//! What the shim is told to do.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Secret, mask::MAX_VALUES_BYTES, secret::exposed};

/// The version of the format that this code writes and reads.
pub const VERSION: u32 = 2;

/// The largest order that is read, in bytes. Far above what an environment block may hold.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Everything the shim needs to run one attempt. It carries secrets: hand it over through a pipe, or as a
/// file on a private tmpfs that was written elsewhere and renamed into place.
///
/// ```
/// use fastflow_shim::Order;
///
/// let mut order = Order::new("01890a5d", ["/bin/true"], "/srv/work", "/srv/run");
/// order.timeout_ms = Some(60_000);
/// assert_eq!(Order::from_slice(&order.to_vec().unwrap()).unwrap(), order);
/// ```
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// [`VERSION`]; an order of any other version is refused.
    pub version: u32,
    /// The attempt's id, repeated in its guard and its exit record.
    pub attempt: String,
    /// The program and its arguments. The program is an absolute path, or a name that is looked for in the `PATH` of
    /// [`env`](Self::env).
    pub argv: Vec<String>,
    /// The whole environment of the program; nothing is inherited.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables of the program beside [`env`](Self::env) whose values are secret; they win over it. All values, these and
    /// those of files, have at most [`MAX_VALUES_BYTES`] together.
    #[serde(default, with = "exposed")]
    pub secret_env: BTreeMap<String, Secret>,
    /// Secrets that the program finds as files.
    #[serde(default)]
    pub secret_files: Option<SecretFiles>,
    /// The program's working directory, absolute.
    pub working_dir: PathBuf,
    /// Where the files of [`layout`](crate::layout) are written, absolute.
    pub run_dir: PathBuf,
    /// How long the program may run, from its start.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// How long after SIGTERM the tree gets SIGKILL.
    pub stop_grace_ms: u64,
    /// How much of the program's output is kept.
    pub log: LogLimits,
    /// How its use of the machine is watched.
    pub usage: UsagePolicy,
    /// Directories of cgroups, made by the caller for this attempt alone, that the shim joins before it
    /// starts the program. Whatever is in them besides the shim is killed at the end.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
    /// The program's resource limits.
    #[serde(default)]
    pub rlimits: Rlimits,
    /// What is taken out of the log.
    #[serde(default)]
    pub mask: MaskPolicy,
}

impl Order {
    /// An order with defaults for all that is optional: an empty environment, no timeout, 10 s of grace.
    pub fn new(
        attempt: impl Into<String>,
        argv: impl IntoIterator<Item = impl Into<String>>,
        working_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            version: VERSION,
            attempt: attempt.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            secret_files: None,
            working_dir: working_dir.into(),
            run_dir: run_dir.into(),
            timeout_ms: None,
            stop_grace_ms: 10_000,
            log: LogLimits::default(),
            usage: UsagePolicy::default(),
            cgroups: Vec::new(),
            rlimits: Rlimits::default(),
            mask: MaskPolicy::default(),
        }
    }

    /// The order as the bytes the shim reads, wiped when they are dropped.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn to_vec(&self) -> Result<Zeroizing<Vec<u8>>, OrderError> {
        let failed = |error| OrderError::new(format!("the order cannot be written as JSON: {error}"));
        let mut size = Counter(0);
        serde_json::to_writer(&mut size, self).map_err(failed)?;
        // A vector that grows leaves copies of what was in it.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size.0));
        serde_json::to_writer(&mut *bytes, self).map_err(failed)?;
        Ok(bytes)
    }

    /// Reads and checks an order.
    ///
    /// # Errors
    /// When the bytes are not one whole order of this [`VERSION`], or when the order cannot be carried out.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OrderError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // The version comes first: a later format may differ in everything else.
        let Version { version } = serde_json::from_slice(bytes)
            .map_err(|error| OrderError::new(format!("the order cannot be read: {error}")))?;
        if version != VERSION {
            return Err(OrderError::new(format!(
                "the order has version {version}, this executable knows version {VERSION}: use the one that belongs to the host"
            )));
        }
        let order: Self = serde_json::from_slice(bytes)
            .map_err(|error| OrderError::new(format!("the order cannot be read: {error}")))?;
        order.check()?;
        Ok(order)
    }

    /// Checks what [`from_slice`](Self::from_slice) checks, without copies of what is secret.
    ///
    /// # Errors
    /// When the order cannot be carried out.
    pub fn check(&self) -> Result<(), OrderError> {
        let program = self.argv.first().ok_or_else(|| OrderError::new("argv is empty".to_owned()))?;
        let is_name = !program.contains('/') && self.env.contains_key("PATH");
        let absolute = [
            ("argv[0]", if is_name { Path::new("/") } else { Path::new(program) }),
            ("working_dir", self.working_dir.as_path()),
            ("run_dir", self.run_dir.as_path()),
        ];
        for (field, path) in
            absolute.into_iter().chain(self.cgroups.iter().map(|path| ("cgroups", path.as_path())))
        {
            if !path.is_absolute() {
                return Err(OrderError::new(format!(
                    "{field} must be an absolute path, is {}",
                    path.display()
                )));
            }
        }
        self.check_environment()?;
        self.check_secrets()
    }

    fn check_environment(&self) -> Result<(), OrderError> {
        let bad_name = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
        let wrong = self.env.keys().find(bad_name).map(|name| ("env", name));
        if let Some((field, name)) =
            wrong.or(self.secret_env.keys().find(bad_name).map(|name| ("secret_env", name)))
        {
            return Err(OrderError::new(format!(
                "{field} has the name {name:?}: it must not be empty or contain '=' or NUL"
            )));
        }
        if self.argv.iter().chain(self.env.values()).any(|text| text.contains('\0')) {
            return Err(OrderError::new("argv and env must not contain NUL".to_owned()));
        }
        match self.secret_env.iter().find(|(_, secret)| secret.expose().contains('\0')) {
            Some((name, _)) => {
                Err(OrderError::new(format!("the value of {name} in secret_env contains NUL")))
            }
            None => Ok(()),
        }
    }

    fn check_secrets(&self) -> Result<(), OrderError> {
        let files = self.secret_files.iter().flat_map(|secrets| &secrets.files);
        let bytes: usize = self.secret_env.iter().chain(files).map(|(_, secret)| secret.expose().len()).sum();
        if bytes > MAX_VALUES_BYTES {
            return Err(OrderError::new(format!(
                "the secrets have {bytes} bytes together: at most {MAX_VALUES_BYTES} can be masked"
            )));
        }
        for path in &self.mask.files {
            let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir));
            if !path.is_absolute() || !is_plain || path.file_name().is_none() {
                return Err(OrderError::new(format!(
                    "mask.files must be absolute paths of files without '..', has {}",
                    path.display()
                )));
            }
        }
        let Some(secrets) = &self.secret_files else { return Ok(()) };
        if !secrets.dir.is_absolute() || secrets.dir.file_name().is_none() {
            return Err(OrderError::new(format!(
                "secret_files.dir must be an absolute path of a folder that can be made, is {}",
                secrets.dir.display()
            )));
        }
        let bad_name =
            |name: &&String| matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']);
        match secrets.files.keys().find(bad_name) {
            Some(name) => {
                Err(OrderError::new(format!("secret_files has the name {name:?}, which no file can have")))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Order {
    /// Shows neither arguments nor values of the environment: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("attempt", &self.attempt)
            .field("program", &self.argv.first())
            .field("run_dir", &self.run_dir)
            .finish_non_exhaustive()
    }
}

/// How much of the program's output is kept.
///
/// A log that outgrows `max_bytes` keeps its first `max_bytes - tail_bytes` and its last `tail_bytes`, with
/// a record of what is missing between them. The program is never held up.
///
/// ```
/// let limits = fastflow_shim::LogLimits::default();
/// assert!(limits.tail_bytes < limits.max_bytes);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogLimits {
    /// The largest size of the log file.
    pub max_bytes: u64,
    /// The part of it that belongs to the newest records.
    pub tail_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_bytes: 1024 * 1024 * 1024, tail_bytes: 64 * 1024 * 1024 }
    }
}

/// How the program's use of the machine is watched.
///
/// ```
/// assert_eq!(fastflow_shim::UsagePolicy::default().interval_ms, 1_000);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UsagePolicy {
    /// The time between two samples.
    pub interval_ms: u64,
    /// The CPU rate above which a sample is flagged; 1000 is one core. Nothing else happens.
    #[serde(default)]
    pub soft_cpu_millis: Option<u32>,
    /// The memory above which a sample is flagged. Nothing else happens.
    #[serde(default)]
    pub soft_memory_bytes: Option<u64>,
}

impl Default for UsagePolicy {
    fn default() -> Self {
        Self { interval_ms: 1_000, soft_cpu_millis: None, soft_memory_bytes: None }
    }
}

/// Resource limits of the program, soft and hard alike. A limit above what the shim itself has is lowered to that.
///
/// ```
/// assert_eq!(fastflow_shim::Rlimits::default().core_bytes, 0);
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rlimits {
    /// Open files; `None` leaves what the shim has.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// The size of a core dump; none by default. Whatever it is, no memory of the program is in it.
    #[serde(default)]
    pub core_bytes: u64,
    /// The size of any file the program writes; `None` leaves what the shim has.
    #[serde(default)]
    pub file_bytes: Option<u64>,
}

/// Secrets that the program finds as files, one each, which only its user can read. The program finds the folder in
/// `FASTFLOW_SECRETS_DIR`.
///
/// ```
/// use fastflow_shim::{Secret, SecretFiles};
///
/// let mut secrets = SecretFiles::new("/dev/shm/fastflow-1");
/// secrets.files.insert("TOKEN".into(), Secret::new("s3cret"));
/// ```
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFiles {
    /// The folder, absolute, on a file system in memory (tmpfs or ramfs). The shim makes it, so nothing may be there, and
    /// removes it with all that is in it when the program has ended.
    pub dir: PathBuf,
    /// The files by name, with what is in them.
    #[serde(with = "exposed")]
    pub files: BTreeMap<String, Secret>,
}

impl SecretFiles {
    /// No file yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), files: BTreeMap::new() }
    }
}

impl fmt::Debug for SecretFiles {
    /// Shows no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFiles").field("dir", &self.dir).field("files", &self.files.keys()).finish()
    }
}

/// Where secrets are masked beside the log, in which they always are: those of the order, and those that the program
/// adds with a line `::add-mask::<value>`.
///
/// ```
/// assert!(fastflow_shim::MaskPolicy::default().files.is_empty());
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct MaskPolicy {
    /// Files that the program may leave and others read, absolute. When it has ended, secrets are masked in them, too,
    /// and the log says in which any were. One in which they cannot be is removed: a link, something that is no file, or
    /// what has more than [`MAX_MASKED_FILE_BYTES`](crate::mask::MAX_MASKED_FILE_BYTES).
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

/// Counts what is written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why an order cannot be carried out.
///
/// ```
/// let error = fastflow_shim::Order::from_slice(b"{").unwrap_err();
/// assert!(error.to_string().starts_with("the order cannot be read"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderError(String);

impl OrderError {
    fn new(message: String) -> Self {
        Self(message)
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OrderError {}
