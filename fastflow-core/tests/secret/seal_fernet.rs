//! Texts in the files of pipelines: those that Python Fast-Flow made, ours, and what is neither.

use fastflow_core::{
    Error, ErrorKind, OsEntropy, Result,
    secret::{FernetKey, Keyring, MAX_SECRET_BYTES, MasterKey, Secret, open_text, seal_text},
};
use serde_json::json;

use crate::seal_kit::{
    KEY, OTHER_KEY, Python, VALUE, assert_hides, base64, hex, random_secret, said, unbase64,
};

/// Out of the specification of Fernet.
const SPECIFIED_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const SPECIFIED_TOKEN: &str =
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

fn keyring(fernet: &[&str]) -> Keyring {
    let keyring = Keyring::new(MasterKey::parse(KEY).unwrap());
    fernet.iter().fold(keyring, |keyring, key| keyring.with_fernet(FernetKey::parse(key).unwrap()))
}

fn open(keyring: &Keyring, text: &str) -> Result<Secret> {
    open_text(keyring, &"etl".parse().unwrap(), &"TOKEN".parse().unwrap(), text)
}

#[track_caller]
fn refused(opened: Result<Secret>) -> Error {
    let error = opened.err().expect("it does not open");
    assert!(said(&error).contains("pipeline: etl, variable: TOKEN"), "{error}");
    assert_hides(&error, VALUE);
    error
}

/// Kills: anything that is not Fernet.
#[test]
fn the_token_of_the_specification_opens() {
    let keyring = keyring(&[SPECIFIED_KEY]);
    for text in [SPECIFIED_TOKEN, SPECIFIED_TOKEN.trim_end_matches('='), &format!("\n {SPECIFIED_TOKEN} ")] {
        assert!(open(&keyring, text).unwrap() == Secret::new("hello"), "{text}");
    }
}

/// Kills: one key alone; a time after which tokens do not open; a padding that is not removed.
#[test]
fn what_python_fast_flow_sealed_opens_with_its_key() {
    let Some(mut python) = Python::start() else { return };
    let mut key = || python.call("fernet_key", &json!({})).as_str().unwrap().to_owned();
    let (one, two, other) = (key(), key(), key());
    let both = keyring(&[&one, &two]);
    for number in 0..100 {
        let secret = match number {
            0 => Secret::new(""),
            1 => Secret::new("x".repeat(MAX_SECRET_BYTES)),
            // All that padding may be.
            2..40 => Secret::new("ä".repeat(number)),
            _ => random_secret(500),
        };
        let at = [json!(null), json!(0), json!(4_000_000_000_u64)][number % 3].clone();
        let key = if number % 2 == 0 { &one } else { &two };
        let call = json!({"key": key, "value": hex(secret.expose().as_bytes()), "at": at});
        let token = python.call("fernet", &call);
        let token = token.as_str().unwrap();
        assert!(open(&both, token).unwrap() == secret, "{number}");
        // Without its key it does not.
        let error = refused(open(&keyring(&[&other]), token));
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(!said(&error).contains(token) && !said(&error).contains(&other), "{error}");
        let error = refused(open(&keyring(&[]), token));
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("no key of Fernet is loaded"), "{error}");
    }
}

/// Kills: a signature that covers not all of it, or is not looked at.
#[test]
fn a_token_that_was_changed_does_not_open() {
    let keyring = keyring(&[SPECIFIED_KEY]);
    let whole = unbase64(SPECIFIED_TOKEN);
    let text = |bytes: &[u8]| base64(bytes).replace('+', "-").replace('/', "_");
    assert!(open(&keyring, &text(&whole)).is_ok());
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = refused(open(&keyring, &text(&bytes)));
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid), "bit {bit}: {error:?}");
    }
    for length in 0..whole.len() {
        refused(open(&keyring, &text(&whole[..length])));
    }
    for length in 0..SPECIFIED_TOKEN.trim_end_matches('=').len() {
        refused(open(&keyring, &SPECIFIED_TOKEN[..length]));
    }
    let mut longer = whole.clone();
    longer.extend([0; 16]);
    refused(open(&keyring, &text(&longer)));
}

