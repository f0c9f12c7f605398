//! Logs are byte-complete, or say where not.

use std::fs;

use fastflow_shim::{Stream, layout, record::MAX_TEXT_BYTES};

use crate::harness::{Attempt, eventually, wait};

fn bytes_come_back(bytes: &[u8]) -> Attempt {
    let attempt = Attempt::sh("cat input; cat input >&2");
    fs::write(attempt.path().join("input"), bytes).unwrap();
    let record = attempt.run();
    assert!(record.log.complete && record.log.error.is_none(), "{:?}", record.log);
    for stream in [Stream::Out, Stream::Err] {
        let said = attempt.records().into_iter().rfind(|record| record.stream == stream);
        let mut found = attempt.bytes(stream);
        assert!(found == bytes, "{} of {} bytes came back", found.len(), bytes.len());
        found.clear();
        if let Some(last) = said {
            assert_eq!(last.continues, !bytes.ends_with(b"\n"));
        }
    }
    assert_eq!(record.log.records, attempt.records().len() as u64);
    assert_eq!(record.log.bytes, fs::metadata(attempt.path().join(layout::LOG)).unwrap().len());
    attempt
}

/// Bytes without a pattern, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

#[test]
fn whatever_is_written_comes_back() {
    bytes_come_back(b"");
    bytes_come_back(b"\n\n \n{\"log\":\"x\"}\n\x1b[31mred\x1b[0m\r\n\0\0\n");
    bytes_come_back(b"\xff\xfe not text\nbut this is\n");
    bytes_come_back("no newline at the end: é".as_bytes());
    bytes_come_back(&noise(3_000_000));
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let line = "aé€🦀".repeat(1_000_000);
    let attempt = bytes_come_back(line.as_bytes());
    for record in attempt.records() {
        let text = record.text.unwrap();
        assert!(text.len() <= MAX_TEXT_BYTES);
    }
}

#[test]
fn a_character_that_comes_in_pieces_stays_whole() {
    let attempt = Attempt::sh(r"printf 'a\342'; sleep 0.4; printf '\202\254'; sleep 0.4; printf ' b\n'");
    attempt.run();
    assert_eq!(attempt.text(Stream::Out), "a€ b\n");
    assert!(attempt.records().iter().all(|record| record.base64.is_none()), "{:?}", attempt.records());
    assert!(attempt.records()[0].continues, "an unfinished line is shown while the program waits");
}

#[test]
fn a_line_is_in_the_file_while_the_program_runs() {
    let attempt = Attempt::sh(
        "echo first; while ! test -e go; do sleep 0.02; done; exec 1>&- 2>&-; while ! test -e end; do sleep 0.02; done",
    );
    let (mut child, _) = attempt.start();
    let log = attempt.path().join(layout::LOG);
    eventually("the line is there", || fs::read_to_string(&log).ok().filter(|log| log.contains("first")));
    assert!(!attempt.has_exit());
    fs::write(attempt.path().join("go"), "").unwrap();
    fs::write(attempt.path().join("end"), "").unwrap();
    assert_eq!(wait(&mut child), 0);
    assert!(attempt.exit().log.complete);
}

#[test]
fn a_log_above_its_limit_keeps_its_head_and_its_tail() {
    const LINES: u64 = 100_000;
    let mut attempt = Attempt::sh(&format!("seq 1 {LINES}"));
    attempt.order.log.max_bytes = 1_000_000;
    attempt.order.log.tail_bytes = 300_000;
    let record = attempt.run();
    let size = fs::metadata(attempt.path().join(layout::LOG)).unwrap().len();
    assert!((900_000..1_001_000).contains(&size), "{size}");
    assert_eq!(record.log.bytes, size);
    let records = attempt.records();
    let numbers: Vec<u64> = records
        .iter()
        .filter(|record| record.stream == Stream::Out)
        .map(|record| record.text.as_ref().unwrap().parse().unwrap())
        .collect();
    let kept = numbers.len() as u64;
    assert_eq!(kept + record.log.dropped_records, LINES);
    assert!(!record.log.complete);
    assert_eq!((numbers[0], *numbers.last().unwrap()), (1, LINES));
    let gaps: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let marks: Vec<_> = records.iter().filter(|record| record.stream == Stream::Truncated).collect();
    assert_eq!(marks.len(), 2);
    assert_eq!(marks[1].dropped_records, Some(record.log.dropped_records));
    assert_eq!(marks[1].dropped_bytes, Some(record.log.dropped_bytes));
    let place = records.iter().position(|record| record == marks[1]).unwrap();
    assert_eq!(records[place + 1].text.as_ref().unwrap().parse::<u64>().unwrap(), gaps[0][1]);
    assert!(layout::LOG_TAIL.iter().all(|name| !attempt.path().join(name).exists()));
}

#[test]
fn a_log_that_only_just_outgrows_its_head_loses_nothing() {
    let mut attempt = Attempt::sh("seq 1 5000");
    attempt.order.log.max_bytes = 400_000;
    attempt.order.log.tail_bytes = 200_000;
    let record = attempt.run();
    assert!(record.log.complete, "{:?}", record.log);
    let text = attempt.text(Stream::Out);
    assert_eq!(text.lines().count(), 5_000);
    assert!(text.lines().zip(1_u64..).all(|(line, number)| line.parse() == Ok(number)));
}

/// The cut between what is dropped and what is kept falls between two records, however long they are.
#[test]
fn a_log_of_long_lines_is_cut_between_records() {
    for (text, length, lines) in [("x", 60_000, 100), ("\\1", MAX_TEXT_BYTES, 30)] {
        for tail_bytes in [900_000, 1_200_000] {
            let mut attempt = Attempt::python(&format!(
                "import sys\nfor i in range({lines}): sys.stdout.write('{text}' * {length} + '\\n')"
            ));
            attempt.order.log.max_bytes = 2_500_000;
            attempt.order.log.tail_bytes = tail_bytes;
            let record = attempt.run();
            // Each line is parsed here.
            let out = attempt.records().into_iter().filter(|record| record.stream == Stream::Out);
            let kept: Vec<_> = out.map(|record| record.text.unwrap().len()).collect();
            assert!(kept.iter().all(|kept| *kept == length), "{kept:?}");
            assert_eq!(kept.len() as u64 + record.log.dropped_records, lines);
            assert!(record.log.dropped_records > 0);
        }
    }
}
