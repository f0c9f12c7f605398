//! A way to the real engine that can be cut.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener, UnixStream},
    sync::watch,
};

pub(crate) struct Relay {
    folder: TempDir,
    cut: watch::Sender<bool>,
    open: Arc<AtomicUsize>,
}

impl Relay {
    /// Passes everything on. Of each answer, only the first `answer_bytes`.
    pub(crate) fn new(engine: &Path, answer_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let (cut, is_cut) = watch::channel(false);
        let (open, engine) = (Arc::new(AtomicUsize::new(0)), engine.to_owned());
        let count = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let engine = UnixStream::connect(&engine).await.unwrap();
                let (mut is_cut, count) = (is_cut.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        () = pass(client, engine, answer_bytes) => {}
                        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
                    }
                    count.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { folder, cut, open }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn cut(&self) {
        self.cut.send(true).unwrap();
    }
}

/// The engine on a TCP port of this machine.
pub(crate) async fn tcp(engine: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, engine) = (listener.local_addr().unwrap().port(), engine.to_owned());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut engine = UnixStream::connect(&engine).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut engine).await.ok() });
        }
    });
    port
}

async fn pass(client: UnixStream, engine: UnixStream, answer_bytes: u64) {
    let (mut from_client, mut to_client) = client.into_split();
    let (from_engine, mut to_engine) = engine.into_split();
    let there = async {
        tokio::io::copy(&mut from_client, &mut to_engine).await.ok();
        // A client that has gone away is what the engine sees as well.
        to_engine.shutdown().await.ok();
    };
    let back = async {
        tokio::io::copy(&mut from_engine.take(answer_bytes), &mut to_client).await.ok();
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
