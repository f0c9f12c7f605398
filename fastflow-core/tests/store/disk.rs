//! What may happen to the disk. These cases mount file systems, so they need root; without it they say so.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, ErrorKind, SystemClock, Timestamp,
    run::{Exit, RunEvent},
    store::{Claim, SqliteOptions, SqliteStore, Step, Store},
    testing::tool,
};

use crate::child::new_run;

/// A file system in memory, of a fixed size. Unmounted when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None, and a loud word, where mounting is not allowed.
    fn mount(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.0.path())
            .output()
            .is_ok_and(|done| done.status.success());
        if !mounted {
            tool::require("mount", "run the tests as root, so that they can mount a small disk");
            return None;
        }
        Some(disk)
    }

    fn remount(&self, options: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()).status();
        assert!(done.unwrap().success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

/// The machine's time, and as much more of the kind that does not jump as a test wants.
#[derive(Debug, Default)]
struct Ahead(SystemClock, AtomicU64);

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed() + Duration::from_secs(self.1.load(Ordering::Relaxed))
    }
    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_open_runs_end_and_new_ones_wait() {
    let Some(disk) = Disk::mount("size=6m") else { return };
    let path = disk.path().join("store.db");
    let clock = Arc::new(Ahead::default());
    let mut options = SqliteOptions::default();
    options.reserve_bytes = 2 << 20;
    let store = SqliteStore::open(&path, options, clock.clone()).await.unwrap();
    let mut accepted = vec![store.create_run(new_run(&*clock, "first")).await.unwrap().id];
    let open = store.claim(Claim::new(clock.now(), 1.try_into().unwrap())).await.unwrap().remove(0);
    let big = "x".repeat(50_000);
    let refused = loop {
        match store.create_run(new_run(&*clock, &big)).await {
            Ok(created) => accepted.push(created.id),
            Err(error) => break error,
        }
        assert!(accepted.len() < 1000, "the disk is full some time");
    };
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{}", refused.chain());
    let error = store.create_run(new_run(&*clock, "small")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "what is left is for open runs");
    let exit = RunEvent::Exited { exit: Exit::Code(0), stopped_by: None };
    store.advance(Step::new(open.id, Some(open.epoch), exit, clock.now())).await.unwrap();
    for id in &accepted {
        assert_eq!(store.run(*id).await.unwrap().id, *id, "what was accepted can be read");
    }

    disk.remount("size=32m");
    clock.1.fetch_add(60, Ordering::Relaxed);
    accepted.push(store.create_run(new_run(&*clock, &big)).await.unwrap().id);
    store.close().await.unwrap();
    let store = SqliteStore::open(&path, options, clock.clone()).await.unwrap();
    for id in &accepted {
        assert_eq!(store.run(*id).await.unwrap().id, *id);
    }
    let listed = store.runs(&fastflow_core::store::RunQuery::default()).await.unwrap();
    assert!(listed.next.is_some() || listed.items.len() == accepted.len(), "nothing half-written");
    store.close().await.unwrap();
    crate::file::check_integrity(&path).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_folder_is_refused() {
    let Some(disk) = Disk::mount("size=8m") else { return };
    disk.remount("ro");
    let path = disk.path().join("store.db");
    let error =
        SqliteStore::open(path, SqliteOptions::default(), Arc::new(SystemClock::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_keeps_for_open_runs_no_other_one_uses_up() {
    let Some(disk) = Disk::mount("size=6m") else { return };
    let path = disk.path().join("store.db");
    let clock = Arc::new(Ahead::default());
    let mut options = SqliteOptions::default();
    options.reserve_bytes = 2 << 20;
    let open = || SqliteStore::open(&path, options, clock.clone());
    let refused = |created: fastflow_core::Result<fastflow_core::store::Created>, who: &str| {
        let error = created.expect_err(who);
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{who}: {}", error.chain());
    };
    let host = open().await.unwrap();
    host.host(None).await.unwrap();
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    second.create_run(new_run(&*clock, "it works beside the others")).await.unwrap();
    let big = "x".repeat(50_000);
    let mut accepted = 0;
    while first.create_run(new_run(&*clock, &big)).await.is_ok() {
        accepted += 1;
        assert!(accepted < 1000, "the disk is full some time");
    }
    let third = open().await.unwrap();
    // The host looks again after a while, and finds only what was given up.
    clock.1.fetch_add(60, Ordering::Relaxed);
    for (store, who) in [(&second, "another"), (&third, "a new one"), (&host, "the host"), (&first, "it")] {
        refused(store.create_run(new_run(&*clock, "small")).await, who);
    }
    let free = rustix::fs::statvfs(disk.path()).unwrap();
    assert!(free.f_bavail * free.f_frsize > 1 << 20, "what was given up is free for open runs");

    disk.remount("size=32m");
    clock.1.fetch_add(60, Ordering::Relaxed);
    refused(second.create_run(new_run(&*clock, "small")).await, "who did not give it up");
    host.create_run(new_run(&*clock, "small")).await.unwrap();
    second.create_run(new_run(&*clock, "small")).await.unwrap();
    for store in [first, second, third, host] {
        store.close().await.unwrap();
    }
}
