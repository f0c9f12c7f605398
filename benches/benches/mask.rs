//! What masking costs a log: as it comes, where secrets are in it, and before the program starts.

use std::{fmt::Write as _, hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastflow_shim::mask::{Masker, Patterns};

/// What the shim reads at a time.
const CHUNK_BYTES: usize = 256 * 1024;
const TEXT_BYTES: usize = 16 * 1024 * 1024;
const SECRET_BYTES: usize = 40;
const SECRETS: usize = 10;
const PATTERNS: usize = 200;

/// Numbers without a pattern, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.next()).unwrap_or(0) % of.len()]
    }

    /// As keys and tokens are.
    fn secret(&mut self) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
        let letter = |_| char::from(LETTERS[usize::try_from(self.next()).unwrap_or(0) % LETTERS.len()]);
        (0..SECRET_BYTES).map(letter).collect()
    }
}

/// Lines of a program that does something with a database and an API, some of them JSON, some with long identifiers.
fn log_text(random: &mut Random) -> Vec<u8> {
    let mut text = String::with_capacity(TEXT_BYTES + 1024);
    while text.len() < TEXT_BYTES {
        let (number, id, other) = (random.next() % 10_000, random.next(), random.next());
        let level = random.pick(&["INFO", "DEBUG", "WARNING", "ERROR"]);
        let module = random.pick(&[
            "etl.extract",
            "etl.load",
            "urllib3.connectionpool",
            "sqlalchemy.engine",
            "__main__",
        ]);
        let path = random.pick(&["/api/v1/orders", "/api/v1/customers", "/health", "/static/report.csv"]);
        // Writing into a text cannot fail.
        let _ = match number % 4 {
            0 => writeln!(
                text,
                "2026-11-20 20:06:16,{:03} {level} [{module}] fetched {number} rows in {} ms",
                number % 1000,
                id % 977
            ),
            1 => writeln!(
                text,
                r#"{{"time":"2026-11-20T20:06:16.{:06}Z","level":"{level}","logger":"{module}","trace_id":"{id:016x}{other:016x}","rows":{number}}}"#,
                id % 1_000_000
            ),
            2 => writeln!(
                text,
                "{level}:{module}:https://shop.example.com:443 \"GET {path}/{id}?page={number}&size=100 HTTP/1.1\" 200 {}",
                other % 100_000
            ),
            _ => writeln!(
                text,
                "  File \"/usr/lib/python3.11/site-packages/{}.py\", line {number}, in process_batch",
                module.replace('.', "/")
            ),
        };
    }
    text.into_bytes()
}

fn patterns_of(secrets: &[String]) -> Patterns {
    Patterns::new(secrets.iter().map(String::as_bytes)).expect("they are few")
}

/// Against the floor of looking at each byte once: the fastest search for one that is not there, and a copy of all.
fn stream(criterion: &mut Criterion) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let text = log_text(&mut random);
    let secrets: Vec<String> = (0..PATTERNS).map(|_| random.secret()).collect();
    let mut with_secrets = Vec::new();
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if number % 100 == 0 {
            with_secrets.extend_from_slice(format!("token={} ", secrets[number / 100 % SECRETS]).as_bytes());
        }
        with_secrets.extend_from_slice(line);
    }
    let none = Arc::new(Patterns::default());
    let many = Arc::new(Patterns::exactly(secrets.iter().map(String::as_bytes)).expect("they are few"));
    // A text is looked at the more closely the shorter the shortest pattern is.
    let short = secrets.iter().map(String::as_bytes).chain([b"kX9_q2".as_slice()]);
    let short = Arc::new(Patterns::exactly(short).expect("they are few"));
    let ten = Arc::new(patterns_of(&secrets[..SECRETS]));

    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Bytes(text.len() as u64));
    for (name, patterns, text) in [
        ("200 patterns", &many, &text),
        ("200 patterns, and one of 6 bytes", &short, &text),
        ("ten secrets in all encodings", &ten, &text),
        ("no secrets", &none, &text),
        ("ten secrets, one in every hundredth line", &ten, &with_secrets),
    ] {
        group.bench_function(name, |bencher| {
            let mut masker = Masker::new(Arc::clone(patterns));
            bencher.iter(|| {
                let mut bytes = 0;
                for chunk in black_box(text).chunks(CHUNK_BYTES) {
                    masker.feed(chunk, &mut |out| bytes += black_box(out).len());
                }
                masker.finish(&mut |out| bytes += black_box(out).len());
                bytes
            });
        });
    }
    group.bench_function("floor: memchr", |bencher| {
        bencher.iter(|| memchr::memchr(b'\0', black_box(&text)));
    });
    group.bench_function("floor: memcpy", |bencher| {
        let mut copy = vec![0; CHUNK_BYTES];
        bencher.iter(|| {
            for chunk in black_box(&text).chunks(CHUNK_BYTES) {
                copy[..chunk.len()].copy_from_slice(chunk);
                black_box(&mut copy);
            }
        });
    });
    group.finish();
}

/// What is done before each program starts.
fn build(criterion: &mut Criterion) {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let secrets: Vec<String> = (0..SECRETS).map(|_| random.secret()).collect();
    let mut group = criterion.benchmark_group("mask: patterns");
    group.bench_function("of ten secrets", |bencher| bencher.iter(|| patterns_of(black_box(&secrets))));
    group.bench_function("of none", |bencher| bencher.iter(|| patterns_of(black_box(&[]))));
    group.finish();
}

criterion_group!(benches, stream, build);
criterion_main!(benches);
