//! How a Docker engine is found, and how long it may take.

use std::{ffi::OsString, fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use fastflow_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Where a [`DockerEngine`](crate::DockerEngine) is, and how long it may take.
///
/// What is `None` is taken from the variables that Docker's own programs read. A *context* of the Docker command
/// line is not read: name its host.
///
/// In a file every field may be left out, and one that is not known is refused. Times are in milliseconds there.
///
/// ```
/// use fastflow_docker::DockerConfig;
///
/// let mut config = DockerConfig::default();
/// config.host = Some("unix:///run/user/1000/docker.sock".parse()?);
/// assert_eq!(config.call_timeout.as_secs(), 10);
/// # Ok::<(), fastflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DockerConfig {
    /// Where the engine listens. `None`: as `DOCKER_HOST` says, or else `/var/run/docker.sock`, or else the socket of a
    /// rootless engine, `$XDG_RUNTIME_DIR/docker.sock`, whichever is there when the engine is made.
    pub host: Option<DockerHost>,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem` for a TCP address. `None`: as `DOCKER_CERT_PATH` says, or
    /// with `DOCKER_TLS_VERIFY` Docker's own configuration folder. The engine's certificate is always verified, by
    /// `ca.pem` alone.
    pub tls_folder: Option<PathBuf>,
    /// Allows a TCP address without TLS that is not of this machine. Whoever can reach such an engine, or can read and
    /// change what is sent to it, is root on its machine.
    pub allow_plain_tcp: bool,
    /// The folder with the `config.json` that says the credentials for registries. `None`: as `DOCKER_CONFIG` says, or
    /// else `~/.docker`.
    pub credentials_folder: Option<PathBuf>,
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

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            host: None,
            tls_folder: None,
            allow_plain_tcp: false,
            credentials_folder: None,
            call_timeout: Duration::from_secs(10),
            change_timeout: Duration::from_mins(1),
            pull_stall_timeout: Duration::from_mins(2),
        }
    }
}

/// The address of a Docker engine.
///
/// ```
/// use fastflow_docker::DockerHost;
///
/// let host: DockerHost = "tcp://build.example.org:2376".parse()?;
/// assert_eq!(host.to_string(), "tcp://build.example.org:2376");
/// assert!("ssh://build.example.org".parse::<DockerHost>().is_err());
/// # Ok::<(), fastflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum DockerHost {
    /// A socket of this machine, as `unix:///run/docker.sock`.
    Unix(PathBuf),
    /// A TCP address, as `tcp://host:port`.
    Tcp {
        /// A name or an address; that of version 6 in brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl DockerHost {
    /// What an address looks like, for messages.
    pub const EXPECTED: &str = "unix:///path/to/docker.sock or tcp://host:port";

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

impl FromStr for DockerHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // The text is not repeated: somebody may have put a password into it.
        parse_host(text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "not the address of a Docker engine")
                .with("expected", Self::EXPECTED)
        })
    }
}

fn parse_host(text: &str) -> Option<DockerHost> {
    if let Some(path) = text.strip_prefix("unix://") {
        return path.starts_with('/').then(|| DockerHost::Unix(path.into()));
    }
    let url = url::Url::parse(text).ok()?;
    let is_plain = url.scheme() == "tcp"
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    let host = url.host_str().filter(|host| is_plain && !host.is_empty())?;
    Some(DockerHost::Tcp { host: host.to_owned(), port: url.port()? })
}

impl TryFrom<String> for DockerHost {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DockerHost> for String {
    fn from(host: DockerHost) -> Self {
        host.to_string()
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// The variables that Docker's own programs read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub host: Option<OsString>,
    pub cert_path: Option<OsString>,
    pub tls_verify: Option<OsString>,
    pub config: Option<OsString>,
    pub runtime_dir: Option<OsString>,
    pub home: Option<OsString>,
}

impl Variables {
    /// Those of this process. An empty one is none, as for Docker.
    pub(crate) fn of_this_process() -> Self {
        Self {
            host: variable("DOCKER_HOST"),
            cert_path: variable("DOCKER_CERT_PATH"),
            tls_verify: variable("DOCKER_TLS_VERIFY"),
            config: variable("DOCKER_CONFIG"),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            home: variable("HOME"),
        }
    }

    fn config_folder(&self) -> Option<PathBuf> {
        let in_home = || self.home.as_ref().map(|home| PathBuf::from(home).join(".docker"));
        self.config.as_ref().map(PathBuf::from).or_else(in_home)
    }
}

#[expect(clippy::disallowed_methods, reason = "the documented fallback of a configuration that says nothing")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where the engine is for sure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint {
    /// A socket.
    Unix(PathBuf),
    /// TCP as it is: `host:port`.
    Plain(String),
    /// TLS over TCP, with the folder of the certificates.
    Tls(String, PathBuf),
}

impl DockerConfig {
    pub(crate) fn endpoint(&self, variables: &Variables) -> Result<Endpoint> {
        let host = self.host_or_default(variables)?;
        let authority = match &host {
            DockerHost::Unix(path) if self.tls_folder.is_none() => return Ok(Endpoint::Unix(path.clone())),
            DockerHost::Unix(_) => {
                return Err(
                    Error::new(ErrorKind::Invalid, "a socket of this machine has no TLS").with("host", host)
                );
            }
            DockerHost::Tcp { host, port } => format!("{host}:{port}"),
        };
        if let Some(folder) = self.tls_folder_or_default(variables) {
            return Ok(Endpoint::Tls(authority, folder));
        }
        if host.is_local() || self.allow_plain_tcp {
            return Ok(Endpoint::Plain(authority));
        }
        Err(Error::new(ErrorKind::Invalid, "a Docker engine on another machine needs TLS").with("host", &host).with(
            "expected",
            "tls_folder with ca.pem, cert.pem and key.pem (or allow_plain_tcp, where the network itself is safe)",
        ))
    }

