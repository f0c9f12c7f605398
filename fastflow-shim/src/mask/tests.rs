//! The masker against its definition.

use std::{iter, ops::Range, sync::Arc};

use proptest::prelude::*;

use super::{MAX_VALUES_BYTES, Masker, Patterns, REPLACEMENT};

/// The definition, word for word: every occurrence of every pattern is marked, each longest run of marked bytes replaced.
fn by_definition(patterns: &[Vec<u8>], text: &[u8]) -> (Vec<u8>, u64) {
    replaced(text, &marks(patterns, text))
}

/// The longest end of `text` that is a beginning of a pattern and not all of it.
fn must_be_held(patterns: &[Vec<u8>], text: &[u8]) -> usize {
    let is_open =
        |end: &[u8]| patterns.iter().any(|pattern| pattern.len() > end.len() && pattern.starts_with(end));
    (0..=text.len()).rev().find(|length| is_open(&text[text.len() - length..])).unwrap_or(0)
}

/// Feeds `text` in pieces that end at `cuts`, and checks after each that what is held is what must be.
fn in_pieces(
    masker: &mut Masker<Arc<Patterns>>,
    patterns: &[Vec<u8>],
    text: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> (Vec<u8>, u64) {
    let (mut out, before, mut start) = (Vec::new(), masker.masked(), 0);
    for end in cuts.into_iter().chain(iter::once(text.len())) {
        masker.feed(&text[start..end], &mut |bytes| out.extend_from_slice(bytes));
        assert_eq!(
            masker.held_bytes(),
            must_be_held(patterns, &text[..end]),
            "held after {:?}",
            &text[..end]
        );
        start = end;
    }
    masker.finish(&mut |bytes| out.extend_from_slice(bytes));
    assert_eq!(masker.held_bytes(), 0);
    (out, masker.masked() - before)
}

fn masker(patterns: &[Vec<u8>]) -> Masker<Arc<Patterns>> {
    Masker::new(Arc::new(Patterns::exactly(patterns.iter().map(Vec::as_slice)).unwrap()))
}

/// Few letters, so that patterns overlap, contain and continue each other. Short ones and long ones, for how closely a text
/// is looked at depends on the shortest.
fn patterns() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let words = |lengths: Range<usize>| {
        let word = move |letters: &'static [u8]| {
            prop::collection::vec(prop::sample::select(letters), lengths.clone())
        };
        prop::collection::vec(prop_oneof![word(b"ab"), word(b"abc"), word(b"a")], 1..8)
    };
    prop_oneof![words(6..14), words(12..24), words(19..40)]
}

/// Pieces of patterns, whole ones, and letters between them.
fn text(patterns: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let patterns = patterns.to_vec();
    let piece = (prop::sample::select(patterns), any::<(prop::sample::Index, prop::sample::Index, bool)>())
        .prop_map(|(pattern, (from, to, whole))| {
            let (from, to) = (from.index(pattern.len()), to.index(pattern.len()) + 1);
            if whole { pattern } else { pattern[from.min(to - 1)..to.max(from)].to_vec() }
        });
    let noise = prop::collection::vec(prop::sample::select(b"abcd\n".as_slice()), 0..9);
    prop::collection::vec(prop_oneof![piece, noise], 0..8).prop_map(|pieces| pieces.concat())
}

