//! Mirrors that somebody has damaged or prepared.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fastflow_core::{
    ErrorKind,
    source::{GitReference, SyncFailureKind},
    testing::git::{DaemonServer, HttpServer, Repository},
};

use super::{Desk, fetch, repository};

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nothing_that_lies_in_the_mirror_is_executed_or_followed() {
    let Some((repository, _)) = repository() else { return };
    let (http, daemon) = (HttpServer::start(repository.root()), DaemonServer::start(repository.root()));
    let elsewhere = HttpServer::start(repository.root());
    for (desk, url) in [
        (Desk::of_http(&http), http.url(Repository::NAME)),
        (Desk::of_daemon(&daemon), daemon.url(Repository::NAME)),
    ] {
        fetch(&desk.mirror()).unwrap();
        let inside = desk.path().join("repository");
        let witness = desk.folder.path().join("witness");
        let script = format!("#!/bin/sh\ntouch {}\n", witness.display());
        let program = desk.folder.path().join("program");
        write(&program, &script);
        for hook in ["post-checkout", "reference-transaction", "post-merge", "pre-auto-gc", "post-update"] {
            write(&inside.join("hooks").join(hook), &script);
        }
        let program = program.display();
        let config = format!(
            "[core]\n\tsshCommand = {program}\n\tfsmonitor = {program}\n\tgitProxy = {program}\n\taskPass = {program}\n\
             \thooksPath = {}\n[credential]\n\thelper = !{program}\n[url \"{}\"]\n\tinsteadOf = {url}\n\
             [include]\n\tpath = {program}\n[uploadpack]\n\tpackObjectsHook = {program}\n[http]\n\tproxy = \
             http://127.0.0.1:1\n\tsslVerify = false\n[fetch]\n\trecurseSubmodules = true\n[extensions]\n\tpartialClone = x\n",
            inside.join("hooks").display(),
            elsewhere.url(Repository::NAME)
        );
        write(&inside.join("config"), &config);
        write(&inside.join("config.worktree"), &config);
        write(&inside.join("info/attributes"), "* filter=evil\n");
        write(&inside.join("objects/info/alternates"), &format!("{}/objects\n", repository.path().display()));
        repository.write("etl/main.py", format!("print('{url}')\n"));
        let next = repository.commit("Change etl");
        assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), next);
        assert!(!witness.exists());
        assert_eq!(elsewhere.received(), []);
        assert!(!inside.join("hooks").exists() && !inside.join("objects/info/alternates").exists());
        assert!(!fs::read_to_string(inside.join("config")).unwrap().contains("program"));
    }
}

#[test]
fn the_mirror_is_closed_to_others() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    fs::create_dir(desk.path()).unwrap();
    fs::set_permissions(desk.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fetch(&desk.mirror()).unwrap();
    for folder in [desk.path(), desk.path().join("repository"), desk.path().join("ssh")] {
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700, "{}", folder.display());
    }
}

#[test]
fn a_damaged_pack_is_fetched_again_and_what_is_whole_stays() {
    let Some((repository, _)) = repository() else { return };
    // So that what is new is never all there is.
    repository.write("etl/other.py", "print(0)\n");
    let first = repository.commit("Add another");
    let server = HttpServer::start(repository.root());
    for damage in [truncated as fn(&Path), flipped, removed] {
        repository.reset(&first);
        let desk = Desk::of_http(&server);
        let mirror = desk.mirror();
        let kept = fetch(&mirror).unwrap().commit;
        let before = desk.packs();
        repository.write("etl/main.py", "print(2)\n");
        repository.commit("Change etl");
        let arrived = fetch(&mirror).unwrap().commit;
        let pack = desk.packs().into_iter().find(|pack| !before.contains(pack)).unwrap();
        let damaged = desk.identity();
        damage(&pack);

        assert_eq!(fetch(&desk.mirror()).unwrap().commit, arrived);
        assert_ne!(desk.identity(), damaged);
        assert!(!desk.packs().contains(&pack));
        assert_eq!(mirror.commit(&arrived.id, "refs/heads/main").unwrap(), arrived);
        assert_eq!(mirror.commit(&kept.id, "refs/heads/main").unwrap(), kept);
        assert!(!desk.path().join("fresh").exists() && !desk.path().join("old").exists());
        repository.write("etl/main.py", "print(3)\n");
        let next = repository.commit("Change it again");
        assert_eq!(fetch(&mirror).unwrap().commit.id.as_str(), next);
    }
}

/// Packs are closed to writing.
fn open_to_writing(pack: &Path) {
    fs::set_permissions(pack, fs::Permissions::from_mode(0o644)).unwrap();
}

