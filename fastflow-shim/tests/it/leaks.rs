//! Many lines with many secrets, of which nothing may be left.

use std::sync::Arc;

use fastflow_shim::{
    clock,
    mask::{Masker, Patterns},
};

use crate::{
    encodings::{Form, Random, forms},
    harness::variable,
};

/// How many lines there are, where `FASTFLOW_LEAK_LINES` does not say otherwise.
const LINES: usize = 200_000;
/// After so many lines the secrets are other ones.
const LINES_OF_A_ROUND: usize = 50_000;
const SECRETS: usize = 10;
const WORDS: [&str; 12] = [
    "INFO",
    "request",
    "took",
    "12 ms",
    "user=42",
    "{\"level\": \"warn\"}",
    "GET /api/v1/items?page=3",
    "retry",
    "é€🦀",
    "Traceback (most recent call last):",
    "2026-11-20T20:06:16Z",
    "a",
];

/// In no secret: one that consists of another, of which this is a form, and the character before it would be found as well.
const WALL: &str = "\u{416}";

#[test]
fn no_line_leaks() {
    let lines = variable("FASTFLOW_LEAK_LINES").map_or(LINES, |lines| lines.parse().unwrap());
    let mut random = Random(u64::try_from(clock::now().as_microsecond()).unwrap());
    let (mut left, mut secrets_seen, mut bytes) = (lines, 0, 0);
    while left > 0 {
        let seed = random.0;
        let secrets: Vec<Vec<u8>> = (0..SECRETS).map(|_| random.text().into_bytes()).collect();
        let forms = forms(&secrets);
        let patterns = Arc::new(Patterns::new(secrets.iter().map(Vec::as_slice)).unwrap());
        let count = left.min(LINES_OF_A_ROUND);
        let (text, expected, in_text) = lines_with(&forms, count, &mut random);
        let mut masker = Masker::new(patterns);
        let mut out = Vec::with_capacity(expected.len());
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let longest = random.pick(&[10, 200, 5_000, 100_000]);
            let (chunk, more) = rest.split_at(rest.len().min(1 + random.below(longest)));
            masker.feed(chunk, &mut |bytes| out.extend_from_slice(bytes));
            rest = more;
        }
        masker.finish(&mut |bytes| out.extend_from_slice(bytes));
        if let Some(at) = out.iter().zip(&expected).position(|(one, other)| one != other) {
            let near = |bytes: &[u8]| {
                String::from_utf8_lossy(&bytes[at.saturating_sub(200)..bytes.len().min(at + 200)])
                    .into_owned()
            };
            panic!("seed {seed}: this is left:\n{}\nof what should be\n{}", near(&out), near(&expected));
        }
        assert_eq!((out.len(), masker.masked()), (expected.len(), in_text), "seed {seed}");
        left -= count;
        secrets_seen += in_text;
        bytes += text.len();
    }
    println!("{lines} lines, {bytes} bytes, {secrets_seen} secrets in them, none left");
}

/// Lines in which secrets stand, what has to be left of them, and how many secrets there are.
fn lines_with(forms: &[Form], count: usize, random: &mut Random) -> (Vec<u8>, Vec<u8>, u64) {
    let (mut text, mut expected, mut masked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..count {
        for _ in 0..=random.below(4) {
            let word = random.pick(&WORDS).as_bytes();
            text.extend_from_slice(word);
            expected.extend_from_slice(word);
            let gap = random.pick(&[b" ".as_slice(), b" <", b"\n", b": "]);
            text.extend_from_slice(gap);
            expected.extend_from_slice(gap);
        }
        if random.below(2) == 0 {
            let form = &forms[random.below(forms.len())];
            let wall = WALL.as_bytes();
            text.extend([wall, &form.before, &form.body, &form.after, wall].concat());
            expected.extend([wall, &form.before, b"***", &form.after, wall].concat());
            masked += 1;
        }
        text.extend_from_slice(b";\n");
        expected.extend_from_slice(b";\n");
    }
    (text, expected, masked)
}
