//! What holds for every input.

use fastflow_core::pipeline::*;
use proptest::prelude::*;
use serde_json::Value;

use super::FULL;

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        parse_manifest("pipeline.json", &text);
        parse_script("main.py", &text);
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        at in 0..FULL.len(), length in 0..40_usize, with in "[\\[\\]{}\",:0-9a-zä\\\\\u{0}\n ]{0,6}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{with}{}", &FULL[..at], &FULL[end..]);
        let (definition, findings) = parse_manifest("pipeline.json", &text);
        prop_assert_eq!(definition.is_none(), findings.iter().any(Diagnostic::is_error));
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok() || definition.is_none());
    }

    #[test]
    fn no_script_makes_the_reader_panic(lines in prop::collection::vec(
        prop_oneof![
            Just("# /// script"), Just("# ///"), Just("#"), Just("# dependencies = ['a']"), Just("# ["),
            Just("# [tool.fastflow]"), Just("# timeout = 5"), Just("# timeout.x = 'ä'"), Just("x"), Just("\r"),
            Just("# [tool]"), Just("# tool = 3"), Just("#\u{a0}x"),
        ], 0..12))
    {
        let text = lines.join("\n");
        let (_, findings) = parse_script("main.py", &text);
        let count = u32::try_from(text.lines().count()).unwrap() + 1;
        prop_assert!(findings.iter().all(|found| found.position.is_some_and(|place| place.line <= count)));
    }

    #[test]
    fn sizes_read_back(bytes in 0..=ByteSize::MAX.0) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>().unwrap(), ByteSize(bytes));
    }

    #[test]
    fn a_wait_is_never_above_its_bound(
        initial in 0..Seconds::MAX.0, max in 0..Seconds::MAX.0, multiplier in 1.0..1000.0, n in 1..u32::MAX,
    ) {
        let strategy = RetryStrategy::Exponential {
            initial_delay: Seconds(initial), max_delay: Seconds(max), multiplier,
        };
        let policy = RetryPolicy { attempts: u32::MAX, strategy, ..RetryPolicy::default() };
        let wait = policy.delay(std::num::NonZeroU32::new(n).unwrap()).unwrap();
        prop_assert!(wait <= Seconds(max).duration());
        prop_assert!(wait >= Seconds(initial.min(max)).duration());
    }
}
