//! Secrets from another program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    FoundSecret, Secret, SecretName, SecretReader, SecretStore, SecretVariables,
    program::{Answer, ProgramCall, ask},
};
use crate::{Clock, Error, ErrorKind, Result, SystemClock};

/// Where the name of a secret, and that of the pipeline that asks, stand in the arguments.
const NAME: &str = "{name}";
const PIPELINE: &str = "{pipeline}";
/// The most programs at one time, of one search.
const MAX_AT_ONCE: usize = 4;

/// A program that is asked for each name, such as the command line of a vault.
///
/// It is started without a shell, once a name, with `{name}` and `{pipeline}` in its arguments replaced: neither can be
/// anything but a name, so neither can be taken for an option, a path or another argument. Its standard input is empty,
/// and of the variables of this process it finds `PATH`, `HOME`, `LANG` and those that are [named](Self::inherit). What
/// it writes on its standard output, at most 64 KiB of UTF-8 without NUL, is the value; a line end is removed where it is
/// the only one, and at the end. Its standard error is shown to nobody, since it may hold secrets, too.
///
/// It has 30 s, and then is killed with all that it has started in its process group. At most four run at one time. A
/// program that leaves another one behind has to close its outputs for it.
///
/// Any exit code but 0 is an error that is worth another try, except for the one that says that there is
/// [no such secret](Self::missing_code).
///
/// ```
/// use std::time::Duration;
/// use fastflow_core::secret::CommandSecrets;
///
/// # fn main() -> fastflow_core::Result<()> {
/// let vault = CommandSecrets::new("vault", ["kv", "get", "-mount=secret", "-field=value", "{pipeline}/{name}"])?
///     .inherit(["VAULT_ADDR", "VAULT_TOKEN"])
///     .timeout(Duration::from_secs(10));
///
/// let one_password = CommandSecrets::new("op", ["read", "--no-newline", "op://vault/{name}/password"])?
///     .inherit(["OP_SERVICE_ACCOUNT_TOKEN"]);
///
/// let aws = CommandSecrets::new(
///     "aws",
///     ["secretsmanager", "get-secret-value", "--secret-id={name}", "--query=SecretString", "--output=text"],
/// )?
/// .inherit(["AWS_PROFILE", "AWS_REGION"]);
///
/// let google = CommandSecrets::new("gcloud", ["secrets", "versions", "access", "latest", "--secret={name}"])?
///     .inherit(["CLOUDSDK_CONFIG"]);
///
/// // A program of your own can tell a secret that is not there from one that cannot be had now.
/// let own = CommandSecrets::new("/usr/local/bin/secret-for", ["{pipeline}", "{name}"])?.missing_code(44);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CommandSecrets {
    program: PathBuf,
    args: Vec<String>,
    inherited: BTreeSet<String>,
    env: BTreeMap<String, Secret>,
    missing_code: Option<i32>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl CommandSecrets {
    /// The program at a path, or with a name on the `PATH` of this process, and its arguments.
    ///
    /// # Errors
    ///
    /// `Invalid` when no argument has `{name}`: it would give the same value for every name.
    pub fn new<A: Into<String>>(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let (program, args): (_, Vec<String>) = (program.into(), args.into_iter().map(Into::into).collect());
        if !args.iter().any(|arg| arg.contains(NAME)) {
            let message = "a program that is asked for secrets needs `{name}` in one of its arguments";
            return Err(Error::new(ErrorKind::Invalid, message).with("program", program.display()));
        }
        Ok(Self {
            program,
            args,
            inherited: BTreeSet::new(),
            env: BTreeMap::new(),
            missing_code: None,
            timeout: ProgramCall::TIMEOUT,
            clock: Arc::new(SystemClock::new()),
        })
    }

    /// Passes on these variables of this process, too.
    #[must_use]
    pub fn inherit<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.inherited.extend(names.into_iter().map(Into::into));
        self
    }

    /// Gives it a variable. It wins over one that is passed on.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.env.insert(name.into(), value);
        self
    }

    /// The exit code by which it says that there is no such secret, so that a store that is asked later may have it.
    ///
    /// Take one that means nothing else. `vault`, `aws`, `op` and `gcloud` have none: they say the same when they cannot
    /// reach their server.
    #[must_use]
    pub fn missing_code(mut self, code: i32) -> Self {
        self.missing_code = Some(code);
        self
    }

    /// How long it may take for one name: 30 s, if nothing is said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// By which clock that is measured: the machine's, if nothing is said.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    async fn find_one(&self, name: &SecretName, reader: &SecretReader) -> Result<Option<FoundSecret>> {
        let filled =
            |arg: &String| arg.replace(NAME, name.as_str()).replace(PIPELINE, reader.pipeline.as_str());
        let mut call = ProgramCall::new(&self.program, self.args.iter().map(filled).collect());
        call.inherited.clone_from(&self.inherited);
        call.env.clone_from(&self.env);
        call.timeout = self.timeout;
        let answer = ask(&call, &*self.clock).await.map_err(|error| error.with("secret", name))?;
        match answer {
            Answer::Secret(value) => Ok(Some(FoundSecret::secret(self.kind(), name.clone(), value))),
            Answer::Failed { code, .. } if self.missing_code == Some(code) => Ok(None),
            Answer::Failed { code, spoke } => {
                let why = if spoke { "on its standard error, not shown" } else { "none" };
                Err(Error::new(ErrorKind::Unavailable, "the program that was asked for a secret failed")
                    .with("program", self.program.display())
                    .with("code", code)
                    .with("reason", why)
                    .with("secret", name))
            }
        }
    }
}

impl fmt::Debug for CommandSecrets {
    /// Shows neither arguments nor values: people do put passwords there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSecrets")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("inherited", &self.inherited)
            .field("env", &self.env.keys().collect::<BTreeSet<_>>())
            .field("missing_code", &self.missing_code)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SecretStore for CommandSecrets {
    fn kind(&self) -> &'static str {
        "command"
    }

    fn variables(&self) -> SecretVariables {
        SecretVariables::of_program(&self.inherited)
    }

    async fn find(
        &self,
        names: &BTreeSet<SecretName>,
        reader: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        let asked: Vec<_> = names.iter().map(|name| self.find_one(name, reader)).collect();
        let found: Vec<_> = stream::iter(asked).buffer_unordered(MAX_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().map(|found| (found.used.name.clone(), found)).collect())
    }
}
