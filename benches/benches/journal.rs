//! Reading and following journals, against reading the same bytes line by line.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    sync::Arc,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastflow_core::{
    Clock as _, Result, SystemClock,
    journal::{Follower, Journal, LogLine, LogStream, LogWriter, Offset},
};
use tokio::runtime::Runtime;

const RECORDS: u64 = 100_000;

fn write(path: &Path) -> Result<()> {
    let (mut writer, clock) = (LogWriter::open(path)?, SystemClock::new());
    let line = [b'x'; 99];
    for _ in 0..RECORDS {
        writer.append(clock.now(), LogStream::Out, &line)?;
    }
    Ok(())
}

async fn read(path: &Path) -> Result<u64> {
    let journal = Journal::<LogLine>::new(path);
    let (mut at, mut count) = (Offset::START, 0);
    loop {
        let batch = journal.read(at).await?;
        if batch.records.is_empty() {
            return Ok(count);
        }
        count += batch.records.len() as u64;
        at = batch.end;
    }
}

async fn follow(path: &Path) -> Result<u64> {
    let (journal, clock) = (Journal::<LogLine>::new(path), Arc::new(SystemClock::new()));
    let mut follower = Follower::new(journal, Offset::START, clock, std::future::ready(()));
    let mut count = 0;
    while let Some(batch) = follower.next_batch().await? {
        count += batch.records.len() as u64;
    }
    Ok(count)
}

fn lines(path: &Path) -> std::io::Result<u64> {
    let mut file = BufReader::with_capacity(128 * 1024, File::open(path)?);
    let (mut line, mut count) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        line.clear();
        count += 1;
    }
    Ok(count)
}

fn journal(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log.ndjson");
    write(&path).expect("a journal");
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(20);
    group.bench_function("read", |bencher| bencher.to_async(&runtime).iter(|| read(&path)));
    group.bench_function("follow", |bencher| bencher.to_async(&runtime).iter(|| follow(&path)));
    group.bench_function("floor: bytes line by line", |bencher| bencher.iter(|| lines(&path)));
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
