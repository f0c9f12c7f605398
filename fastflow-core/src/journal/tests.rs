use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;

use super::*;
use crate::{Clock, SystemClock, Timestamp};

fn line(text: &str) -> String {
    format!("{{\"t\":\"2026-11-20T20:06:16.000001Z\",\"s\":\"out\",\"m\":\"{text}\"}}\n")
}

fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

fn texts(batch: &Batch<LogLine>) -> Vec<String> {
    batch.records.iter().map(|(_, line)| line.text().into_owned()).collect()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let clock = SystemClock::new();
    tokio::select! {
        value = future => value,
        () = clock.sleep(Duration::from_secs(20)) => panic!("not in time"),
    }
}

#[tokio::test]
async fn reading_resumes_at_every_offset_it_gave() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    let all: String = (0..50).map(|number| line(&format!("line {number}"))).collect();
    append(journal.path(), &all);
    let whole = journal.read(Offset::START).await.unwrap();
    assert_eq!(whole.records.len(), 50);
    for (index, (after, _)) in whole.records.iter().enumerate() {
        let rest = journal.read(*after).await.unwrap();
        assert_eq!(texts(&rest), texts(&whole)[index + 1..]);
    }
    assert_eq!(whole.end.bytes(), all.len() as u64);
}

#[tokio::test]
async fn positions_that_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    assert_eq!(journal.read(Offset::START).await.unwrap_err().kind(), ErrorKind::NotFound);
    append(journal.path(), line("a"));
    let size = fs::metadata(journal.path()).unwrap().len();
    for bad in [1, size - 1, size + 1, u64::MAX] {
        let error = journal.read(Offset::from_bytes(bad)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}: {error}");
    }
    assert!(journal.read(Offset::from_bytes(size)).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn half_a_line_is_not_a_record_until_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    let whole = line("b");
    append(journal.path(), line("a") + &whole[..20]);
    let first = journal.read(Offset::START).await.unwrap();
    assert_eq!(texts(&first), ["a"]);
    assert!(journal.read(first.end).await.unwrap().records.is_empty());
    append(journal.path(), &whole[20..]);
    assert_eq!(texts(&journal.read(first.end).await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_broken_line_is_reported_between_those_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    let endless = "x".repeat(3 * 1024 * 1024) + "\n";
    append(journal.path(), line("a") + "not json\n" + &line("b") + &endless + &line("c"));

    let first = journal.read(Offset::START).await.unwrap();
    assert_eq!(texts(&first), ["a"]);
    let error = journal.read(first.end).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.context().any(|(key, value)| key == "next" && value == (first.end.bytes() + 9).to_string())
    );

    let mut follower =
        Follower::new(journal, Offset::START, Arc::new(SystemClock::new()), std::future::ready(()));
    let mut seen = Vec::new();
    loop {
        match in_time(follower.next_batch()).await {
            Ok(Some(batch)) => seen.extend(texts(&batch)),
            Ok(None) => break,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                seen.push("broken".to_owned());
            }
        }
    }
    assert_eq!(seen, ["a", "broken", "b", "broken", "c"]);
}

#[tokio::test]
async fn a_follower_waits_for_the_file_and_for_the_end_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    let path = journal.path().to_owned();
    let (end, ended) = oneshot::channel::<()>();
    let mut follower = Follower::new(journal, Offset::START, Arc::new(SystemClock::new()), async {
        ended.await.ok();
    });
    let writer = tokio::task::spawn_blocking(move || {
        for number in 0..2_000 {
            let whole = line(&number.to_string());
            append(&path, &whole[..30]);
            append(&path, &whole[30..]);
        }
        append(&path, "{\"t\":\"torn by a kill");
        end.send(()).unwrap();
    });
    let mut seen = Vec::new();
    while let Some(batch) = in_time(follower.next_batch()).await.unwrap() {
        assert!(!batch.records.is_empty());
        assert_eq!(batch.end, follower.position());
        seen.extend(texts(&batch));
    }
    writer.await.unwrap();
    assert_eq!(seen, (0..2_000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dropped_call_consumes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    let path = journal.path().to_owned();
    let mut follower =
        Follower::new(journal, Offset::START, Arc::new(SystemClock::new()), std::future::pending());
    for number in 0..20 {
        assert!(futures::poll!(Box::pin(follower.next_batch())).is_pending());
        append(&path, line(&number.to_string()));
        let batch = in_time(follower.next_batch()).await.unwrap().unwrap();
        assert_eq!(texts(&batch), [number.to_string()]);
    }
}

#[tokio::test]
async fn what_is_written_comes_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    let mut writer = LogWriter::open(journal.path()).unwrap();
    let long = "é🦀".repeat(100_000).into_bytes();
    let lines: [&[u8]; 5] = [b"", b"plain", b"\xff\xfe\0", b"a\"\\\t\r\x1b[0m", &long];
    for bytes in lines {
        writer.append(Timestamp::UNIX_EPOCH, LogStream::Setup, bytes).unwrap();
    }
    let mut follower = Follower::new(journal, Offset::START, Arc::new(SystemClock::new()), async {});
    let mut seen = vec![Vec::new()];
    while let Some(batch) = in_time(follower.next_batch()).await.unwrap() {
        for (_, line) in batch.records {
            assert!(!line.continues || !line.text().contains('\u{fffd}'), "split inside of a character");
            seen.last_mut().unwrap().extend_from_slice(&line.bytes);
            if !line.continues {
                seen.push(Vec::new());
            }
        }
    }
    assert_eq!(seen[..5], lines.map(<[u8]>::to_vec));
    assert_eq!(follower.position(), writer.end());
}

#[test]
fn a_writer_cuts_what_a_killed_one_left_half() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, line("a") + "{\"t\":\"20");
    let mut writer = LogWriter::open(&path).unwrap();
    writer.append(Timestamp::UNIX_EPOCH, LogStream::Err, b"b").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().all(|line| LogLine::parse(line.as_bytes()).is_ok()), "{text}");
}

/// Measures; run with `--release -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn records_per_second() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::<LogLine>::new(dir.path().join("log"));
    append(journal.path(), line(&"x".repeat(100)).repeat(2_000_000));
    let clock = SystemClock::new();
    let began = clock.elapsed();
    let mut follower = Follower::new(journal, Offset::START, Arc::new(clock), std::future::ready(()));
    let mut count = 0;
    while let Some(batch) = follower.next_batch().await.unwrap() {
        count += batch.records.len();
    }
    let took = clock.elapsed().saturating_sub(began);
    println!(
        "{count} records in {took:?}: {:.0}/s",
        f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
    );
}
