//! The servers of the tests themselves, asked by git.

use std::process::Command;

use fastflow_core::testing::git::{DaemonServer, Fault, HttpServer, Proxy, Repository, SshServer};

use super::{repository, repository_for_ssh};

/// What git finds at an address, with these variables.
fn refs(url: &str, variables: &[(&str, &str)]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.args(["ls-remote", url]).env("GIT_TERMINAL_PROMPT", "0").env("NO_PROXY", "127.0.0.1");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn git_is_served_over_its_own_protocol_and_through_a_proxy_that_may_cut() {
    let Some((repository, commit)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let url = server.url(Repository::NAME);
    assert!(refs(&url, &[]).unwrap().contains(&commit));
    let proxy = Proxy::start(server.address());
    assert!(refs(&proxy.url_of(&url), &[]).unwrap().contains(&commit));
    proxy.set(Fault::CutAfter(10));
    refs(&proxy.url_of(&url), &[]).unwrap_err();
}

#[test]
fn git_is_served_over_https_to_who_has_the_token() {
    let Some((repository, commit)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let authority = server.authority();
    let trusting = [("GIT_SSL_CAINFO", authority.to_str().unwrap())];
    let url = server.url(Repository::NAME);
    assert!(refs(&url, &trusting).unwrap().contains(&commit));
    refs(&url, &[]).unwrap_err();
    server.require_token("right");
    refs(&url, &trusting).unwrap_err();
    let with = |token| url.replace("https://", &format!("https://user:{token}@"));
    refs(&with("wrong"), &trusting).unwrap_err();
    assert!(refs(&with("right"), &trusting).unwrap().contains(&commit));
    assert!(server.received().iter().any(|request| request.status == 401));
}

#[test]
fn git_is_served_over_ssh_to_who_has_the_key() {
    let Some((repository, commit)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let key = repository.root().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let known = repository.root().join("known");
    std::fs::write(&known, server.known_host()).unwrap();
    let ssh = format!(
        "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile={} -i {}",
        known.display(),
        key.display()
    );
    let options = [("GIT_SSH_COMMAND", ssh.as_str())];
    refs(&server.url(&repository.path()), &options).unwrap_err();
    server.allow(&std::fs::read_to_string(key.with_extension("pub")).unwrap());
    let found = refs(&server.url(&repository.path()), &options);
    assert!(found.as_ref().is_ok_and(|found| found.contains(&commit)), "{found:?}");
    server.change_host_key();
    refs(&server.url(&repository.path()), &options).unwrap_err();
}