fn truncated(pack: &Path) {
    open_to_writing(pack);
    let length = fs::metadata(pack).unwrap().len();
    fs::OpenOptions::new().write(true).open(pack).unwrap().set_len(length / 2).unwrap();
}

fn flipped(pack: &Path) {
    open_to_writing(pack);
    let mut bytes = fs::read(pack).unwrap();
    // Behind the head, and before the sum at the end.
    let end = bytes.len() - 20;
    for byte in &mut bytes[12..end] {
        *byte ^= 0xff;
    }
    fs::write(pack, bytes).unwrap();
}

fn removed(pack: &Path) {
    fs::remove_file(pack).unwrap();
}

#[test]
fn a_mirror_that_is_no_repository_any_more_is_made_anew() {
    let Some((repository, commit)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    fetch(&desk.mirror()).unwrap();
    let inside = desk.path().join("repository");
    fs::write(inside.join("packed-refs"), b"\0\xff garbage\n").unwrap();
    fs::write(inside.join("shallow"), "garbage\n").unwrap();
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);
    fs::remove_dir_all(&inside).unwrap();
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), commit);
}

#[test]
fn what_a_process_that_died_has_left_is_in_nobody_s_way() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let published = fetch(&desk.mirror()).unwrap().commit;
    let inside = desk.path().join("repository");
    let tips = fs::read_dir(inside.join("refs/fastflow/tip")).unwrap();
    let tip = tips.map(|entry| entry.unwrap().path()).next().unwrap();
    let left = [
        tip.with_extension("lock"),
        inside.join("shallow.lock"),
        inside.join("packed-refs.lock"),
        inside.join("objects/pack/.tmpAbCdEf"),
        inside.join("objects/pack/tmp_pack_x"),
        inside.join("objects/pack/pack-0000000000000000000000000000000000000000.pack"),
        desk.path().join("fresh/objects/pack/x"),
        desk.path().join("old/HEAD"),
    ];
    for path in &left {
        write(path, "left");
    }
    let before = desk.identity();
    repository.write("etl/main.py", "print(2)\n");
    let next = repository.commit("Change etl");
    assert_eq!(fetch(&desk.mirror()).unwrap().commit.id.as_str(), next);
    for path in &left {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(desk.identity(), before);
    // It died between the two steps of a swap, and somebody has made a folder since.
    for folders in ["", "repository/objects/pack"] {
        fs::rename(&inside, desk.path().join("old")).unwrap();
        fs::create_dir_all(desk.path().join(folders)).unwrap();
        fetch(&desk.mirror()).unwrap();
        assert_eq!(desk.identity(), before);
        assert_eq!(desk.mirror().commit(&published.id, "refs/heads/main").unwrap(), published);
    }
}

#[test]
fn a_server_whose_repository_is_damaged_changes_nothing() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let mirror = desk.mirror();
    let published = fetch(&mirror).unwrap().commit;
    repository.write("etl/main.py", "print('something else')\n");
    repository.commit("Change etl");
    let file = repository.git(&["rev-parse", "HEAD:etl/main.py"]);
    let object = repository.path().join("objects").join(&file[..2]).join(&file[2..]);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "nothing").unwrap();
    let failure = fetch(&mirror).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Unreachable, "{failure}");
    assert_eq!(mirror.commit(&published.id, "refs/heads/main").unwrap(), published);
    let missing = mirror.commit(&repository.id("HEAD").parse().unwrap(), "refs/heads/main").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn whoever_reads_makes_nothing_and_is_not_in_the_way_of_who_makes_it_anew() {
    let Some((repository, _)) = repository() else { return };
    let server = DaemonServer::start(repository.root());
    let desk = Desk::of_daemon(&server);
    let mirror = desk.mirror();
    let nothing = mirror.commit(&repository.id("HEAD").parse().unwrap(), "refs/heads/main").unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotFound);
    assert!(!desk.path().exists());

    let published = fetch(&mirror).unwrap().commit;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(mirror.commit(&published.id, "refs/heads/main").unwrap(), published);
            }
        });
        for round in 0..10 {
            let before = desk.identity();
            repository.write("etl/main.py", format!("print('round {round}')\n"));
            repository.commit("Change etl");
            mirror.fetch_anew(&GitReference::Head, &Arc::default()).unwrap();
            assert_ne!(desk.identity(), before);
        }
        is_over.store(true, Ordering::SeqCst);
        reading.join().unwrap();
    });
    assert_eq!(mirror.commit(&published.id, "refs/heads/main").unwrap(), published);
}