fn case() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    patterns().prop_flat_map(|patterns| (Just(patterns.clone()), text(&patterns)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_whole_is_masked_by_definition((patterns, text) in case()) {
        prop_assert_eq!(in_pieces(&mut masker(&patterns), &patterns, &text, []), by_definition(&patterns, &text));
    }

    #[test]
    fn every_cut_changes_nothing((patterns, text) in case()) {
        let expected = by_definition(&patterns, &text);
        let mut masker = masker(&patterns);
        for cut in 0..=text.len() {
            prop_assert_eq!(&in_pieces(&mut masker, &patterns, &text, [cut]), &expected, "cut at {}", cut);
        }
    }

    #[test]
    fn many_cuts_change_nothing((patterns, text) in case(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(in_pieces(&mut masker(&patterns), &patterns, &text, cuts), by_definition(&patterns, &text));
        let single = 0..text.len();
        prop_assert_eq!(in_pieces(&mut masker(&patterns), &patterns, &text, single), by_definition(&patterns, &text));
    }

    /// What has been held back when more patterns come is masked by them too.
    #[test]
    fn patterns_may_be_added_in_the_middle((patterns, text) in case(), cut in any::<prop::sample::Index>(), few in 0_usize..8) {
        let cut = cut.index(text.len() + 1);
        let first = &patterns[..few.min(patterns.len())];
        let mut masker = masker(first);
        let mut out = Vec::new();
        masker.feed(&text[..cut], &mut |bytes| out.extend_from_slice(bytes));
        let (given, held) = (out.len(), masker.held_bytes());
        let count = masker.masked();
        masker.set_patterns(Arc::new(Patterns::exactly(patterns.iter().map(Vec::as_slice)).unwrap()));
        masker.feed(&text[cut..], &mut |bytes| out.extend_from_slice(bytes));
        masker.finish(&mut |bytes| out.extend_from_slice(bytes));
        // Before the cut only the first patterns count, behind what was held then all of them.
        let mut marked = marks(first, &text);
        for (index, mark) in marks(&patterns, &text[cut - held..]).into_iter().enumerate() {
            marked[cut - held + index] |= mark;
        }
        let (expected, _) = replaced(&text, &marked);
        prop_assert_eq!(out, expected, "{} given, {} held, {} masked", given, held, count);
    }
}

fn marks(patterns: &[Vec<u8>], text: &[u8]) -> Vec<bool> {
    let mut marked = vec![false; text.len()];
    for pattern in patterns {
        for start in 0..text.len() {
            if text[start..].starts_with(pattern) {
                marked[start..start + pattern.len()].fill(true);
            }
        }
    }
    marked
}

fn replaced(text: &[u8], marked: &[bool]) -> (Vec<u8>, u64) {
    let (mut out, mut count) = (Vec::new(), 0);
    for (index, byte) in text.iter().enumerate() {
        if !marked[index] {
            out.push(*byte);
        } else if index == 0 || !marked[index - 1] {
            out.extend_from_slice(REPLACEMENT);
            count += 1;
        }
    }
    (out, count)
}

#[test]
fn nothing_is_copied_and_nothing_held_where_nothing_is_found() {
    let text = b"2026-11-20 12:00:00 INFO all is well".repeat(100);
    let mut masker = masker(&[b"hunter2hunter2".to_vec()]);
    let mut pieces = Vec::new();
    masker.feed(&text, &mut |bytes| pieces.push((bytes.as_ptr(), bytes.len())));
    assert_eq!(pieces, [(text.as_ptr(), text.len())]);
}

#[test]
fn values_that_are_too_short_have_no_patterns() {
    let patterns = Patterns::new([b"".as_slice(), b"12345", b"\n\n"]).unwrap();
    assert!(patterns.is_empty());
    assert_eq!(patterns.mask(b"12345").1, 0);
    assert_eq!(Patterns::new([b"123456".as_slice()]).unwrap().mask(b"123456").1, 1);
}

#[test]
fn long_lines_of_a_value_are_masked_by_themselves() {
    let patterns =
        Patterns::new([b"-----BEGIN KEY-----\r\nMIIEvQIBADANBg\r\nshort\r\n=longer=\r\n".as_slice()])
            .unwrap();
    let masked = |text: &str| patterns.mask_text(text).into_owned();
    assert_eq!(masked("x MIIEvQIBADANBg y"), "x *** y");
    assert_eq!(masked("short =longer="), "short ***");
    assert_eq!(masked("-----BEGIN KEY-----\r\nMIIEvQIBADANBg\r\nshort\r\n=longer=\r\n!"), "***!");
    assert_eq!(Patterns::new([b"token1\n".as_slice()]).unwrap().mask_text("token1 token1\n"), "*** ***");
}

#[test]
fn every_pattern_may_be_large() {
    let value = "0123456789abcdef".repeat(4_096);
    let patterns = Patterns::new([value.as_bytes()]).unwrap();
    let text = format!("<{value}>{}", &value[..65_535]);
    assert_eq!(patterns.mask_text(&text), format!("<***>{}", &value[..65_535]));
}

#[test]
fn what_every_encoding_leaves_alone_has_few_patterns() {
    // Itself, its digits small and large, and of base64 what is before it and behind it.
    assert_eq!(Patterns::new([b"AbCdEfGhIjKlMnOpQrStUvWxYz012345".as_slice()]).unwrap().len(), 8);
}

/// As the documentation of [`MAX_PATTERNS_BYTES`](super::MAX_PATTERNS_BYTES) has it.
#[test]
fn values_within_their_own_limit_may_have_too_many_patterns() {
    let line = |number: usize| format!("MIIEvQ+BADANBg/qhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDA{number:012}\n");
    let key = |kibibytes: usize| {
        let lines: String = (0..kibibytes * 1024 / 65).map(line).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n")
    };
    assert!(Patterns::new([key(60).as_bytes()]).is_ok());
    let large = key(250);
    assert!(large.len() < MAX_VALUES_BYTES && Patterns::new([large.as_bytes()]).is_err());
    assert!(Patterns::new(["aZ1".repeat(MAX_VALUES_BYTES / 3).as_bytes()]).is_ok());
}
