//! Names of container images.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The name of a container image, as `docker pull` and `podman pull` take it: `[host[:port]/]path[:tag][@digest]`.
///
/// ```
/// use fastflow_core::pipeline::ImageName;
///
/// let name: ImageName = "ghcr.io/astral-sh/uv:python3.11-bookworm-slim".parse().unwrap();
/// assert_eq!(name.registry(), Some("ghcr.io"));
/// assert_eq!("python".parse::<ImageName>().unwrap().tag(), None);
/// assert!("--privileged".parse::<ImageName>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(Box<str>);

impl ImageName {
    /// The longest name, in bytes. Registries allow 255 for the name alone, and a digest has 71.
    pub const MAX_BYTES: usize = 512;
    /// What a name looks like, for messages.
    pub const EXPECTED: &str = "the name of a container image, such as \"python:3.12-slim\" or \"registry.example.org/team/image@sha256:…\"";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry that the name says, if it says one: its first part has a dot, a port, or is `localhost`.
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.0.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }

    /// The tag, if it has one.
    pub fn tag(&self) -> Option<&str> {
        let name = self.0.split_once('@').map_or(&*self.0, |(name, _)| name);
        let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
        last.split_once(':').map(|(_, tag)| tag)
    }

    /// The digest, if it has one: then the name always means the same image.
    pub fn digest(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, digest)| digest)
    }
}

impl FromStr for ImageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_image_name(text) {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not the name of a container image")
            .with("found", text.escape_debug().take(200).collect::<String>())
            .with("expected", Self::EXPECTED))
    }
}

/// The grammar of the distribution specification, without its finer points, which registries check themselves.
fn is_image_name(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let is_digest = |digest: &str| {
        digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty()
                && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
                && hex.len() >= 32
                && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
    };
    text.len() <= ImageName::MAX_BYTES && digest.is_none_or(is_digest) && name.split('/').all(is_part)
}

impl TryFrom<String> for ImageName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, registry, tag, has_digest) in [
            ("python", None, None, false),
            ("library/python:3.12", None, Some("3.12"), false),
            ("localhost/worker:test", Some("localhost"), Some("test"), false),
            ("127.0.0.1:5000/a/b", Some("127.0.0.1:5000"), None, false),
            ("127.0.0.1:5000/a/b:c", Some("127.0.0.1:5000"), Some("c"), false),
            (&format!("python:3@{digest}"), None, Some("3"), true),
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!((name.registry(), name.tag(), name.digest().is_some()), (registry, tag, has_digest));
        }
    }

    #[test]
    fn what_could_be_something_else_is_refused() {
        for text in
            ["", "/", "a//b", "-a", "a b", "a\nb", "a@", "a@sha256:12", "../a", "a/../b", &"a".repeat(513)]
        {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }
}