    pub(crate) fn credentials_folder(&self, variables: &Variables) -> Option<PathBuf> {
        self.credentials_folder.clone().or_else(|| variables.config_folder())
    }

    fn host_or_default(&self, variables: &Variables) -> Result<DockerHost> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        if let Some(host) = &variables.host {
            let text = host.to_str().unwrap_or_default();
            return text.parse().map_err(|error: Error| error.with("variable", "DOCKER_HOST"));
        }
        let usual = PathBuf::from("/var/run/docker.sock");
        let rootless = variables.runtime_dir.as_ref().map(|folder| PathBuf::from(folder).join("docker.sock"));
        let found =
            [Some(&usual), rootless.as_ref()].into_iter().flatten().find(|path| path.exists()).cloned();
        Ok(DockerHost::Unix(found.unwrap_or(usual)))
    }

    fn tls_folder_or_default(&self, variables: &Variables) -> Option<PathBuf> {
        let said = self.tls_folder.clone().or_else(|| variables.cert_path.as_ref().map(PathBuf::from));
        said.or_else(|| variables.tls_verify.as_ref().and_then(|_| variables.config_folder()))
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

    fn tcp(text: &str) -> DockerConfig {
        DockerConfig { host: Some(text.parse().unwrap()), ..DockerConfig::default() }
    }

    #[test]
    fn plain_tcp_is_for_this_machine_alone() {
        for local in
            ["tcp://127.0.0.1:2375", "tcp://127.8.0.1:2375", "tcp://[::1]:2375", "tcp://localhost:2375"]
        {
            assert!(matches!(tcp(local).endpoint(&Variables::default()), Ok(Endpoint::Plain(_))), "{local}");
        }
        for remote in
            ["tcp://10.0.0.7:2375", "tcp://0.0.0.0:2375", "tcp://localhost.example.org:2375", "tcp://[::2]:1"]
        {
            let mut config = tcp(remote);
            assert_eq!(
                config.endpoint(&Variables::default()).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{remote}"
            );
            config.allow_plain_tcp = true;
            assert!(matches!(config.endpoint(&Variables::default()), Ok(Endpoint::Plain(_))), "{remote}");
            config.tls_folder = Some("/tls".into());
            assert!(matches!(config.endpoint(&Variables::default()), Ok(Endpoint::Tls(..))), "{remote}");
        }
    }

    #[test]
    fn what_is_configured_goes_before_what_the_variables_say() {
        let variables = Variables {
            host: Some("tcp://engine:2376".into()),
            cert_path: Some("/certs".into()),
            home: Some("/home/me".into()),
            ..Variables::default()
        };
        let mut config = DockerConfig::default();
        assert_eq!(
            config.endpoint(&variables).unwrap(),
            Endpoint::Tls("engine:2376".into(), "/certs".into())
        );
        assert_eq!(config.credentials_folder(&variables), Some("/home/me/.docker".into()));

        let by_home = Variables { cert_path: None, tls_verify: Some("1".into()), ..variables.clone() };
        assert_eq!(
            config.endpoint(&by_home).unwrap(),
            Endpoint::Tls("engine:2376".into(), "/home/me/.docker".into())
        );

        config.host = Some("unix:///x.sock".parse().unwrap());
        assert_eq!(config.endpoint(&variables).unwrap(), Endpoint::Unix("/x.sock".into()));
        config.tls_folder = Some("/tls".into());
        assert_eq!(config.endpoint(&variables).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn the_socket_of_a_rootless_engine_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        std::fs::write(&socket, "").unwrap();
        let variables = Variables { runtime_dir: Some(folder.path().into()), ..Variables::default() };
        let found = DockerConfig::default().endpoint(&variables).unwrap();
        // Where this machine has the usual socket, that one is it.
        let usual = PathBuf::from("/var/run/docker.sock");
        assert_eq!(found, Endpoint::Unix(if usual.exists() { usual } else { socket }));
    }

    #[test]
    fn an_address_with_anything_else_in_it_is_refused_and_not_repeated() {
        for text in [
            "",
            "docker.sock",
            "/run/docker.sock",
            "unix://docker.sock",
            "ssh://me@host",
            "npipe:////./pipe/x",
            "tcp://host",
            "tcp://:2375",
            "tcp://me:secret@host:2375",
            "tcp://host:2375/path",
            "tcp://host:2375?a=secret",
            "https://host:2376",
        ] {
            let error = text.parse::<DockerHost>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(!error.chain().contains("secret"), "{}", error.chain());
        }
    }

    #[test]
    fn a_file_says_times_in_milliseconds_and_nothing_unknown() {
        let config: DockerConfig =
            serde_json::from_str(r#"{"host": "tcp://[::1]:2375", "call_timeout_ms": 250}"#).unwrap();
        assert_eq!(config.call_timeout, Duration::from_millis(250));
        assert_eq!(config.host.as_ref().unwrap().to_string(), "tcp://[::1]:2375");
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DockerConfig>(&text).unwrap(), config);
        assert!(serde_json::from_str::<DockerConfig>(r#"{"timeout": 1}"#).is_err());
    }
}
