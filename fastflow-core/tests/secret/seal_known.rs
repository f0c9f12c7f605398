//! The format is what its documentation says: another implementation makes it and reads it.

use fastflow_core::{
    OsEntropy,
    secret::{
        Envelope, Keyring, MAX_SECRET_BYTES, MasterKey, Secret, generate_key_file, open_text, seal_text,
    },
};
use serde_json::{Value, json};

use crate::seal_kit::{Counting, KEY, Purpose, Python, hex, purposes, random_secret, unhex};

const KEY_ID: &str = "136955bc6970b733a35943f8637a6f41";

/// What a value is for, the first random byte, the value, and the envelope that Python's `cryptography` made of it.
fn vectors() -> [(Purpose, u8, &'static str, &'static str); 4] {
    [
        (
            Purpose::stored("warehouse", "global", "TOKEN", 1),
            0,
            "",
            "01136955bc6970b733a35943f8637a6f41000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
             202122232425262728292a2be1504135af9021dede784c2bf4eed5ad",
        ),
        (
            Purpose::stored("warehouse", "pipeline:etl", "DATABASE_URL", 258),
            40,
            "postgres://ada:s3cret@db/etl",
            "01136955bc6970b733a35943f8637a6f4128292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f4041424344454647\
             48494a4b4c4d4e4f50515253934fb9c30c53f6d98720a70efc6ba0ccccbb0585e64c658d73dc63823bd391595663487990\
             6cdfd2d116cd53",
        ),
        (
            Purpose::stored("eu-1", "schedule:etl@nightly", "key.pem", u32::MAX),
            230,
            "-----BEGIN-----\nZwölf Boxkämpfer\n-----END-----\n",
            "01136955bc6970b733a35943f8637a6f41e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405\
             060708090a0b0c0d0e0f101126e9217f8340db611c0da49e11e741000b9b64fb732025931b21d5b3cedab06d2071fad61b\
             8a9271093d6c36c5c1007b1f1233a23866a42f4703fd842022013937",
        ),
        (
            Purpose::pipeline("etl", "TOKEN"),
            99,
            "s3cret",
            "01136955bc6970b733a35943f8637a6f41636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182\
             838485868788898a8b8c8d8ecc6f1d4635cb10a0e93a1d12385aa867a6b0ef233c96",
        ),
    ]
}

fn keyring() -> Keyring {
    Keyring::new(MasterKey::parse(KEY).unwrap())
}

/// Kills: any change of the format, with which nothing that is stored would open any more.
#[test]
fn what_was_sealed_once_is_sealed_the_same_and_opens_for_ever() {
    let keyring = keyring();
    assert_eq!(keyring.newest().unwrap().to_string(), KEY_ID);
    for (purpose, first, value, envelope) in vectors() {
        let sealed = keyring.seal(&purpose.binding(), &Secret::new(value), &Counting(first)).unwrap();
        assert_eq!(hex(sealed.as_bytes()), envelope, "{purpose:?}");
        let stored = Envelope::from_bytes(unhex(envelope)).unwrap();
        assert_eq!(stored.key().to_string(), KEY_ID);
        assert!(keyring.open(&purpose.binding(), &stored).unwrap() == Secret::new(value), "{purpose:?}");
    }
}

/// Kills: a cipher, a derivation or an encoding that is not what the documentation says, and that agrees with itself.
#[test]
fn another_implementation_opens_what_is_sealed_here_and_the_other_way_round() {
    let Some(mut python) = Python::start() else { return };
    let purposes = purposes();
    for number in 0..150 {
        let purpose = &purposes[number % purposes.len()];
        // As a file has it: a key cannot be had out of a key.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let id = generate_key_file(&path, &OsEntropy).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let keyring = Keyring::new(MasterKey::parse(&text).unwrap());
        assert_eq!(python.call("key_id", &json!({"key": text})), Value::from(id.to_string()));

        let secret = match number {
            0 => Secret::new(""),
            1 => Secret::new("x".repeat(MAX_SECRET_BYTES)),
            2..10 => random_secret(MAX_SECRET_BYTES),
            _ => random_secret(200),
        };
        let ours = keyring.seal(&purpose.binding(), &secret, &OsEntropy).unwrap();
        let mut call = json!({"key": text, "purpose": purpose.json(), "envelope": hex(ours.as_bytes())});
        let opened = python.call("unseal", &call);
        assert!(opened == *secret.expose(), "{purpose:?}: Python opens something else");

        let theirs =
            python.call("seal", &json!({"key": text, "purpose": purpose.json(), "value": secret.expose()}));
        let theirs = Envelope::from_bytes(unhex(theirs.as_str().unwrap())).unwrap();
        let opened = keyring.open(&purpose.binding(), &theirs).unwrap();
        assert!(opened == secret, "{purpose:?}: we open something else");

        // That it looks: for another purpose it opens nothing.
        call["purpose"] = purposes[(number + 1) % purposes.len()].json();
        assert_eq!(python.call("unseal", &call), Value::Null);
    }
}

/// Kills: a text with padding, of the other alphabet, or bound to something else than the documentation says.
#[test]
fn texts_for_the_files_of_pipelines_are_the_same_in_both_implementations() {
    let Some(mut python) = Python::start() else { return };
    let keyring = keyring();
    for _ in 0..50 {
        let (pipeline, variable) = ("etl".parse().unwrap(), "TOKEN".parse().unwrap());
        let purpose = Purpose::pipeline("etl", "TOKEN").json();
        let secret = random_secret(100);
        let ours = seal_text(&keyring, &pipeline, &variable, &secret, &OsEntropy).unwrap();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(ours.strip_prefix("ff1.").unwrap().bytes().all(plain), "{ours}");
        let opened = python.call("unseal_text", &json!({"key": KEY, "purpose": purpose, "value": ours}));
        assert!(opened == *secret.expose());

        let theirs =
            python.call("seal_text", &json!({"key": KEY, "purpose": purpose, "value": secret.expose()}));
        let opened = open_text(&keyring, &pipeline, &variable, theirs.as_str().unwrap()).unwrap();
        assert!(opened == secret);
    }
}
