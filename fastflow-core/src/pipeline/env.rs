//! Names and values of a run's environment variables.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The longest value, in bytes: Linux takes no longer single argument or variable.
pub const MAX_ENV_VALUE_BYTES: usize = 128 * 1024 - 1;

/// Names that decide what is loaded and executed, or that are ours. Nobody who only starts runs may set them.
const REFUSED: &[&str] = &[
    "BASH_ENV",
    "CONTAINER_HOST",
    "DOCKER_HOST",
    "ENV",
    "GCONV_PATH",
    "PATH",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "VIRTUAL_ENV",
];
const REFUSED_PREFIXES: &[&str] = &["FASTFLOW_", "LD_", "UV_", "_fastflow_"];

/// The name of an environment variable that a pipeline or a caller may set.
///
/// Visible ASCII without `=`, at most 255 bytes, and none of the names that change which code runs: `PATH`,
/// `PYTHONPATH`, `PYTHONHOME`, `LD_*`, `UV_*`, `FASTFLOW_*` and the like.
///
/// ```
/// use fastflow_core::pipeline::EnvName;
///
/// assert!("DATABASE_URL".parse::<EnvName>().is_ok());
/// assert!("LD_PRELOAD".parse::<EnvName>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvName(Box<str>);

impl EnvName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |message: &'static str| {
            Error::new(ErrorKind::Invalid, message)
                .with("name", text.escape_debug().take(80).collect::<String>())
        };
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
        if text.is_empty() || text.len() > Self::MAX_BYTES || !plain {
            return Err(wrong(
                "not a name of an environment variable: 1 to 255 visible ASCII characters without `=`",
            ));
        }
        if REFUSED.contains(&text) || REFUSED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(wrong(
                "this variable decides which code runs or belongs to the host, so a pipeline cannot set it",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for EnvName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<EnvName> for String {
    fn from(name: EnvName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Checks the value of an environment variable: no NUL, at most [`MAX_ENV_VALUE_BYTES`].
///
/// # Errors
///
/// `Invalid`, without the value in its text.
pub fn check_env_value(value: &str) -> Result<()> {
    if value.contains('\0') {
        return Err(Error::new(ErrorKind::Invalid, "the value of an environment variable cannot hold NUL"));
    }
    if value.len() > MAX_ENV_VALUE_BYTES {
        return Err(Error::new(ErrorKind::Invalid, "the value of an environment variable is too long")
            .with("bytes", value.len())
            .with("max_bytes", MAX_ENV_VALUE_BYTES));
    }
    Ok(())
}
