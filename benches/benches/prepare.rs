//! What comes before each start: the newest state of the pipeline, its private copy, its environment.

use std::{fs, path::Path, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fastflow_core::{
    PipelineName, SystemClock,
    environment::{
        EnvironmentBuilder as _, EnvironmentRequest, HostWorkbench, SetupLog, UvConfig, UvEnvironments,
    },
    pipeline::DependencySource,
    source::{DirectorySource, PipelineSource as _, copy_tree},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const FILES: usize = 20;
const FILE_BYTES: usize = 4096;
const NAME: &str = "files";

fn pipelines() -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let folder = dir.path().join("pipelines").join(NAME);
    fs::create_dir_all(folder.join("data")).expect("a folder");
    fs::write(folder.join("main.py"), "pass\n").expect("a file");
    for number in 0..FILES {
        let path = folder.join("data").join(format!("{number}.txt"));
        fs::write(path, vec![b'x'; FILE_BYTES]).expect("a file");
    }
    dir
}

/// Copies the same files one by one, as any program would.
fn plain_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            plain_copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn snapshot(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = pipelines();
    let name: PipelineName = NAME.parse().expect("a name");
    let source = DirectorySource::new(dir.path().join("pipelines"), dir.path().join("snapshots"));
    let entry = runtime.block_on(source.refresh(&name)).expect("a pipeline");
    let revision = entry.pipeline.expect("a good pipeline").revision;
    let folder = runtime.block_on(source.checkout(&revision, None)).expect("a snapshot");
    let mut group = criterion.benchmark_group("snapshot");
    group.bench_function("refresh, nothing changed", |bencher| {
        bencher.to_async(&runtime).iter(|| async { source.refresh(&name).await.expect("a pipeline") });
    });
    let target = || tempfile::tempdir_in(dir.path()).expect("a folder");
    group.bench_function("copy_tree", |bencher| {
        let copy = |target: TempDir| {
            copy_tree(&folder, &target.path().join("work")).expect("a copy");
            target
        };
        bencher.iter_batched(target, copy, BatchSize::PerIteration);
    });
    group.bench_function("floor: std::fs::copy", |bencher| {
        let copy = |target: TempDir| {
            plain_copy(&folder, &target.path().join("work")).expect("a copy");
            target
        };
        bencher.iter_batched(target, copy, BatchSize::PerIteration);
    });
    group.finish();
}

struct Silent;

impl SetupLog for Silent {
    fn line(&self, _text: &str) {}
}

/// Needs a `uv` and a Python; without them it says so and measures nothing.
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn environment(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = pipelines();
    let mut config = UvConfig::new(dir.path().join("environments"));
    config.uv_candidates = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/uv/bin/uv").into()];
    let environments = UvEnvironments::new(config, Arc::new(SystemClock::new())).expect("a builder");
    let request = EnvironmentRequest {
        place: Arc::new(HostWorkbench::new(Arc::new(SystemClock::new()))),
        folder: dir.path().join("pipelines").join(NAME),
        dependencies: DependencySource::None,
        python: None,
        requires_python: None,
    };
    let python = match runtime.block_on(environments.prepare(&request, &Silent)) {
        Ok(environment) => environment.python,
        Err(failure) => return eprintln!("environment: skipped: {failure}"),
    };
    let mut group = criterion.benchmark_group("environment");
    group.bench_function("prepare, known", |bencher| {
        bencher.to_async(&runtime).iter(|| environments.prepare(&request, &Silent));
    });
    group.bench_function("floor: one stat of its interpreter", |bencher| {
        bencher.iter(|| fs::metadata(&python).expect("a file"));
    });
    group.finish();
}

criterion_group!(benches, snapshot, environment);
criterion_main!(benches);
