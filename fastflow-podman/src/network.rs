//! What a container with a network gets.
//!
//! Containers on one bridge reach each other, and neither of Podman's two network stacks can forbid that: `isolate` keeps
//! networks apart, not the containers in one. So each container gets a network of its own, in which a helper process
//! of Podman carries its connections outwards: nobody can connect to the container, and the addresses that this
//! machine has for itself alone are out of its reach. A network's name has no meaning then.

use fastflow_core::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The helper that carries a container's connections outwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outward {
    /// The one of Podman 4, with or without root.
    Slirp4netns,
    /// The one of Podman 5, only without root.
    Pasta,
}

impl Outward {
    /// What Podman calls it.
    pub(crate) fn mode(self) -> &'static str {
        match self {
            Self::Slirp4netns => "slirp4netns",
            Self::Pasta => "pasta",
        }
    }
}

/// The part of Podman's answer about itself that `podman-api` does not know whole: `pasta` came later.
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkAnswer {
    host: HostAnswer,
}

#[derive(Debug, Deserialize)]
struct HostAnswer {
    security: SecurityAnswer,
    slirp4netns: Option<HelperAnswer>,
    pasta: Option<HelperAnswer>,
}

#[derive(Debug, Deserialize)]
struct SecurityAnswer {
    rootless: bool,
}

#[derive(Debug, Deserialize)]
struct HelperAnswer {
    executable: Option<String>,
}

impl NetworkAnswer {
    /// The helper to use.
    ///
    /// # Errors
    ///
    /// `Unsupported` when there is none that works here.
    pub(crate) fn outward(&self) -> Result<Outward> {
        let is_there = |helper: &Option<HelperAnswer>| {
            helper
                .as_ref()
                .and_then(|helper| helper.executable.as_deref())
                .is_some_and(|path| !path.is_empty())
        };
        if self.host.security.rootless && is_there(&self.host.pasta) {
            Ok(Outward::Pasta)
        } else if is_there(&self.host.slirp4netns) {
            Ok(Outward::Slirp4netns)
        } else {
            Err(Error::new(ErrorKind::Unsupported, "this Podman has no network that keeps containers apart")
                .with("expected", "slirp4netns on the engine's machine (or, without root, pasta)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outward(host: &str) -> Result<Outward, ErrorKind> {
        let answer: NetworkAnswer = serde_json::from_str(&format!(r#"{{"host": {{{host}}}}}"#)).unwrap();
        answer.outward().map_err(|error| error.kind())
    }

    #[test]
    fn the_helper_is_one_that_is_there_and_works_for_this_user() {
        let (root, user) = (r#""security": {"rootless": false}"#, r#""security": {"rootless": true}"#);
        let slirp = r#""slirp4netns": {"executable": "/usr/bin/slirp4netns", "version": "1"}"#;
        let pasta = r#""pasta": {"executable": "/usr/bin/pasta"}"#;
        let absent = r#""slirp4netns": {"executable": ""}"#;
        for (host, expected) in [
            (format!("{root}, {slirp}"), Ok(Outward::Slirp4netns)),
            (format!("{root}, {slirp}, {pasta}"), Ok(Outward::Slirp4netns)),
            (format!("{root}, {pasta}"), Err(ErrorKind::Unsupported)),
            (format!("{user}, {slirp}, {pasta}"), Ok(Outward::Pasta)),
            (format!("{user}, {slirp}"), Ok(Outward::Slirp4netns)),
            (format!("{root}, {absent}"), Err(ErrorKind::Unsupported)),
            (user.to_owned(), Err(ErrorKind::Unsupported)),
        ] {
            assert_eq!(outward(&host), expected, "{host}");
        }
    }
}
