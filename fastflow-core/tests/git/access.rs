//! Who asks, and that nobody else ever learns with what.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fastflow_core::{
    Error, ErrorKind, SystemClock,
    source::{
        DeployKey, GitAccess, GitConfig, GitMirror, InsecureScheme, SyncFailureKind, Token, TokenAccess,
    },
    testing::git::{Fault, HttpServer, Proxy, Repository},
};

use super::{Desk, fetch, noise, repository};

const SECRET: &str = "s3cret-of-all-secrets";

#[test]
fn a_token_is_wanted_and_has_to_be_the_right_one() {
    let Some((repository, commit)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    server.require_token(SECRET);
    let mut desk = Desk::of_http(&server);
    for access in [GitAccess::Anonymous, GitAccess::token(Token::new("wr0ng"))] {
        desk.config.access = access;
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::Authentication, "{failure}");
        assert!(!failure.to_string().contains("wr0ng"), "{failure}");
    }
    desk.config.access = GitAccess::token(Token::new(format!(" {SECRET}\n")));
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);
    let shown = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{SECRET}", TokenAccess::USERNAME)));
    assert_eq!(server.received().last().unwrap().authorization, Some(shown));
}

#[test]
fn a_token_in_a_file_may_change_between_two_syncs() {
    let Some((repository, _)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let mut desk = Desk::of_http(&server);
    let file = desk.folder.path().join("token");
    desk.config.access = GitAccess::token_file(&file);
    let mirror = desk.mirror();
    let failure = fetch(&mirror).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Authentication, "{failure}");
    for token in ["first", "second"] {
        server.require_token(token);
        fs::write(&file, format!("{token}\n")).unwrap();
        fetch(&mirror).unwrap();
    }
    fs::write(&file, "first").unwrap();
    let failure = fetch(&mirror).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Authentication, "{failure}");
}

#[test]
fn a_token_that_was_refused_is_asked_for_once_more() {
    let Some((repository, _)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    server.require_token("new");
    let mut desk = Desk::of_http(&server);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    desk.config.access = GitAccess::token_from(move || {
        Ok(Token::new(if count.fetch_add(1, Ordering::SeqCst) == 0 { "old" } else { "new" }))
    });
    fetch(&desk.mirror()).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    // Not more than once, and not with the same one.
    let before = server.received().len();
    desk.config.access = GitAccess::token_from(|| Ok(Token::new("old")));
    fetch(&desk.mirror()).unwrap_err();
    assert_eq!(server.received().len(), before + 1);
    desk.config.access =
        GitAccess::token_from(|| Err(Error::new(ErrorKind::Unavailable, "the vault is not there")));
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{failure}");
}

#[test]
fn an_access_has_to_go_with_its_address() {
    let key = || GitAccess::DeployKey(DeployKey::at("/nowhere"));
    let token = || GitAccess::token(Token::new(SECRET));
    let new = |remote: &str, access| {
        let mut config = GitConfig::new(remote);
        config.insecure_schemes = vec![InsecureScheme::Http, InsecureScheme::Git, InsecureScheme::File];
        config.access = access;
        GitMirror::new("/nowhere", config, Arc::new(SystemClock::new()))
    };
    for (remote, access) in [
        ("https://example.org/x.git", key()),
        ("ssh://git@example.org/x.git", token()),
        ("git@example.org:x.git", GitAccess::Anonymous),
        ("http://example.org/x.git", token()),
        ("git://example.org/x.git", token()),
        ("/srv/x.git", token()),
    ] {
        assert_eq!(new(remote, access).unwrap_err().kind(), ErrorKind::Invalid, "{remote}");
    }
    new("http://127.0.0.1/x.git", token()).unwrap();
    new("git@example.org:x.git", key()).unwrap();
}

/// The arguments and the environment of all processes of this machine, as often as they can be read until `is_over`.
fn arguments_until(is_over: &Mutex<bool>, seen: &Mutex<BTreeSet<Vec<u8>>>) {
    while !*is_over.lock().unwrap() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            if let Ok(line) = fs::read(process.path().join("cmdline")) {
                seen.lock().unwrap().insert(line);
            }
        }
    }
}

/// All files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let output = Command::new("grep").args(["-rlaF", text]).arg(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_token_is_nowhere_but_in_requests() {
    let Some((repository, _)) = repository() else { return };
    repository.write("etl/data", noise(400_000));
    repository.commit("Add data");
    let server = HttpServer::start(repository.root());
    server.require_token(SECRET);
    let proxy = Proxy::start(server.address());
    let mut desk = Desk::of_http(&server);
    desk.config.remote = proxy.url_of(&server.url(Repository::NAME));
    desk.config.access = GitAccess::token(Token::new(SECRET));
    let encoded = BASE64_STANDARD.encode(format!("{}:{SECRET}", TokenAccess::USERNAME));
    let (is_over, seen) = (Mutex::new(false), Mutex::new(BTreeSet::new()));
    let mut said = vec![format!("{:?}", desk.config)];
    thread::scope(|scope| {
        scope.spawn(|| arguments_until(&is_over, &seen));
        let mirror = desk.mirror();
        for fault in [Fault::CutAfter(100_000), Fault::CutAfter(10), Fault::None] {
            proxy.set(fault);
            match fetch(&mirror) {
                Ok(arrived) => said.push(format!("{arrived:?}")),
                Err(failure) => said.push(format!("{failure} {failure:?}")),
            }
        }
        server.require_token("another");
        said.push(fetch(&mirror).unwrap_err().to_string());
        // A server that tells where it was told of.
        server.redirect_to(&format!("https://{SECRET}@elsewhere.example.org/{encoded}.git"));
        server.require_token(SECRET);
        said.push(fetch(&mirror).unwrap_err().to_string());
        said.push(format!("{mirror:?}"));
        *is_over.lock().unwrap() = true;
    });
    let seen = seen.into_inner().unwrap();
    assert!(
        seen.iter().any(|line| String::from_utf8_lossy(line).contains("http-backend")),
        "nothing was looked at"
    );
    for secret in [SECRET, &encoded] {
        assert!(!said.concat().contains(secret), "{said:?}");
        assert_eq!(files_with(desk.folder.path(), secret), Vec::<String>::new());
        let shown = seen.iter().find(|line| String::from_utf8_lossy(line).contains(secret));
        assert_eq!(shown, None);
    }
    let is_known = |request: &fastflow_core::testing::git::Received| request.authorization.is_some();
    assert!(server.received().iter().all(is_known));
}

#[test]
fn a_key_is_made_once_and_closed_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys/id_ed25519");
    assert_eq!(DeployKey::at(&path).public().unwrap_err().kind(), ErrorKind::NotFound);
    let key = DeployKey::ensure(&path).unwrap();
    let public = key.public().unwrap();
    assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" fastflow"), "{public}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let before = fs::read(&path).unwrap();
    assert_eq!(DeployKey::ensure(&path).unwrap().public().unwrap(), public);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

    // What OpenSSH makes of it.
    let output = Command::new("ssh-keygen").arg("-yf").arg(&path).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), public);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(key.public().unwrap_err().kind(), ErrorKind::Denied);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let locked = Command::new("ssh-keygen").args(["-q", "-p", "-N", "passphrase", "-f"]).arg(&path).status();
    assert!(locked.unwrap().success());
    assert_eq!(key.public().unwrap_err().kind(), ErrorKind::Invalid);
    fs::write(&path, "not a key").unwrap();
    assert_eq!(DeployKey::ensure(&path).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(&path).unwrap(), b"not a key");
}
