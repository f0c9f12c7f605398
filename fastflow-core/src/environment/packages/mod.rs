//! The packages of an environment: what is truly installed, and where each came from.
//!
//! Names and versions are read from what lies in the environment; hashes and indexes from the lock it was installed
//! from. Both are joined once, when the environment is published, and kept inside of it.

use std::{fmt, str::FromStr};

use pep440_rs::{Version, VersionSpecifiers};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

mod file;
mod installed;
mod locked;
mod place;

pub(super) use self::file::{PACKAGES, list, read};

/// The most packages of one environment that are listed.
const PACKAGES_MAX: usize = 20_000;

/// One package of an environment.
///
/// ```
/// use fastflow_core::environment::{Package, PackageOrigin};
///
/// let package = Package {
///     name: "Typing_Extensions".parse().unwrap(),
///     version: "4.12.2".into(),
///     hashes: Vec::new(),
///     origin: PackageOrigin::Index { url: "https://pypi.org/simple".into() },
/// };
/// assert_eq!(package.name.as_str(), "typing-extensions");
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Its version, as the package itself says it.
    pub version: String,
    /// What the lock allows: the file that was installed has one of these hashes. Empty where the lock has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<PackageHash>,
    /// Where it came from.
    pub origin: PackageOrigin,
}

/// Where a package came from. No name, password or query of a URL is ever kept.
///
/// ```
/// use fastflow_core::environment::PackageOrigin;
///
/// let origin = PackageOrigin::Index { url: "https://pypi.org/simple".into() };
/// assert_ne!(origin, PackageOrigin::Unknown);
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PackageOrigin {
    /// An index, or a folder that serves as one.
    Index {
        /// Its URL, or its path.
        url: String,
    },
    /// A URL that the pipeline names; of a repository with the commit, as `git+https://…@<commit>`.
    Direct {
        /// The URL.
        url: String,
    },
    /// A file that the pipeline names.
    File {
        /// Its path.
        path: String,
    },
    /// Nothing says where.
    Unknown,
}

/// The name of a package, as [PEP 503](https://peps.python.org/pep-0503/) normalises it: in lower case, with single
/// hyphens between its parts.
///
/// ```
/// use fastflow_core::environment::PackageName;
///
/// assert_eq!("Foo__bar.Baz".parse::<PackageName>().unwrap().as_str(), "foo-bar-baz");
/// assert!("../foo".parse::<PackageName>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(Box<str>);

impl PackageName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 200;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !ends || text.len() > Self::MAX_CHARS || !text.chars().all(plain) {
            return Err(invalid("not the name of a package", text));
        }
        let parts: Vec<&str> = text.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
        Ok(Self(parts.join("-").to_ascii_lowercase().into()))
    }
}

/// The hash of a package's file, such as `sha256:` with its digits.
///
/// ```
/// use fastflow_core::environment::PackageHash;
///
/// let hash: PackageHash = "sha256:00ff".parse().unwrap();
/// assert_eq!((hash.algorithm(), hash.digest()), ("sha256", "00ff"));
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageHash(Box<str>);

impl PackageHash {
    /// The longest hash, in characters: SHA-512 with its name.
    pub const MAX_CHARS: usize = 160;

    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its algorithm, such as `sha256`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// Its digits: hexadecimal, in lower case.
    pub fn digest(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, digest)| digest)
    }
}

impl FromStr for PackageHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once(':').filter(|(algorithm, digest)| {
            !algorithm.is_empty()
                && algorithm
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
                && !digest.is_empty()
                && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if parts.is_none() || text.len() > Self::MAX_CHARS {
            return Err(invalid("not the hash of a package", text));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// A range of versions as [PEP 440](https://peps.python.org/pep-0440/) writes it, such as `>=1.26,<2.2`.
///
/// ```
/// use fastflow_core::environment::VersionRange;
///
/// let range: VersionRange = "<2.2".parse().unwrap();
/// assert!(range.contains("1.26.20") && range.contains("2.1.0"));
/// assert!(!range.contains("2.2.0") && !range.contains("2.2rc1") && !range.contains("10.0"));
/// assert!(!range.contains("not a version"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VersionRange(VersionSpecifiers);

impl VersionRange {
    /// The longest range, in characters.
    pub const MAX_CHARS: usize = 200;

    /// Whether a version lies in it. A text that is no version lies in none.
    pub fn contains(&self, version: &str) -> bool {
        Version::from_str(version).is_ok_and(|version| self.0.contains(&version))
    }
}

impl FromStr for VersionRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let range = (text.len() <= Self::MAX_CHARS && !text.trim().is_empty())
            .then(|| VersionSpecifiers::from_str(text).ok())
            .flatten();
        range.map(Self).ok_or_else(|| {
            invalid("not a range of versions", text).with("expected", "a range such as \">=1.26,<2.2\"")
        })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn invalid(what: &'static str, found: &str) -> Error {
    Error::new(ErrorKind::Invalid, what).with("found", found.escape_debug().take(80).collect::<String>())
}

macro_rules! text {
    ($($type:ident),+) => {
        $(
            impl TryFrom<String> for $type {
                type Error = Error;

                fn try_from(text: String) -> Result<Self> {
                    text.parse()
                }
            }

            impl From<$type> for String {
                fn from(text: $type) -> Self {
                    text.0.into()
                }
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(&self.0)
                }
            }
        )+
    };
}

text!(PackageName, PackageHash);
