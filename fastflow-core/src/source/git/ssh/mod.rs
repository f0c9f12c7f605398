//! Git over ssh, by the program `ssh`: nobody's configuration, one key, and the server's key known beforehand.

mod key;
mod known;

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

pub use self::{key::DeployKey, known::HostKeyPolicy};
pub(super) use self::{
    key::check_owner_only,
    known::{HostKey, KnownHosts},
};
use super::{
    pipe::{Incoming, Outgoing},
    program::Program,
    remote::Remote,
    watch::Watch,
};
use crate::source::{SyncFailure, SyncFailureKind as Kind};

/// The exit code with which ssh says that it failed itself. All others are those of the program at the server.
const SSH_FAILED: i32 = 255;
/// The file, in the folder of ssh, that a server's key is written into by an ssh that believes everything.
const OFFERED: &str = "offered_hosts";
/// The file of a key that is believed for one connection.
const ONCE: &str = "once_hosts";
/// How long it may take until there is a connection, and how often it is then looked whether it is alive, in seconds.
const CONNECT_SECS: u32 = 20;
const ALIVE_SECS: u32 = 15;

/// What an ssh is to do with the key of a server that it does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pinning {
    /// Pin it, if the policy is to trust the first one.
    Keep,
    /// Believe it for this once.
    Once,
}

/// All that a connection over ssh needs.
#[derive(Debug)]
pub(super) struct Ssh<'a> {
    pub(super) remote: &'a Remote,
    pub(super) key: &'a DeployKey,
    pub(super) policy: &'a HostKeyPolicy,
    pub(super) known: &'a KnownHosts,
    /// Only one at a time looks which key a server has.
    pub(super) turn: &'a Mutex<()>,
}

