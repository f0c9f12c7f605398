//! How a Podman engine is found, and how long it may take.

use std::{ffi::OsString, fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use fastflow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Where a [`PodmanEngine`](crate::PodmanEngine) is, and how long it may take.
///
/// What is `None` is taken from the variables that Podman's own programs read. In a file every field may be left out,
/// and one that is not known is refused. Times are in milliseconds there.
///
/// ```
/// use fastflow_podman::PodmanConfig;
///
/// let mut config = PodmanConfig::default();
/// config.host = Some("unix:///run/user/1000/podman/podman.sock".parse()?);
/// assert_eq!(config.call_timeout.as_secs(), 10);
/// # Ok::<(), fastflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PodmanConfig {
    /// Where the engine listens. `None`: as `CONTAINER_HOST` says, or else `$XDG_RUNTIME_DIR/podman/podman.sock` for
    /// everybody but root, or else `/run/podman/podman.sock`.
    pub host: Option<PodmanHost>,
    /// Allows a TCP address that is not of this machine. Podman's API has neither encryption nor a password there:
    /// whoever can reach it is the engine's user on its machine.
    pub allow_plain_tcp: bool,
    /// The file that says the credentials for registries. `None`: as `REGISTRY_AUTH_FILE` says, or else the files where
    /// `podman login` and `docker login` leave them. Where none of them knows a registry, the engine looks into its own.
    pub auth_file: Option<PathBuf>,
    /// How long one question to the engine may take.
    #[serde(rename = "call_timeout_ms", with = "milliseconds")]
    pub call_timeout: Duration,
    /// How long it may take to make, start or remove something.
    #[serde(rename = "change_timeout_ms", with = "milliseconds")]
    pub change_timeout: Duration,
    /// How long getting an image may be without any progress.
    #[serde(rename = "pull_stall_timeout_ms", with = "milliseconds")]
    pub pull_stall_timeout: Duration,
}

impl Default for PodmanConfig {
    fn default() -> Self {
        Self {
            host: None,
            allow_plain_tcp: false,
            auth_file: None,
            call_timeout: Duration::from_secs(10),
            change_timeout: Duration::from_mins(1),
            pull_stall_timeout: Duration::from_mins(2),
        }
    }
}

/// The address of a Podman engine.
///
/// ```
/// use fastflow_podman::PodmanHost;
///
/// let host: PodmanHost = "unix:///run/podman/podman.sock".parse()?;
/// assert_eq!(host.to_string(), "unix:///run/podman/podman.sock");
/// assert!("ssh://build.example.org".parse::<PodmanHost>().is_err());
/// # Ok::<(), fastflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum PodmanHost {
    /// A socket of this machine, as `unix:///run/podman/podman.sock`.
    Unix(PathBuf),
    /// A TCP address, as `tcp://host:port`.
    Tcp {
        /// A name or an address; that of version 6 in brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl PodmanHost {
    /// What an address looks like, for messages.
    pub const EXPECTED: &str = "unix:///path/to/podman.sock or tcp://host:port";

    /// Whether nothing that is sent there leaves this machine.
    fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
                host == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl FromStr for PodmanHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // The text is not repeated: somebody may have put a password into it.
        if text.starts_with("ssh://") {
            return Err(Error::new(ErrorKind::Unsupported, "an engine is not reached through SSH")
                .with("expected", "the address of a socket that `ssh -L` forwards, or one of this machine"));
        }
        parse_host(text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "not the address of a Podman engine")
                .with("expected", Self::EXPECTED)
        })
    }
}

fn parse_host(text: &str) -> Option<PodmanHost> {
    if let Some(path) = text.strip_prefix("unix://") {
        return path.starts_with('/').then(|| PodmanHost::Unix(path.into()));
    }
    let (host, port) = text.strip_prefix("tcp://")?.trim_end_matches('/').rsplit_once(':')?;
    let is_bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match is_bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b)),
    };
    is_host.then_some(PodmanHost::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}

impl TryFrom<String> for PodmanHost {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<PodmanHost> for String {
    fn from(host: PodmanHost) -> Self {
        host.to_string()
    }
}

impl fmt::Display for PodmanHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// What Podman's own programs read, and the user they ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub host: Option<OsString>,
    pub auth_file: Option<OsString>,
    pub runtime_dir: Option<OsString>,
    pub home: Option<OsString>,
    pub user: u32,
}

