//! Keys as people give them.

use fastflow_core::{
    ErrorKind, OsEntropy, SystemClock,
    secret::{FernetKey, Keyring, MAX_SECRET_BYTES, MasterKey, MasterKeySource, Secret, check_secret},
};

use crate::seal_kit::{
    Constant, Counting, KEY, OTHER_KEY, Purpose, assert_hides, base64, hex, unbase64, unhex,
};

const FERNET_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// Kills: one alphabet, one padding, no blanks.
#[test]
fn a_key_is_the_same_key_however_it_is_written() {
    let id = MasterKey::parse(KEY).unwrap().id();
    let url = KEY.replace('+', "-").replace('/', "_");
    assert_ne!(url, KEY);
    for text in [KEY, KEY.trim_end_matches('='), &url, url.trim_end_matches('='), &format!(" {KEY}\r\n")] {
        assert_eq!(MasterKey::parse(text).unwrap().id(), id, "{text:?}");
        assert_eq!(text.parse::<MasterKey>().unwrap().id(), id);
    }
    assert_ne!(MasterKey::parse(OTHER_KEY).unwrap().id(), id);
}

/// Kills: a length that is not looked at; text that is shown to whoever mistyped it.
#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let short = &KEY[..40];
    let long = format!("{}AAAA", &KEY[..43]);
    let mixed = KEY.replacen('+', "-", 1).replacen("7Yk0", "7/k0", 1);
    let hex = "ed8934bd96f45b498ccf0b40cd4437abc9f6caa0bcbd478664";
    let spaced = format!("{} {}", &KEY[..20], &KEY[20..]);
    let not_ended = format!("{}F=", &KEY[..42]);
    for text in ["", "hunter2-canary", short, &long, &mixed, hex, &spaced, "ключ", &not_ended, "===="] {
        let error = MasterKey::parse(text).err().unwrap_or_else(|| panic!("{text:?} is a key"));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("32 random bytes in base64"), "{error}");
        assert_hides(&error, text);
        let error = FernetKey::parse(text).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_hides(&error, text);
    }
}

/// Kills: an example out of a guide, a password or a pattern that becomes a key.
#[test]
fn a_key_that_can_be_guessed_is_refused() {
    let all = |byte: u8| vec![byte; 32];
    let counting: Vec<u8> = (0..32).collect();
    let falling: Vec<u8> = (0..32).map(|number: u8| 200 - 3 * number).collect();
    let few: Vec<u8> = (0..32)
        .map(|number: usize| [3, 141, 59, 26, 53, 58, 97][(number * number + number / 3) % 7])
        .collect();
    let twice = [&unbase64(KEY)[..16], &unbase64(KEY)[..16]].concat();
    let text = b"correct horse battery staple 123".to_vec();
    let digits = b"0123456789abcdef0f1e2d3c4b5a6978".to_vec();
    let nist = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let fernet = unhex("730ff4c7af3d46923e8ed451ee813c87f790b0a226bc96a92de49b5e9c05e1ee");
    for bytes in [all(0), all(0xff), counting, falling, few, twice, text, digits, nist, fernet] {
        assert_eq!(bytes.len(), 32);
        let text = base64(&bytes);
        let error = MasterKey::parse(&text).err().unwrap_or_else(|| panic!("{bytes:?} is a key"));
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("can be guessed"), "{error}");
        assert_hides(&error, &text);
    }
}

/// Kills: a random source that gives nothing random, and a check that refuses what is random.
#[test]
fn a_new_key_is_random() {
    for entropy in [&Constant(0) as &dyn fastflow_core::Entropy, &Constant(77), &Counting(5)] {
        assert_eq!(MasterKey::generate(entropy).err().unwrap().kind(), ErrorKind::Internal);
    }
    let mut ids: Vec<_> = (0..10_000).map(|_| MasterKey::generate(&OsEntropy).unwrap().id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10_000);
}

