//! Which Python a pipeline wants.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// A Python version as `uv` takes it: `3.12`, `3.12.4`, `3.13t`, `pypy@3.10`, or a range such as `>=3.11,<3.14`.
///
/// Never a path and never an option: it holds neither `/` nor a leading `-`.
///
/// ```
/// use fastflow_core::pipeline::PythonRequest;
///
/// assert!(">=3.11,<3.14".parse::<PythonRequest>().is_ok());
/// assert!("/usr/bin/python3".parse::<PythonRequest>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PythonRequest(Box<str>);

impl PythonRequest {
    /// The longest request, in characters.
    pub const MAX_CHARS: usize = 100;
    /// What [`FromStr`] accepts, in words.
    pub const EXPECTED: &'static str =
        "a Python version such as \"3.12\", \"3.12.4\" or \"pypy@3.10\", or a range such as \">=3.11,<3.14\"";

    /// The request as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PythonRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || ".,<>=!~*@+- _".contains(c);
        let good = text.len() <= Self::MAX_CHARS
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || "<>=!~".contains(c))
            && text.contains(|c: char| c.is_ascii_digit())
            && !is_of_the_past(text)
            && text.chars().all(plain);
        if good {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not a Python version")
            .with("found", text.escape_debug().take(80).collect::<String>())
            .with("expected", Self::EXPECTED))
    }
}

/// Whether it names one version, before Python 3. Nobody has made environments of those for a long time. A range such as
/// `>=2.7` has newer ones in it.
fn is_of_the_past(text: &str) -> bool {
    let is_one = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let first_number = text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    is_one && matches!(first_number, Some("0" | "1" | "2"))
}

impl TryFrom<String> for PythonRequest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<PythonRequest> for String {
    fn from(request: PythonRequest) -> Self {
        request.0.into()
    }
}

impl fmt::Display for PythonRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_as_uv_has_them_but_for_those_of_the_past() {
        for good in
            ["3.12", "3.13t", "pypy@3.10", "cpython-3.12", ">=3.11,<3.14", ">=2.7,!=3.0.*", "python3.12"]
        {
            assert!(good.parse::<PythonRequest>().is_ok(), "{good}");
        }
        for bad in ["", "x y", "2.7", "python2.7", "cpython@2.7", "1", "/usr/bin/python3", "-3.12"] {
            assert!(bad.parse::<PythonRequest>().is_err(), "{bad}");
        }
    }
}
