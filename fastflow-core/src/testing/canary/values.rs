//! The secrets of the test, and where those who must know them find them.

use std::{collections::BTreeMap, fs, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use aes::Aes128;
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE},
};
use cbc::cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    Clock as _, Entropy as _, OrchestratorBuilder, OsEntropy, PipelineName, SystemClock,
    secret::{DirectorySecrets, FernetKey, Keyring, MasterKeySource, Secret, generate_key_file, seal_text},
};

/// Letters and digits at either end of a value: what shows whatever becomes of the rest.
const CORE_CHARS: usize = 24;
/// What every encoding has to change something of.
const BETWEEN: &str = " \"é'\\/+%&=\u{2028}€";
const PEM_LINES: usize = 6;
const PEM_LINE_CHARS: usize = 64;
const KEY_BYTES: usize = 32;

/// A secret, by the way on which its program gets it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Canary {
    /// Of the store.
    Stored,
    /// Of the store too, with several lines.
    Pem,
    /// Of somebody else, who is asked after the store.
    External,
    /// Sealed text of the pipeline.
    Sealed,
    /// A token of Fernet in the pipeline.
    Token,
}

impl Canary {
    pub(super) const ALL: [Self; 5] = [Self::Stored, Self::Pem, Self::External, Self::Sealed, Self::Token];

    /// The name by which pipelines ask for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stored => "STORED",
            Self::Pem => "PEM",
            Self::External => "EXTERNAL",
            Self::Sealed => "SEALED",
            Self::Token => "TOKEN",
        }
    }
}

/// All values of one test, made anew for it.
#[derive(Deserialize, Serialize)]
pub(super) struct Values {
    secrets: BTreeMap<Canary, String>,
    /// What was stored before, and replaced.
    pub(super) replaced: String,
    /// What is no secret, and goes the same ways: it has to be found.
    pub(super) control: String,
}

impl Values {
    fn new() -> Self {
        let secret = |canary| (canary, if canary == Canary::Pem { pem() } else { value() });
        Self { secrets: Canary::ALL.map(secret).into(), replaced: value(), control: value() }
    }

    pub(super) fn of(&self, canary: Canary) -> &str {
        &self.secrets[&canary]
    }

    /// The value that programs make of another one, and have masked while they run.
    fn added(&self) -> String {
        let digest = Sha256::new().chain_update("added ").chain_update(self.of(Canary::Stored)).finalize();
        BASE64_STANDARD.encode(digest)
    }

    /// The values that programs have, by their names.
    pub(super) fn of_programs(&self) -> BTreeMap<&'static str, String> {
        let named = Canary::ALL.map(|canary| (canary.name(), self.of(canary).to_owned()));
        named.into_iter().chain([("ADDED", self.added())]).collect()
    }
}

/// The folder with all that is secret, which is not searched.
pub(super) struct Vault(PathBuf);

impl Vault {
    pub(super) const NAME: &str = "vault";

    /// The vault on the stage of a test.
    pub(super) fn of(stage: &std::path::Path) -> Self {
        Self(stage.join(Self::NAME))
    }

    /// Makes it, with new values and keys.
    pub(super) fn fill(&self) -> Values {
        fs::DirBuilder::new().mode(0o700).create(&self.0).unwrap();
        fs::create_dir(self.external()).unwrap();
        generate_key_file(&self.master_key(), &OsEntropy).unwrap();
        fs::write(self.fernet_key(), BASE64_URL_SAFE.encode(random(KEY_BYTES))).unwrap();
        let values = Values::new();
        fs::write(self.external().join(Canary::External.name()), values.of(Canary::External)).unwrap();
        fs::write(self.values(), serde_json::to_vec(&values).unwrap()).unwrap();
        values
    }

    pub(super) fn open(&self) -> Values {
        serde_json::from_slice(&fs::read(self.values()).unwrap()).unwrap()
    }

    /// All that must be found nowhere, by name.
    pub(super) fn canaries(&self, values: &Values) -> BTreeMap<String, Vec<u8>> {
        let text = |path| fs::read_to_string(path).unwrap().trim().to_owned();
        let master = text(self.master_key());
        let programs = values.of_programs();
        let named = programs.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()));
        named
            .chain([
                ("replaced".to_owned(), values.replaced.clone().into_bytes()),
                ("master key".to_owned(), BASE64_STANDARD.decode(&master).unwrap()),
                ("text of the master key".to_owned(), master.into_bytes()),
                ("text of the Fernet key".to_owned(), text(self.fernet_key()).into_bytes()),
            ])
            .collect()
    }

    /// With the keys, and the one who has what is not stored.
    pub(super) fn equip(&self, builder: OrchestratorBuilder) -> OrchestratorBuilder {
        let fernet = fs::read_to_string(self.fernet_key()).unwrap();
        builder
            .master_key(MasterKeySource::File(self.master_key()))
            .fernet_key(FernetKey::parse(&fernet).unwrap())
            .secret_store(DirectorySecrets::new(self.external()))
    }

    /// What stands in the `encrypted_env` of a pipeline.
    pub(super) async fn sealed(&self, pipeline: &PipelineName, values: &Values) -> serde_json::Value {
        let key = MasterKeySource::File(self.master_key()).load(&SystemClock::new()).await.unwrap();
        let variable = Canary::Sealed.name().parse().unwrap();
        let secret = Secret::new(values.of(Canary::Sealed));
        let sealed = seal_text(&Keyring::new(key), pipeline, &variable, &secret, &OsEntropy).unwrap();
        let fernet = BASE64_URL_SAFE.decode(fs::read(self.fernet_key()).unwrap()).unwrap();
        let token = fernet_token(&fernet, values.of(Canary::Token));
        serde_json::json!({ Canary::Sealed.name(): sealed, Canary::Token.name(): token })
    }

    fn external(&self) -> PathBuf {
        self.0.join("external")
    }

    fn master_key(&self) -> PathBuf {
        self.0.join("master.key")
    }

    fn fernet_key(&self) -> PathBuf {
        self.0.join("fernet.key")
    }

    fn values(&self) -> PathBuf {
        self.0.join("values.json")
    }
}

/// As Python Fast-Flow makes it. The code under test opens tokens only.
fn fernet_token(key: &[u8], text: &str) -> String {
    let (signing, encryption) = key.split_at(KEY_BYTES / 2);
    let start = random(16);
    let sealed = cbc::Encryptor::<Aes128>::new_from_slices(encryption, &start)
        .unwrap()
        .encrypt_padded_vec::<Pkcs7>(text.as_bytes());
    let mut token = vec![0x80];
    token.extend(SystemClock::new().now().as_second().to_be_bytes());
    token.extend(start);
    token.extend(sealed);
    let tag = Hmac::<Sha256>::new_from_slice(signing).unwrap().chain_update(&token).finalize();
    token.extend(tag.into_bytes());
    BASE64_URL_SAFE.encode(token)
}

fn value() -> String {
    format!("{}{BETWEEN}{}", letters(CORE_CHARS), letters(CORE_CHARS))
}

/// Looks like a private key.
fn pem() -> String {
    let lines: Vec<String> = (0..PEM_LINES).map(|_| letters(PEM_LINE_CHARS)).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

fn letters(count: usize) -> String {
    // No encoding changes any of these, and there are enough random bytes among three times as many.
    let text = BASE64_STANDARD.encode(random(3 * count));
    text.chars().filter(char::is_ascii_alphanumeric).take(count).collect()
}

fn random(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    OsEntropy.fill(&mut bytes);
    bytes
}
