//! The line to a server, by the scheme of its address.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    os::fd::OwnedFd,
    process::Command,
    sync::Arc,
    time::Duration,
};

use gix::protocol::transport::{
    Protocol,
    client::{
        blocking_io::{Transport, http},
        git::{ConnectMode, blocking_io::Connection},
    },
};

use super::Mirror;
use crate::source::{
    GitAccess, SyncFailure, SyncFailureKind as Kind,
    git::{
        InsecureScheme,
        access::Token,
        http::HttpClient,
        pipe::{Incoming, Outgoing},
        program::Program,
        remote::Scheme,
        ssh::{DeployKey, Pinning, Ssh},
        watch::Watch,
    },
};

/// The port of `git daemon`.
const GIT_PORT: u16 = 9418;
/// How long it may take until there is a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A line to the server.
pub(super) struct Line {
    pub(super) transport: Box<dyn Transport + Send>,
    pub(super) program: Option<Arc<Program>>,
}

impl Mirror {
    /// Opens a line. What is wrong with the server shows once it is used.
    pub(super) fn line(
        &self,
        token: Option<&Token>,
        pinning: Pinning,
        watch: &Arc<Watch>,
    ) -> Result<Line, SyncFailure> {
        match self.remote.scheme {
            Scheme::Https | Scheme::Insecure(InsecureScheme::Http) => self.http(token, watch),
            Scheme::Ssh => {
                let (program, incoming, outgoing) = self.ssh()?.start(pinning, watch)?;
                Ok(self.talk(incoming, outgoing, Some(program), ConnectMode::Process))
            }
            Scheme::Insecure(InsecureScheme::File) => {
                let mut command = Command::new("git");
                command.args(["upload-pack", &self.remote.path]).env("GIT_PROTOCOL", "version=2");
                let (program, incoming, outgoing) = Program::start(&mut command, watch).map_err(internal)?;
                Ok(self.talk(incoming, outgoing, Some(program), ConnectMode::Process))
            }
            Scheme::Insecure(InsecureScheme::Git) => {
                let stream = self.connect().map_err(|error| {
                    let place = self.remote.known_name();
                    SyncFailure::new(Kind::Unreachable, format!("{place} cannot be reached: {error}"))
                })?;
                let other = OwnedFd::from(stream.try_clone().map_err(internal)?);
                let incoming = Incoming::new(OwnedFd::from(stream), watch).map_err(internal)?;
                let outgoing = Outgoing::new(other, watch).map_err(internal)?;
                Ok(self.talk(incoming, outgoing, None, ConnectMode::Daemon))
            }
        }
    }

    fn http(&self, token: Option<&Token>, watch: &Arc<Watch>) -> Result<Line, SyncFailure> {
        let authorization = match (&self.config.access, token) {
            (GitAccess::Token(access), Some(token)) => Some(token.basic(&access.username)),
            _ => None,
        };
        let client = HttpClient::new(&self.trust, authorization, watch)?;
        let url = gix::url::parse(self.remote.url())
            .map_err(|error| internal(io::Error::other(error.to_string())))?;
        let transport = Box::new(http::Transport::new_http(client, url, Protocol::V2, false));
        Ok(Line { transport, program: None })
    }

    fn talk(
        &self,
        incoming: Incoming,
        outgoing: Outgoing,
        program: Option<Arc<Program>>,
        mode: ConnectMode,
    ) -> Line {
        let host = Some((self.remote.host.clone(), self.remote.port));
        let path = self.remote.path.as_str();
        let transport = Box::new(Connection::new(incoming, outgoing, Protocol::V2, path, host, mode, false));
        Line { transport, program }
    }

    /// What ssh needs for this mirror, which has a key to show.
    pub(super) fn ssh(&self) -> Result<Ssh<'_>, SyncFailure> {
        let key: &DeployKey = match &self.config.access {
            GitAccess::DeployKey(key) => key,
            _ => return Err(SyncFailure::new(Kind::Refused, "this address needs a deploy key as access")),
        };
        Ok(Ssh {
            remote: &self.remote,
            key,
            policy: &self.config.host_keys,
            known: &self.known,
            turn: &self.looking,
        })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let place = (self.remote.host.as_str(), self.remote.port.unwrap_or(GIT_PORT));
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in place.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// What a line that ended early was about, if that can be found out.
    pub(super) fn explained(
        &self,
        failure: SyncFailure,
        program: Option<&Arc<Program>>,
        watch: &Arc<Watch>,
    ) -> SyncFailure {
        let Some(program) = program else { return failure };
        if failure.kind != Kind::Unreachable || program.has_spoken() {
            return failure;
        }
        match (self.remote.scheme, self.ssh()) {
            (Scheme::Ssh, Ok(ssh)) => ssh.explain(program, watch).unwrap_or_else(|failure| failure),
            _ => {
                SyncFailure::new(Kind::Missing, format!("there is no repository there: {}", program.words()))
            }
        }
    }
}

fn internal(error: io::Error) -> SyncFailure {
    crate::Error::from(error).into()
}
