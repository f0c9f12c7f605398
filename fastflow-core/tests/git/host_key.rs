//! Git over ssh, and which servers are believed.

use std::{fs, process::Command, sync::Arc};

use fastflow_core::{
    source::{DeployKey, GitAccess, GitReference, HostKeyPolicy, SyncFailureKind},
    testing::git::{Fault, Proxy, SshServer},
};

use super::{Desk, fetch, repository_for_ssh};

/// The fingerprint of a public key, as OpenSSH has it.
fn fingerprint(public_key: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pub");
    fs::write(&path, public_key).unwrap();
    let output = Command::new("ssh-keygen").arg("-lf").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_key_opens_the_repository_and_the_first_host_key_is_pinned() {
    let Some((repository, commit)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let desk = Desk::of_ssh(&server, &repository);
    let mirror = desk.mirror();
    let first = fingerprint(&server.host_key());

    // A look pins nothing.
    let probe = mirror.probe(&GitReference::Head, &Arc::default()).unwrap();
    assert_eq!(
        (probe.commit.unwrap().as_str(), probe.host_key.as_deref()),
        (commit.as_str(), Some(first.as_str()))
    );
    assert_eq!(mirror.host_key().unwrap(), None);

    assert_eq!(fetch(&mirror).unwrap().commit.id.as_str(), commit);
    assert_eq!(mirror.host_key().unwrap().as_deref(), Some(first.as_str()));
    repository.write("etl/main.py", "print(2)\n");
    let next = repository.commit("Change etl");
    // Once pinned, one connection is all it takes.
    let before = server.connections();
    assert_eq!(fetch(&mirror).unwrap().commit.id.as_str(), next);
    assert_eq!(server.connections(), before + 1);
}

#[test]
fn another_host_key_is_refused_until_somebody_resets_it() {
    let Some((repository, commit)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let desk = Desk::of_ssh(&server, &repository);
    let mirror = desk.mirror();
    fetch(&mirror).unwrap();
    let old = mirror.host_key().unwrap().unwrap();
    server.change_host_key();
    let new = fingerprint(&server.host_key());
    for _ in 0..2 {
        let failure = fetch(&mirror).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::HostKey, "{failure}");
        assert!(failure.message.contains(&old) && failure.message.contains(&new), "{failure}");
    }
    let failure = mirror.probe(&GitReference::Head, &Arc::default()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::HostKey, "{failure}");
    assert_eq!(mirror.forget_host_key().unwrap(), Some(old));
    assert_eq!(fetch(&mirror).unwrap().commit.id.as_str(), commit);
    assert_eq!(mirror.host_key().unwrap(), Some(new));
}

#[test]
fn only_known_hosts_are_believed_if_that_is_wanted() {
    let Some((repository, commit)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let other = SshServer::start();
    let mut desk = Desk::of_ssh(&server, &repository);
    let file = desk.folder.path().join("hosts of mine");

    desk.config.host_keys = HostKeyPolicy::Known(server.known_host());
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);
    // By a hash of its name, as some write them.
    fs::write(&file, server.known_host()).unwrap();
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).status().unwrap();
    assert!(hashed.success());
    desk.config.host_keys = HostKeyPolicy::KnownFile(file.clone());
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);

    let of_another = server.known_host().split(' ').next().unwrap().to_owned() + " " + &other.host_key();
    for known in [String::new(), other.known_host(), of_another] {
        fs::write(&file, &known).unwrap();
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::HostKey, "{known}: {failure}");
        assert!(failure.message.contains(&fingerprint(&server.host_key())), "{failure}");
    }
    assert_eq!(desk.mirror().host_key().unwrap(), None);
    fs::remove_file(&file).unwrap();
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Missing, "{failure}");
}

#[test]
fn what_ssh_says_with_one_code_is_told_apart() {
    let Some((repository, _)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let mut desk = Desk::of_ssh(&server, &repository);
    fetch(&desk.mirror()).unwrap();

    // A key that the server does not know.
    let known = desk.config.access.clone();
    let stranger = DeployKey::ensure(desk.folder.path().join("other")).unwrap();
    desk.config.access = GitAccess::DeployKey(stranger.clone());
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Authentication, "{failure}");
    assert!(failure.message.contains(&stranger.public().unwrap()), "{failure}");
    desk.config.access = known;

    // A repository that is not there.
    let here = desk.config.remote.clone();
    desk.config.remote = server.url(&repository.root().join("none.git"));
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Missing, "{failure}");

    // A server that breaks off before it says who it is.
    let proxy = Proxy::start(server.address());
    proxy.set(Fault::CutAfter(10));
    desk.config.remote = proxy.url_of(&here);
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{failure}");
}

#[test]
fn nothing_in_an_address_is_a_command() {
    let Some((repository, commit)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let mut desk = Desk::of_ssh(&server, &repository);
    let witness = repository.root().join("witness");
    let shown = witness.display();
    for name in [
        format!("x';touch${{IFS}}{shown};'"),
        format!("$(touch${{IFS}}{shown})"),
        format!("`touch${{IFS}}{shown}`!"),
    ] {
        let path = repository.root().join(name.replace('/', "_").as_str());
        desk.config.remote = server.url(&path);
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::Missing, "{failure}");
    }
    assert!(!witness.exists());
    // Such a name is one like any other.
    let odd = repository.root().join("it's $(a) `repository`!.git".replace(' ', "_"));
    std::os::unix::fs::symlink(repository.path(), &odd).unwrap();
    desk.config.remote = server.url(&odd);
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);
}