/// Kills: an older key that seals; a newest key that is lost; a key twice.
#[test]
fn the_newest_key_seals_and_all_of_them_open() {
    let (old, new) = (MasterKey::parse(OTHER_KEY).unwrap(), MasterKey::parse(KEY).unwrap());
    let purpose = Purpose::pipeline("etl", "TOKEN");
    let before =
        Keyring::new(old.clone()).seal(&purpose.binding(), &Secret::new("of before"), &OsEntropy).unwrap();
    let both =
        Keyring::new(new.clone()).with_older(old.clone()).with_older(old.clone()).with_older(new.clone());
    assert_eq!(both.ids().collect::<Vec<_>>(), [new.id(), old.id()]);
    assert_eq!(both.newest(), Some(new.id()));
    assert!(both.has(old.id()) && both.has(new.id()));
    assert!(!Keyring::new(new.clone()).has(old.id()));
    let now = both.seal(&purpose.binding(), &Secret::new("of now"), &OsEntropy).unwrap();
    assert_eq!((before.key(), now.key()), (old.id(), new.id()));
    assert!(both.open(&purpose.binding(), &before).unwrap() == Secret::new("of before"));
    assert!(both.open(&purpose.binding(), &now).unwrap() == Secret::new("of now"));
}

/// Kills: a value that is sealed with nothing.
#[test]
fn without_a_key_that_seals_nothing_is_sealed() {
    let old = MasterKey::parse(OTHER_KEY).unwrap();
    let purpose = Purpose::pipeline("etl", "TOKEN");
    let before =
        Keyring::new(old.clone()).seal(&purpose.binding(), &Secret::new("of before"), &OsEntropy).unwrap();
    let only_opens = Keyring::default().with_older(old);
    assert_eq!(only_opens.newest(), None);
    for keyring in [Keyring::default(), only_opens.clone()] {
        let error = keyring.seal(&purpose.binding(), &Secret::new("canary"), &OsEntropy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_hides(&error, "canary");
    }
    assert_eq!(Keyring::default().open(&purpose.binding(), &before).err().unwrap().kind(), ErrorKind::Denied);
    assert!(only_opens.open(&purpose.binding(), &before).unwrap() == Secret::new("of before"));
}

/// Kills: a derived `Debug`.
#[tokio::test]
async fn nothing_that_holds_keys_shows_them() {
    let key = MasterKey::parse(KEY).unwrap();
    let keyring = Keyring::new(key.clone())
        .with_older(MasterKey::parse(OTHER_KEY).unwrap())
        .with_fernet(FernetKey::parse(FERNET_KEY).unwrap());
    let source = MasterKeySource::Key(key.clone());
    let shown = format!("{keyring:?} {keyring:#?} {source:?}");
    for hidden in [KEY, OTHER_KEY, FERNET_KEY] {
        let bytes = unbase64(hidden);
        // As a list of numbers, too.
        let numbers = format!("{bytes:?}");
        let start = numbers.split_at(20).0.trim_start_matches('[').to_owned();
        for form in [hidden, &hex(&bytes)[..8], &start] {
            assert!(!shown.contains(form), "{shown} has {form}");
        }
    }
    assert!(shown.contains(&key.id().to_string()), "{shown}");
    assert_eq!(source.load(&SystemClock::new()).await.unwrap().id(), key.id());
}

/// Kills: a value that is sealed and can never be given to a program; a limit that is one off; a value in an error.
#[test]
fn what_cannot_be_a_secret_is_not_sealed() {
    let keyring = Keyring::new(MasterKey::parse(KEY).unwrap());
    let purpose = Purpose::stored("warehouse", "global", "TOKEN", 1);
    let largest = Secret::new("x".repeat(MAX_SECRET_BYTES));
    assert!(check_secret(&largest).is_ok());
    let sealed = keyring.seal(&purpose.binding(), &largest, &OsEntropy).unwrap();
    assert!(keyring.open(&purpose.binding(), &sealed).unwrap() == largest);
    for refused in ["canary\0", "\0", &"canary".repeat(MAX_SECRET_BYTES / 6 + 1)] {
        let secret = Secret::new(refused);
        for error in [check_secret(&secret), keyring.seal(&purpose.binding(), &secret, &OsEntropy).map(drop)]
        {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_hides(&error, "canary");
        }
    }
}
