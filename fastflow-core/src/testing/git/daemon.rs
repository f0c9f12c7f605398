//! `git daemon`.

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
};

use super::listener::Listener;

/// Serves the repositories of a folder over git's own protocol, to everybody.
///
/// ```no_run
/// use fastflow_core::testing::git::{DaemonServer, Repository};
///
/// let repository = Repository::new();
/// println!("{}", DaemonServer::start(repository.root()).url(Repository::NAME));
/// ```
#[derive(Debug)]
pub struct DaemonServer {
    listener: Listener,
}

impl DaemonServer {
    /// Serves the repositories in `root`: one program for each connection, as a superserver starts them, which needs no
    /// port that might be somebody else's by then.
    pub fn start(root: &Path) -> Self {
        let root = root.to_owned();
        let listener = Listener::start(move |stream| {
            let mut command = Command::new("git");
            command.args(["daemon", "--inetd", "--export-all"]);
            command.arg(format!("--base-path={}", root.display())).env("HOME", &root);
            command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
            run_on(command, &stream);
        });
        Self { listener }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The address of a repository.
    pub fn url(&self, repository: &str) -> String {
        format!("git://{}/{repository}", self.address())
    }
}

/// Runs a program that talks to a connection as if it were a terminal, to its end.
pub(super) fn run_on(mut command: Command, stream: &TcpStream) {
    let side = || Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
    command.stdin(side()).stdout(side()).stderr(Stdio::null());
    let _ = command.status();
    let _ = stream.shutdown(std::net::Shutdown::Both);
}
