//! A repository as large as they come: many files, a large one, and many pipelines.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _},
    path::Path,
};

use fastflow_core::{source::PipelineSource as _, testing::git::HttpServer};

use super::{Desk, repository, source::published};

const PIPELINES: usize = 2_000;
/// Of each pipeline: 10,000 together.
const FILES: usize = 5;
const LARGE_BYTES: u64 = 200 << 20;

/// Whether two files hold the same bytes.
fn are_same(one: &Path, other: &Path) -> bool {
    let open = |path| BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let (mut one, mut other) = (open(one), open(other));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut left).unwrap();
        if read == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
        if other.read_exact(&mut right[..read]).is_err() || left[..read] != right[..read] {
            return false;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_files_a_large_one_and_two_thousand_pipelines_are_published() {
    let Some((repository, _)) = repository() else { return };
    // Bytes that no packing makes fewer.
    repository.git(&["config", "core.compression", "0"]);
    for pipeline in 0..PIPELINES {
        repository.write(&format!("p{pipeline}/main.py"), format!("print({pipeline})\n"));
        for file in 1..FILES {
            repository.write(&format!("p{pipeline}/data/{file}"), format!("{file} of {pipeline}\n"));
        }
    }
    let large = repository.work().join("etl/large");
    let mut random = File::open("/dev/urandom").unwrap().take(LARGE_BYTES);
    io::copy(&mut random, &mut File::create(&large).unwrap()).unwrap();
    let commit = repository.commit("Add all of it");
    let server = HttpServer::start(repository.root());
    let desk = Desk::of_http(&server);
    let source = desk.source();
    let fetched = published(&source).await;
    assert!(fetched.bytes > LARGE_BYTES);
    assert_eq!(fetched.catalog.commit.as_ref().unwrap().id.as_str(), commit);

    let shown = source.catalog().await.unwrap();
    assert_eq!(shown.entries.len(), PIPELINES + 1);
    for entry in &shown.entries {
        let found = entry.runnable().unwrap();
        let folder = source.checkout(&found.revision, None).await.unwrap();
        let of = |file: &str| fs::read(folder.join(file)).unwrap();
        let Some(pipeline) = entry.name.as_str().strip_prefix('p') else {
            assert!(are_same(&folder.join("large"), &large));
            continue;
        };
        assert_eq!(of("main.py"), format!("print({pipeline})\n").as_bytes());
        for file in 1..FILES {
            assert_eq!(of(&format!("data/{file}")), format!("{file} of {pipeline}\n").as_bytes());
        }
    }
}
