//! Where master keys come from.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use zeroize::{Zeroize as _, Zeroizing};

use super::{
    MasterKey, Secret, SecretVariables,
    key_file::read_key_file,
    program::{Answer, ProgramCall, ask},
};
use crate::{Clock, Error, ErrorKind, Result};

/// Where a master key comes from.
///
/// ```
/// use fastflow_core::{OsEntropy, SystemClock, secret::{MasterKeySource, generate_key_file}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// let path = place.path().join("master.key");
/// let id = generate_key_file(&path, &OsEntropy)?;
/// let source = MasterKeySource::File(path);
/// assert_eq!(source.load(&SystemClock::new()).await?.id(), id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum MasterKeySource {
    /// An environment variable of this process. Whoever can read its environment, can read the key: a file is better.
    Variable(String),
    /// A file that belongs to this user or root, and that nobody else can read or change: mode 600 or 400. Links are
    /// followed.
    File(PathBuf),
    /// What a program writes on its standard output: the command line of a vault, or of a cloud. It is started without a
    /// shell and with an empty standard input, and has 30 s.
    Command {
        /// Its path, or its name on the `PATH` of this process.
        program: PathBuf,
        /// What it is told.
        args: Vec<String>,
        /// The variables of this process that it finds, besides `PATH`, `HOME` and `LANG`. It finds no others.
        inherit: BTreeSet<String>,
    },
    /// A key that is at hand.
    Key(MasterKey),
}

impl MasterKeySource {
    /// Gets the key.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is not there; `Denied` for a file of somebody else, or one that others can read or change;
    /// `Invalid` for what [is no master key](MasterKey::parse); `Unavailable` for a program that fails or takes too long.
    /// No error shows what was found.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing, and a program is ended with its process group.
    pub async fn load(&self, clock: &dyn Clock) -> Result<MasterKey> {
        match self {
            Self::Variable(name) => MasterKey::parse(&variable(name)?)
                .map_err(|error| error.with("variable", name.escape_debug())),
            Self::File(path) => {
                let text = read(path.clone()).await?;
                MasterKey::parse(&text).map_err(|error| error.with("path", path.display()))
            }
            Self::Command { program, args, inherit } => {
                let mut call = ProgramCall::new(program, args.clone());
                call.inherited.clone_from(inherit);
                let text = asked(&call, clock).await?;
                MasterKey::parse(text.expose()).map_err(|error| error.with("program", program.display()))
            }
            Self::Key(key) => Ok(key.clone()),
        }
    }
}

impl MasterKeySource {
    /// The variables of this process that hold the key, or lead to it.
    pub(crate) fn variables(&self) -> SecretVariables {
        match self {
            Self::Variable(name) => {
                SecretVariables { names: [name.clone()].into(), ..SecretVariables::default() }
            }
            Self::Command { inherit, .. } => SecretVariables::of_program(inherit),
            Self::File(_) | Self::Key(_) => SecretVariables::default(),
        }
    }
}

impl fmt::Debug for MasterKeySource {
    /// Shows no key, but which one it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // People do put passwords into arguments.
            Self::Command { program, args, inherit } => f
                .debug_struct("Command")
                .field("program", program)
                .field("args", &args.len())
                .field("inherit", inherit)
                .finish(),
            Self::Key(key) => f.debug_tuple("Key").field(&key.id()).finish(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "its owner names the variable that has the key")]
fn variable(name: &str) -> Result<Zeroizing<String>> {
    let error = |kind, message: &'static str| Error::new(kind, message).with("variable", name.escape_debug());
    let value = std::env::var_os(name)
        .ok_or_else(|| error(ErrorKind::NotFound, "the variable of the master key is not set"))?;
    value.into_string().map(Zeroizing::new).map_err(|value| {
        value.into_encoded_bytes().zeroize();
        error(ErrorKind::Invalid, "the variable of the master key does not hold text")
    })
}

async fn read(path: PathBuf) -> Result<Zeroizing<String>> {
    tokio::task::spawn_blocking(move || read_key_file(&path)).await.map_err(|panic| {
        Error::new(ErrorKind::Internal, "the thread that reads the file of the master key has died")
            .because(panic)
    })?
}

async fn asked(call: &ProgramCall, clock: &dyn Clock) -> Result<Secret> {
    match ask(call, clock).await? {
        Answer::Secret(text) => Ok(text),
        Answer::Failed { code, spoke } => {
            let message = "the program that has the master key failed; what it said is not shown, as it may hold the key";
            let error = Error::new(ErrorKind::Unavailable, message).with("program", call.program.display());
            Err(error.with("code", code).with("gave_a_reason", spoke))
        }
    }
}
