//! A sealed value opens for what it was sealed for, as it is, and for nothing else.

use fastflow_core::{
    ErrorKind, OsEntropy,
    secret::{Envelope, Keyring, MasterKey, Secret},
};

use crate::seal_kit::{KEY, OTHER_KEY, Purpose, VALUE, assert_hides, purposes, said};

fn keyring() -> Keyring {
    Keyring::new(MasterKey::parse(KEY).unwrap()).with_older(MasterKey::parse(OTHER_KEY).unwrap())
}

fn envelope(bytes: &[u8]) -> Envelope {
    Envelope::from_bytes(bytes.to_vec()).unwrap()
}

/// Kills: anything of a purpose that is not covered by the tag; names that run into one another; two kinds of purposes
/// that look the same.
#[test]
fn what_is_sealed_for_one_purpose_opens_for_no_other_one() {
    let keyring = keyring();
    let purposes = purposes();
    let secret = Secret::new(VALUE);
    for sealed_for in &purposes {
        let sealed = keyring.seal(&sealed_for.binding(), &secret, &OsEntropy).unwrap();
        for opened_for in &purposes {
            match keyring.open(&opened_for.binding(), &sealed) {
                Ok(opened) => {
                    assert!(opened == secret && opened_for == sealed_for, "{sealed_for:?} {opened_for:?}");
                }
                Err(error) => {
                    assert_ne!(opened_for, sealed_for, "{error:?}");
                    assert_hides(&error, VALUE);
                    assert_names(&error, opened_for);
                }
            }
        }
    }
}

/// That a refusal says what it was that did not open.
fn assert_names(error: &fastflow_core::Error, purpose: &Purpose) {
    let (kind, names) = match purpose {
        Purpose::Stored { scope, name, version, .. } => {
            (ErrorKind::Corrupt, vec![scope.to_string(), name.to_string(), version.to_string()])
        }
        Purpose::Pipeline { pipeline, variable } => {
            (ErrorKind::Invalid, vec![pipeline.to_string(), variable.to_string()])
        }
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    let found: Vec<_> = error.context().map(|(_, value)| value.to_owned()).collect();
    assert_eq!(found, names);
}

/// Kills: records that are found by their place alone; an older version that is as good as the newest.
#[test]
fn records_that_were_swapped_renamed_or_rolled_back_do_not_open() {
    let keyring = keyring();
    let seal = |purpose: &Purpose, value: &str| {
        keyring.seal(&purpose.binding(), &Secret::new(value), &OsEntropy).unwrap()
    };
    let (a, b) =
        (Purpose::stored("warehouse", "global", "A", 1), Purpose::stored("warehouse", "global", "B", 1));
    let (a_sealed, b_sealed) = (seal(&a, "canary of a"), seal(&b, "canary of b"));
    for (purpose, sealed) in [(&a, &b_sealed), (&b, &a_sealed)] {
        let error = keyring.open(&purpose.binding(), sealed).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_hides(&error, "canary");
    }

    let a_now = Purpose::stored("warehouse", "global", "A", 2);
    let a_replaced = seal(&a_now, "canary of today");
    assert!(keyring.open(&a_now.binding(), &a_replaced).is_ok());
    // The row says that it is the second one, and has what the first one had.
    assert_eq!(keyring.open(&a_now.binding(), &a_sealed).err().unwrap().kind(), ErrorKind::Corrupt);
}

/// Parts of one value with parts of another one, under the same key and for the same purpose.
///
/// Kills: a salt, a nonce or a tag that is not part of what is checked.
#[test]
fn parts_of_two_envelopes_make_no_third_one() {
    let keyring = keyring();
    let purpose = Purpose::stored("warehouse", "global", "TOKEN", 1);
    let seal = |value: &str| keyring.seal(&purpose.binding(), &Secret::new(value), &OsEntropy).unwrap();
    let (one, two) = (seal("canary 1"), seal("canary 2"));
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let end = one.len();
    // Salt, nonce, ciphertext, tag.
    for (from, to) in [(17, 49), (49, 61), (61, end - 16), (end - 16, end), (17, 61), (61, end)] {
        let mut mixed = one.to_vec();
        mixed[from..to].copy_from_slice(&two[from..to]);
        let error = keyring.open(&purpose.binding(), &envelope(&mixed)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{from}..{to}");
    }
}

/// Kills: a bit that nobody looks at.
#[test]
fn an_envelope_with_any_bit_flipped_does_not_open() {
    let keyring = keyring();
    let purpose = Purpose::stored("warehouse", "pipeline:etl", "TOKEN", 7);
    let sealed = keyring.seal(&purpose.binding(), &Secret::new(VALUE), &OsEntropy).unwrap();
    for bit in 0..sealed.as_bytes().len() * 8 {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened =
            Envelope::from_bytes(bytes).and_then(|envelope| keyring.open(&purpose.binding(), &envelope));
        let error = opened.err().unwrap_or_else(|| panic!("bit {bit} changes nothing"));
        let expected = match bit / 8 {
            0 => ErrorKind::Unsupported,
            1..17 => ErrorKind::Denied,
            _ => ErrorKind::Corrupt,
        };
        assert_eq!(error.kind(), expected, "bit {bit}: {error:?}");
        assert_hides(&error, VALUE);
    }
}

/// Kills: a tag that is looked for where there is none; a value that may end early or go on.
#[test]
fn an_envelope_of_any_other_length_does_not_open() {
    let keyring = keyring();
    let purpose = Purpose::stored("warehouse", "global", "TOKEN", 1);
    let sealed = keyring.seal(&purpose.binding(), &Secret::new(VALUE), &OsEntropy).unwrap();
    let whole = sealed.as_bytes();
    for length in 0..whole.len() {
        for part in [&whole[..length], &whole[whole.len() - length..]] {
            let opened = Envelope::from_bytes(part.to_vec())
                .and_then(|envelope| keyring.open(&purpose.binding(), &envelope));
            let error = opened.err().unwrap_or_else(|| panic!("{length} bytes are enough"));
            assert_hides(&error, VALUE);
        }
    }
    for extra in [1, 16, 4096] {
        let mut bytes = whole.to_vec();
        bytes.extend(std::iter::repeat_n(0, extra));
        assert!(keyring.open(&purpose.binding(), &envelope(&bytes)).is_err(), "{extra}");
    }
    let too_long = vec![1; Envelope::MAX_BYTES + 1];
    assert_eq!(Envelope::from_bytes(too_long).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Kills: an error that does not tell the host which key to bring; a key that is tried because it is there.
#[test]
fn a_value_of_a_key_that_is_not_there_says_which_key_that_is() {
    let other = MasterKey::parse(OTHER_KEY).unwrap();
    let purpose = Purpose::stored("warehouse", "global", "TOKEN", 1);
    let sealed =
        Keyring::new(other.clone()).seal(&purpose.binding(), &Secret::new(VALUE), &OsEntropy).unwrap();
    let without = Keyring::new(MasterKey::parse(KEY).unwrap());
    let error = without.open(&purpose.binding(), &sealed).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(said(&error).contains(&other.id().to_string()) && said(&error).contains("TOKEN"), "{error:?}");
    assert_hides(&error, VALUE);
    assert_hides(&error, OTHER_KEY);

    // Another key's id on it does not help.
    let mut renamed = sealed.as_bytes().to_vec();
    renamed[1..17].copy_from_slice(without.newest().unwrap().as_bytes());
    let error = without.open(&purpose.binding(), &envelope(&renamed)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(without.clone().with_older(other).open(&purpose.binding(), &sealed).is_ok());
}