impl Variables {
    /// Those of this process. An empty one is none.
    pub(crate) fn of_this_process() -> Self {
        Self {
            host: variable("CONTAINER_HOST"),
            auth_file: variable("REGISTRY_AUTH_FILE"),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            home: variable("HOME"),
            user: rustix::process::geteuid().as_raw(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the documented fallback of a configuration that says nothing")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl PodmanConfig {
    /// The address to use, if it may be used.
    pub(crate) fn endpoint(&self, variables: &Variables) -> Result<PodmanHost> {
        let host = self.host_or_default(variables)?;
        if host.is_local() || self.allow_plain_tcp {
            return Ok(host);
        }
        Err(Error::new(ErrorKind::Invalid, "a Podman engine on another machine cannot be reached safely")
            .with("host", host)
            .with(
                "expected",
                "a socket that `ssh -L` forwards (or allow_plain_tcp, where the network is safe)",
            ))
    }

    /// The files that may say credentials, the first one first. With one that somebody named, no other.
    pub(crate) fn auth_files(&self, variables: &Variables) -> Vec<PathBuf> {
        let named = self.auth_file.clone().or_else(|| variables.auth_file.as_ref().map(PathBuf::from));
        if let Some(file) = named {
            return vec![file];
        }
        let runtime = match &variables.runtime_dir {
            Some(folder) => PathBuf::from(folder).join("containers"),
            None => PathBuf::from(format!("/run/containers/{}", variables.user)),
        };
        let home = variables.home.as_ref().map(PathBuf::from);
        let in_home = |file: &str| home.as_ref().map(|home| home.join(file));
        [
            Some(runtime.join("auth.json")),
            in_home(".config/containers/auth.json"),
            in_home(".docker/config.json"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn host_or_default(&self, variables: &Variables) -> Result<PodmanHost> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        if let Some(host) = &variables.host {
            let text = host.to_str().unwrap_or_default();
            return text.parse().map_err(|error: Error| error.with("variable", "CONTAINER_HOST"));
        }
        let of_root = PathBuf::from("/run/podman/podman.sock");
        let own = variables.runtime_dir.as_ref().filter(|_| variables.user != 0);
        Ok(PodmanHost::Unix(own.map_or(of_root, |folder| PathBuf::from(folder).join("podman/podman.sock"))))
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> PodmanConfig {
        PodmanConfig { host: Some(text.parse().unwrap()), ..PodmanConfig::default() }
    }

    #[test]
    fn plain_tcp_is_for_this_machine_alone() {
        for local in
            ["tcp://127.0.0.1:8080", "tcp://127.8.0.1:8080", "tcp://[::1]:8080", "tcp://localhost:8080/"]
        {
            assert!(tcp(local).endpoint(&Variables::default()).is_ok(), "{local}");
        }
        for remote in
            ["tcp://10.0.0.7:8080", "tcp://0.0.0.0:8080", "tcp://localhost.example.org:80", "tcp://[::2]:1"]
        {
            let mut config = tcp(remote);
            assert_eq!(
                config.endpoint(&Variables::default()).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{remote}"
            );
            config.allow_plain_tcp = true;
            assert!(config.endpoint(&Variables::default()).is_ok(), "{remote}");
        }
    }

    #[test]
    fn the_socket_is_looked_for_where_podman_puts_it() {
        let endpoint =
            |config: &PodmanConfig, variables: &Variables| config.endpoint(variables).unwrap().to_string();
        let mut config = PodmanConfig::default();
        let mut variables =
            Variables { runtime_dir: Some("/run/user/7".into()), user: 7, ..Variables::default() };
        assert_eq!(endpoint(&config, &variables), "unix:///run/user/7/podman/podman.sock");
        variables.user = 0;
        assert_eq!(endpoint(&config, &variables), "unix:///run/podman/podman.sock");
        variables.host = Some("tcp://localhost:1".into());
        assert_eq!(endpoint(&config, &variables), "tcp://localhost:1");
        config.host = Some("unix:///x.sock".parse().unwrap());
        assert_eq!(endpoint(&config, &variables), "unix:///x.sock");
    }

    #[test]
    fn credentials_are_looked_for_where_logins_leave_them() {
        let files = |config: &PodmanConfig, variables: &Variables| {
            let files = config.auth_files(variables);
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        let mut config = PodmanConfig::default();
        let mut variables = Variables { home: Some("/home/me".into()), user: 7, ..Variables::default() };
        let in_home = ["/home/me/.config/containers/auth.json", "/home/me/.docker/config.json"];
        assert_eq!(files(&config, &variables), ["/run/containers/7/auth.json", in_home[0], in_home[1]]);
        variables.runtime_dir = Some("/run/user/7".into());
        assert_eq!(files(&config, &variables), ["/run/user/7/containers/auth.json", in_home[0], in_home[1]]);
        variables.auth_file = Some("/a".into());
        assert_eq!(files(&config, &variables), ["/a"]);
        config.auth_file = Some("/b".into());
        assert_eq!(files(&config, &variables), ["/b"]);
    }

    #[test]
    fn an_address_with_anything_else_in_it_is_refused_and_not_repeated() {
        for text in [
            "",
            "podman.sock",
            "/run/podman.sock",
            "unix://podman.sock",
            "tcp://host",
            "tcp://:80",
            "tcp://me:secret@host:80",
            "tcp://host:80/path",
            "tcp://host:80?a=secret",
            "https://host:80",
            "tcp://[::1:80",
            "ssh://me:secret@host",
        ] {
            let error = text.parse::<PodmanHost>().unwrap_err();
            let expected = if text.starts_with("ssh") { ErrorKind::Unsupported } else { ErrorKind::Invalid };
            assert_eq!(error.kind(), expected, "{text}");
            assert!(!error.chain().contains("secret"), "{}", error.chain());
        }
    }

    #[test]
    fn a_file_says_times_in_milliseconds_and_nothing_unknown() {
        let config: PodmanConfig =
            serde_json::from_str(r#"{"host": "tcp://[::1]:2375", "call_timeout_ms": 250}"#).unwrap();
        assert_eq!(config.call_timeout, Duration::from_millis(250));
        assert_eq!(config.host.as_ref().unwrap().to_string(), "tcp://[::1]:2375");
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<PodmanConfig>(&text).unwrap(), config);
        assert!(serde_json::from_str::<PodmanConfig>(r#"{"timeout": 1}"#).is_err());
    }
}
