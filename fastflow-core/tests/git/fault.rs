//! Servers that break off, say nothing, or too much.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fastflow_core::{
    source::{GitReference, SyncFailureKind},
    testing::git::{DaemonServer, Fault, HttpServer, Proxy, Repository, SshServer},
};

use super::{Desk, fetch, noise, repository, repository_for_ssh};

/// A mirror with the first commit, before a second one of 2 MB that has to come through a proxy.
fn before_a_large_one(repository: &Repository, mut desk: Desk, server: &str, proxy: &Proxy) -> Desk {
    desk.config.remote = proxy.url_of(server);
    fetch(&desk.mirror()).unwrap();
    repository.write("etl/data", noise(2_000_000));
    repository.commit("Add data");
    desk
}

fn last_good_state_is_here(desk: &Desk, commit: &str) {
    let commit = desk.mirror().commit(&commit.parse().unwrap(), "refs/heads/main").unwrap();
    assert_eq!(commit.subject, "Add etl");
}

fn is_healed(desk: &Desk, repository: &Repository) {
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), repository.id("HEAD"));
    let folder = desk.path().join("repository/objects/pack");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let odd: Vec<_> = names.filter(|name| !name.to_str().unwrap().starts_with("pack-")).collect();
    assert_eq!(odd, Vec::<std::ffi::OsString>::new());
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_what_was_there() {
    let Some((repository, first)) = repository() else { return };
    let (http, daemon) = (HttpServer::start(repository.root()), DaemonServer::start(repository.root()));
    for (desk, address, url) in [
        (Desk::of_http(&http), http.address(), http.url(Repository::NAME)),
        (Desk::of_daemon(&daemon), daemon.address(), daemon.url(Repository::NAME)),
    ] {
        repository.reset(&first);
        let proxy = Proxy::start(address);
        let desk = before_a_large_one(&repository, desk, &url, &proxy);
        for bytes in [5, 5_000, 100_000, 1_900_000] {
            proxy.set(Fault::CutAfter(bytes));
            let failure = fetch(&desk.mirror()).unwrap_err();
            assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{url} after {bytes}: {failure}");
            last_good_state_is_here(&desk, &first);
        }
        proxy.set(Fault::None);
        is_healed(&desk, &repository);
    }
}

#[test]
fn a_server_for_ssh_that_dies_in_the_middle_leaves_what_was_there() {
    let Some((repository, first)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let proxy = Proxy::start(server.address());
    let url = server.url(&repository.path());
    let desk = before_a_large_one(&repository, Desk::of_ssh(&server, &repository), &url, &proxy);
    for bytes in [500, 100_000, 1_900_000] {
        proxy.set(Fault::CutAfter(bytes));
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::Unreachable, "after {bytes}: {failure}");
        last_good_state_is_here(&desk, &first);
    }
    proxy.set(Fault::None);
    is_healed(&desk, &repository);
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let Some((repository, first)) = repository() else { return };
    let (http, daemon) = (HttpServer::start(repository.root()), DaemonServer::start(repository.root()));
    for (desk, address, url) in [
        (Desk::of_http(&http), http.address(), http.url(Repository::NAME)),
        (Desk::of_daemon(&daemon), daemon.address(), daemon.url(Repository::NAME)),
    ] {
        repository.reset(&first);
        let proxy = Proxy::start(address);
        let mut desk = before_a_large_one(&repository, desk, &url, &proxy);
        desk.config.limits.silence_timeout = Duration::from_millis(400);
        for bytes in [0, 100_000] {
            proxy.set(Fault::StallAfter(bytes));
            let failure = fetch(&desk.mirror()).unwrap_err();
            assert_eq!(failure.kind, SyncFailureKind::TimedOut, "{url} after {bytes}: {failure}");
            last_good_state_is_here(&desk, &first);
        }
    }
}