impl Ssh<'_> {
    /// Starts the program that sends packs at the server. What goes wrong is found by [`explain`](Self::explain).
    pub(super) fn start(
        &self,
        pinning: Pinning,
        watch: &Arc<Watch>,
    ) -> Result<(Arc<Program>, Incoming, Outgoing), SyncFailure> {
        self.key.read()?;
        let file = self.believed(pinning, watch)?;
        let mut command = self.command(&format!("UserKnownHostsFile={file}"), "StrictHostKeyChecking=yes");
        command.arg("-i").arg(identity(self.key.path())?);
        command.args(["-o", "PreferredAuthentications=publickey"]);
        self.ask(&mut command);
        Program::start(&mut command, watch).map_err(|error| no_ssh(&error))
    }

    /// The name of the file with the keys that are believed, which has one for this server if that is up to us.
    fn believed(&self, pinning: Pinning, watch: &Arc<Watch>) -> Result<&'static str, SyncFailure> {
        let name = self.remote.known_name();
        if *self.policy != HostKeyPolicy::TrustFirst || self.known.pinned(&name)?.is_some() {
            return Ok(self.known.file(self.policy)?);
        }
        let (offered, words) = self.offered(&[], watch)?;
        let Some(offered) = offered else { return Err(unreachable(self.remote, &words)) };
        match pinning {
            Pinning::Keep => {
                self.known.pin(&name, &offered)?;
                let fingerprint = offered.fingerprint();
                tracing::info!(remote = %self.remote, fingerprint, "pinned the key of the server");
                Ok(self.known.file(self.policy)?)
            }
            Pinning::Once => {
                self.known.once(ONCE, &name, &offered)?;
                Ok(ONCE)
            }
        }
    }

    /// The key that is believed for this server, if it is known without asking, and else the one that it shows.
    pub(super) fn shown(&self, watch: &Arc<Watch>) -> Result<Option<HostKey>, SyncFailure> {
        let name = self.remote.known_name();
        match self.policy {
            HostKeyPolicy::TrustFirst => match self.known.pinned(&name)? {
                Some(pinned) => Ok(Some(pinned)),
                None => Ok(self.offered(&[], watch)?.0),
            },
            policy => Ok(self.known.keys(self.known.file(policy)?, &name)?.into_iter().next()),
        }
    }

    /// Why there was nothing to be had.
    ///
    /// Ssh says by its exit code only whether it was its own fault, and the rest in words. So another one is started,
    /// which believes everything and has no key to show: whether it learned the server's key says whether the server was
    /// reached, and the key itself says whether it is a believed one. If it is, our key was the reason.
    pub(super) fn explain(&self, program: &Program, watch: &Arc<Watch>) -> Result<SyncFailure, SyncFailure> {
        let status = program.end(watch).map_err(crate::Error::from)?;
        let words = program.words();
        if status.code() != Some(SSH_FAILED) {
            let message = format!(
                "the server has no such repository, or does not let this key see it: {} ({})",
                self.remote,
                if words.is_empty() { status.to_string() } else { words }
            );
            return Ok(SyncFailure::new(Kind::Missing, message));
        }
        let name = self.remote.known_name();
        let file = match self.policy {
            HostKeyPolicy::TrustFirst if self.known.pinned(&name)?.is_none() => ONCE,
            policy => self.known.file(policy)?,
        };
        let believed = self.known.keys(file, &name)?;
        let mut offered = self.offered(&algorithms(&believed), watch)?.0;
        if offered.is_none() && !believed.is_empty() {
            offered = self.offered(&[], watch)?.0;
        }
        Ok(match offered {
            None => unreachable(self.remote, &words),
            Some(offered) if believed.contains(&offered) => SyncFailure::new(
                Kind::Authentication,
                format!(
                    "the server does not accept the key at {}; add its public half to the repository as a deploy \
                     key: {}",
                    self.key.path().display(),
                    self.key.public().unwrap_or_default()
                ),
            ),
            Some(offered) => self.other_key(&believed, &offered),
        })
    }

    fn other_key(&self, believed: &[HostKey], offered: &HostKey) -> SyncFailure {
        let name = self.remote.known_name();
        let offered = offered.fingerprint();
        let known: Vec<_> = believed.iter().map(HostKey::fingerprint).collect();
        let message = if known.is_empty() {
            format!(
                "the key of {name} is not among the known ones: it shows {offered}; add it, if that is what the \
                 server's owner says it is"
            )
        } else {
            format!(
                "the key of {name} is not the known one: it shows {offered}, and {} is known; somebody may stand in \
                 between. If the server's owner says that it has this key now, reset the known one",
                known.join(" or ")
            )
        };
        SyncFailure::new(Kind::HostKey, message)
    }

    /// The key that the server shows to somebody who believes everything and is not let in, and what ssh said.
    fn offered(
        &self,
        algorithms: &[&str],
        watch: &Arc<Watch>,
    ) -> Result<(Option<HostKey>, String), SyncFailure> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.known.folder().join(OFFERED);
        let _ = fs::remove_file(&path);
        let mut command =
            self.command(&format!("UserKnownHostsFile={OFFERED}"), "StrictHostKeyChecking=accept-new");
        command.args(["-o", "PreferredAuthentications=none", "-o", "PubkeyAuthentication=no"]);
        command.args(["-o", "IdentityFile=none"]);
        if !algorithms.is_empty() {
            command.arg("-o").arg(format!("HostKeyAlgorithms={}", algorithms.join(",")));
        }
        self.ask(&mut command);
        // One that fails ends nothing but itself.
        let apart = watch.apart();
        let (program, mut incoming, outgoing) =
            Program::start(&mut command, &apart).map_err(|error| no_ssh(&error))?;
        drop(outgoing);
        let mut nobody_wants_it = [0; 4096];
        while incoming.read(&mut nobody_wants_it).is_ok() {}
        if let Some(cause) = apart.cause().filter(|cause| cause.kind == Kind::TimedOut) {
            return Err(cause);
        }
        program.end(watch).map_err(crate::Error::from)?;
        let offered = self.known.keys(OFFERED, &self.remote.known_name())?.into_iter().next();
        let _ = fs::remove_file(&path);
        Ok((offered, program.words()))
    }

    /// The options that are the same for all. The files are named relative to the folder that it starts in, so that
    /// nothing in the path of it can be taken for anything else.
    fn command(&self, known: &str, checking: &str) -> Command {
        let mut command = Command::new("ssh");
        command.current_dir(self.known.folder()).args(["-F", "none", "-T", "-a", "-x"]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "ControlMaster=no",
            "ControlPath=none",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "UpdateHostKeys=no",
            "HashKnownHosts=no",
            "CheckHostIP=no",
            "VerifyHostKeyDNS=no",
            "CanonicalizeHostname=no",
            "GlobalKnownHostsFile=/dev/null",
            "SendEnv=GIT_PROTOCOL",
            known,
            checking,
        ] {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("ConnectTimeout={CONNECT_SECS}")]);
        command.args(["-o", &format!("ServerAliveInterval={ALIVE_SECS}"), "-o", "ServerAliveCountMax=3"]);
        command.env("GIT_PROTOCOL", "version=2").env("LC_ALL", "C").env("SSH_ASKPASS_REQUIRE", "never");
        for variable in ["SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "GIT_SSH_COMMAND"] {
            command.env_remove(variable);
        }
        command
    }

    /// Where to, and what to start there. Neither was let in if it could be taken for an option.
    fn ask(&self, command: &mut Command) {
        if let Some(port) = self.remote.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(user) = &self.remote.user {
            command.arg("-l").arg(user);
        }
        command.arg("--").arg(&self.remote.host);
        // The server gives it to a shell, in which nothing but a quotation mark ends a quotation.
        command.arg(format!(
            "git-upload-pack '{}'",
            self.remote.path.replace('\'', "'\\''").replace('!', "'\\!'")
        ));
    }
}

/// The names by which one asks for keys of the types of these.
fn algorithms(keys: &[HostKey]) -> Vec<&str> {
    keys.iter()
        .map(|key| if key.kind == "ssh-rsa" { "rsa-sha2-512,rsa-sha2-256" } else { &key.kind })
        .collect()
}

/// The path of a key as ssh takes it: it would replace some words.
fn identity(path: &Path) -> Result<String, SyncFailure> {
    let text = path.to_str().filter(|text| !text.contains("${") && !text.starts_with('~'));
    let absolute =
        text.and_then(|text| std::path::absolute(text).ok()?.to_str().map(|text| text.replace('%', "%%")));
    absolute.ok_or_else(|| {
        SyncFailure::new(
            Kind::Refused,
            "the path of the key cannot be given to ssh: it has `${`, or is not UTF-8",
        )
    })
}

fn unreachable(remote: &Remote, words: &str) -> SyncFailure {
    SyncFailure::new(Kind::Unreachable, format!("{} cannot be reached: {words}", remote.known_name()))
}

fn no_ssh(error: &std::io::Error) -> SyncFailure {
    SyncFailure::new(
        Kind::Internal,
        format!("ssh cannot be started, which is needed for this address: {error}"),
    )
}
