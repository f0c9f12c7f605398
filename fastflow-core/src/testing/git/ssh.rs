//! OpenSSH's server.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{daemon::run_on, listener::Listener};
use crate::testing::tool;

/// Serves all repositories of this machine over ssh, to those whose key it knows, as the user of the tests.
///
/// ```no_run
/// use fastflow_core::testing::git::{Repository, SshServer};
///
/// let repository = Repository::new();
/// let server = SshServer::start();
/// server.allow("ssh-ed25519 AAAA… fastflow");
/// println!("{}, {}", server.url(&repository.path()), server.host_key());
/// ```
#[derive(Debug)]
pub struct SshServer {
    listener: Listener,
    folder: TempDir,
    user: String,
}

impl SshServer {
    /// Serves nobody yet. Needs [`tool::sshd`].
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap();
        let user = said(Command::new("id").arg("-un"));
        let path = folder.path().to_owned();
        fs::write(path.join("authorized_keys"), "").unwrap();
        fs::write(path.join("sshd_config"), Self::config(&path)).unwrap();
        if rustix::process::geteuid().is_root() {
            // The unprivileged half of a server of root's is locked in there.
            let _ = fs::DirBuilder::new().mode(0o755).create("/run/sshd");
        }
        let sshd = tool::sshd().unwrap();
        let listener = Listener::start(move |stream| {
            let mut command = Command::new(&sshd);
            command.arg("-i").arg("-f").arg(path.join("sshd_config")).arg("-E").arg(path.join("log"));
            run_on(command, &stream);
        });
        let server = Self { listener, folder, user };
        server.change_host_key();
        server
    }

    fn config(folder: &Path) -> String {
        let folder = folder.display();
        format!(
            "HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             AcceptEnv GIT_PROTOCOL\nLogLevel VERBOSE\n"
        )
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The address of a repository.
    pub fn url(&self, repository: &Path) -> String {
        format!("ssh://{}@{}{}", self.user, self.address(), repository.display())
    }

    /// From now on, the owner of this public key is served, and nobody else.
    pub fn allow(&self, public_key: &str) {
        fs::write(self.folder.path().join("authorized_keys"), format!("{public_key}\n")).unwrap();
    }

    /// Its public key, as in `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("host_key.pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// The line of a file of known hosts that knows it.
    pub fn known_host(&self) -> String {
        format!("[{}]:{} {}", self.address().ip(), self.address().port(), self.host_key())
    }

    /// From now on it has another key, as if somebody stood in between.
    pub fn change_host_key(&self) {
        let path = self.folder.path().join("host_key");
        for path in [&path, &path.with_extension("pub")] {
            let _ = fs::remove_file(path);
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path);
        said(&mut command);
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.listener.connections()
    }

    /// The file that it writes what happened into.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