#[test]
fn a_server_for_ssh_that_says_nothing_is_left_and_no_program_stays() {
    let Some((repository, first)) = repository_for_ssh() else { return };
    let server = SshServer::start();
    let proxy = Proxy::start(server.address());
    let url = server.url(&repository.path());
    let mut desk = before_a_large_one(&repository, Desk::of_ssh(&server, &repository), &url, &proxy);
    desk.config.limits.silence_timeout = Duration::from_secs(2);
    proxy.set(Fault::StallAfter(100_000));
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::TimedOut, "{failure}");
    last_good_state_is_here(&desk, &first);
    let port = format!("-p\0{}\0", proxy.address().port());
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        std::fs::read(process.path().join("cmdline"))
            .ok()
            .filter(|line| String::from_utf8_lossy(line).contains(&port))
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_fetch_ends_when_its_time_is_over_or_its_host_ends() {
    let Some((repository, first)) = repository() else { return };
    let server = HttpServer::start(repository.root());
    let proxy = Proxy::start(server.address());
    let url = server.url(Repository::NAME);
    let mut desk = before_a_large_one(&repository, Desk::of_http(&server), &url, &proxy);
    desk.config.limits.fetch_timeout = Duration::from_millis(400);
    proxy.set(Fault::StallAfter(100_000));
    let failure = fetch(&desk.mirror()).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::TimedOut, "{failure}");

    desk.config.limits.fetch_timeout = Duration::from_mins(10);
    let interrupt = Arc::new(AtomicBool::new(false));
    let failure = thread::scope(|scope| {
        let mirror = desk.mirror();
        let fetching = scope.spawn(|| desk.mirror().fetch(&GitReference::Head, &interrupt));
        // It has come as far as it can.
        let before = server.received().len();
        while server.received().len() < before + 1 {
            thread::yield_now();
        }
        interrupt.store(true, Ordering::SeqCst);
        drop(mirror);
        fetching.join().unwrap().unwrap_err()
    });
    assert_eq!(failure.kind, SyncFailureKind::TimedOut, "{failure}");
    last_good_state_is_here(&desk, &first);
}

#[test]
fn a_server_that_cannot_be_reached_is_said_to_be() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let mut desk = Desk::of_daemon(&server);
    for scheme in ["https", "git"] {
        desk.config.remote = format!("{scheme}://{nobody}/pipelines.git");
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{failure}");
    }
    if repository_for_ssh().is_some() {
        let ssh = SshServer::start();
        let mut desk = Desk::of_ssh(&ssh, &repository);
        desk.config.remote = format!("ssh://git@{nobody}/pipelines.git");
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{failure}");
    }
}

#[test]
fn what_is_larger_than_the_limit_is_not_taken() {
    let Some((repository, first)) = repository() else { return };
    let (http, daemon) = (HttpServer::start(repository.root()), DaemonServer::start(repository.root()));
    let desks = [Desk::of_http(&http), Desk::of_daemon(&daemon)];
    for desk in &desks {
        fetch(&desk.mirror()).unwrap();
    }
    repository.write("etl/data", noise(2_000_000));
    repository.commit("Add data");
    for mut desk in desks {
        desk.config.limits.max_fetch_bytes = 1_000_000;
        let failure = fetch(&desk.mirror()).unwrap_err();
        assert_eq!(failure.kind, SyncFailureKind::TooLarge, "{failure}");
        last_good_state_is_here(&desk, &first);
        desk.config.limits.max_fetch_bytes = 4_000_000;
        let arrived = fetch(&desk.mirror()).unwrap();
        assert!((2_000_000..4_000_000).contains(&arrived.bytes), "{}", arrived.bytes);
    }
}

#[test]
fn a_rewritten_history_that_is_too_large_comes_without_its_beginning() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let mut desk = Desk::of_daemon(&server);
    fetch(&desk.mirror()).unwrap();
    repository.git(&["checkout", "--quiet", "--orphan", "other"]);
    for number in 0..3 {
        repository.write("etl/data", noise(500_000 + number));
        repository.commit("Add data");
    }
    repository.remove("etl/data");
    let end = repository.commit("Remove it");
    repository.git(&["branch", "--force", "main", "other"]);
    repository.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    desk.config.limits.max_fetch_bytes = 400_000;
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), end);
}