/// Signed as they should be, by whoever has the key: what is in them is looked at nevertheless.
#[test]
fn a_token_of_what_cannot_be_a_secret_does_not_open() {
    let Some(mut python) = Python::start() else { return };
    let keyring = keyring(&[SPECIFIED_KEY]);
    let canary = VALUE.as_bytes();
    for bytes in
        [&[canary, b"\0"].concat(), &[canary, b"\xff\xfe"].concat(), &canary.repeat(MAX_SECRET_BYTES / 16)]
    {
        let token = python.call("fernet", &json!({"key": SPECIFIED_KEY, "value": hex(bytes)}));
        let error = refused(open(&keyring, token.as_str().unwrap()));
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    for padding in ["00".repeat(16), "11".repeat(16), format!("{}02", "61".repeat(15))] {
        let call = json!({"key": SPECIFIED_KEY, "blocks": padding});
        let token = python.call("fernet_of_blocks", &call);
        refused(open(&keyring, token.as_str().unwrap()));
    }
    // That this makes tokens at all.
    let call = json!({"key": SPECIFIED_KEY, "blocks": format!("{}01", "61".repeat(15))});
    let token = python.call("fernet_of_blocks", &call);
    assert!(open(&keyring, token.as_str().unwrap()).unwrap() == Secret::new("a".repeat(15)));
}

/// Kills: a text that opens for the neighbour; a variable that another pipeline's value is put into.
#[test]
fn our_text_opens_for_its_variable_of_its_pipeline_alone() {
    let keyring = keyring(&[SPECIFIED_KEY]);
    let seal = |pipeline: &str, variable: &str| {
        let (pipeline, variable) = (pipeline.parse().unwrap(), variable.parse().unwrap());
        seal_text(&keyring, &pipeline, &variable, &Secret::new(VALUE), &OsEntropy).unwrap()
    };
    let text = seal("etl", "TOKEN");
    assert!(open(&keyring, &text).unwrap() == Secret::new(VALUE));
    assert!(open(&keyring, &format!(" {text}\n")).unwrap() == Secret::new(VALUE));
    for (pipeline, variable) in [("etl", "TOKEN2"), ("etl2", "TOKEN"), ("ETL", "TOKEN"), ("etlT", "OKEN")] {
        let error = refused(open(&keyring, &seal(pipeline, variable)));
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let other = Keyring::new(MasterKey::parse(OTHER_KEY).unwrap());
    let error = refused(open(&other, &text));
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(said(&error).contains(&keyring.newest().unwrap().to_string()), "{error}");
    for length in 0..text.len() {
        refused(open(&keyring, &text[..length]));
    }
    // Each character, the last one with bits that mean nothing included.
    for at in 0..text.len() {
        let mut changed = text.clone();
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        changed.replace_range(at..=at, other);
        refused(open(&keyring, &changed));
    }
}

/// Kills: a value that nobody has sealed and that a message shows; a clear value that is taken for a sealed one.
#[test]
fn what_is_no_sealed_text_is_refused_and_not_shown() {
    let keyring = keyring(&[SPECIFIED_KEY]);
    let marked = ["", "ff1.", "ff2.", "FF1.", "gAAAA", "gAAAAA", "gAAAB", "ff1.AQ==", "gAAAA="];
    for mark in marked {
        for rest in ["", "hunter2-canary", VALUE, "=", "\u{0}", "AAAA AAAA"] {
            let error = refused(open(&keyring, &format!("{mark}{rest}")));
            assert!(
                matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported),
                "{mark}{rest}: {error:?}"
            );
            assert_hides(&error, "canary");
        }
    }
    let error = refused(open(&keyring, &"canary".repeat(1 << 20)));
    assert!(error.to_string().contains("too long"), "{error}");
    assert_hides(&error, "canary");
}
