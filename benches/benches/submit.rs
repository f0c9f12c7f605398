//! Accepting one run, against one plain flushed transaction.

use criterion::{Criterion, criterion_group, criterion_main};
use fastflow_benches::{engine::Workplace, floor::PlainSqlite};
use fastflow_core::Shutdown;
use tokio::runtime::Runtime;

/// Criterion works in the package's folder; the target folder is on the same disk as the repository.
const PLACE: &str = env!("CARGO_TARGET_TMPDIR");

fn submit(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let place = Workplace::new(PLACE.as_ref(), None).expect("a folder");
    place.pipeline("nothing", "pass\n", &[]).expect("a pipeline");
    // Not started: what is measured is acceptance, and nothing is to run beside it.
    let flow = runtime.block_on(place.engine().build()).expect("an engine");
    let floor = runtime.block_on(PlainSqlite::create(&place.path().join("floor.db"))).expect("a database");
    let floor = tokio::sync::Mutex::new(floor);
    let mut group = criterion.benchmark_group("submit");
    group.bench_function("submit", |bencher| {
        bencher.to_async(&runtime).iter(|| async { flow.submit("nothing").await.expect("a run") });
    });
    group.bench_function("floor: one flushed transaction", |bencher| {
        bencher.to_async(&runtime).iter(|| async { floor.lock().await.commit().await.expect("a row") });
    });
    group.finish();
    runtime.block_on(flow.shutdown(Shutdown::Detach)).expect("a good end");
}

criterion_group!(benches, submit);
criterion_main!(benches);
