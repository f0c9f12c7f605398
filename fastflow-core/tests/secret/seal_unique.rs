//! No key and no nonce comes twice.

use fastflow_core::{
    OsEntropy,
    secret::{Keyring, MasterKey, Secret},
};

use crate::seal_kit::{KEY, Purpose};

const THREADS: usize = 4;
const SEALS_OF_EACH: usize = 500_000;

type Salt = [u8; 32];
type Nonce = [u8; 12];

/// All by one keyring, of one value and for one purpose: whatever could tell them apart is the same.
///
/// Kills: a salt or a nonce that is used again, one that is shorter than it looks, one that follows from the value or
/// from the thread.
#[test]
fn two_million_seals_repeat_no_key_and_no_nonce() {
    let keyring = Keyring::new(MasterKey::parse(KEY).unwrap());
    let sealed: Vec<(Salt, Nonce)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| seal_many(&keyring))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (salts, nonces): (Vec<_>, Vec<_>) = sealed.into_iter().unzip();
    // More than is needed. Without a repeated nonce there is no repeated pair of it and a key, whatever the keys are; and
    // from another salt follows another key. Of two million random nonces, two are the same in one of 10^16 tests.
    assert_eq!(repeated(salts), 0);
    assert_eq!(repeated(nonces), 0);
}

fn seal_many(keyring: &Keyring) -> Vec<(Salt, Nonce)> {
    let purpose = Purpose::stored("warehouse", "global", "TOKEN", 1);
    let (binding, secret, key) = (purpose.binding(), Secret::new(""), keyring.newest().unwrap());
    let parts = (0..SEALS_OF_EACH).map(|_| {
        let envelope = keyring.seal(&binding, &secret, &OsEntropy).unwrap();
        let bytes = envelope.as_bytes();
        assert_eq!((envelope.key(), bytes.len()), (key, 77));
        (bytes[17..49].try_into().unwrap(), bytes[49..61].try_into().unwrap())
    });
    parts.collect()
}

fn repeated<const BYTES: usize>(mut all: Vec<[u8; BYTES]>) -> usize {
    assert_eq!(all.len(), THREADS * SEALS_OF_EACH);
    all.sort_unstable();
    all.windows(2).filter(|pair| pair[0] == pair[1]).count()
}
