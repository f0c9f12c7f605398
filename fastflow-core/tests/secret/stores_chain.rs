//! Several stores, one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    sync::Arc,
};

use fastflow_core::{
    ErrorKind, Result,
    secret::{
        ChainedSecrets, CommandSecrets, DirectorySecrets, EnvironmentSecrets, FoundSecret, Secret,
        SecretName, SecretReader, SecretStore,
    },
};
use tempfile::TempDir;

use super::stores_kit::{find, value, words};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn store(folder: &TempDir) -> Arc<dyn SecretStore> {
    Arc::new(DirectorySecrets::new(folder.path()))
}

/// Knows every secret, and writes down which ones it was asked for.
fn talkative(folder: &TempDir) -> Arc<dyn SecretStore> {
    let script = format!(r#"echo "$0" >> '{}/asked'; printf 'of the program'"#, folder.path().display());
    Arc::new(CommandSecrets::new("sh", ["-c", &script, "{name}"]).unwrap())
}

#[tokio::test]
async fn the_first_that_has_a_name_wins_and_the_others_are_not_asked_for_it() {
    let (first, second) = (folder(&[("A", "first")]), folder(&[("A", "second"), ("B", "second")]));
    let last = folder(&[]);
    let chain = ChainedSecrets::new([store(&first), store(&second), talkative(&last)]);
    let found = find(&chain, &["A", "B", "C"]).await.unwrap();
    let expected =
        [("A", "first", "directory"), ("B", "second", "directory"), ("C", "of the program", "command")];
    let of =
        |(name, value, store): (&str, &str, &str)| (name.to_owned(), (value.to_owned(), store.to_owned()));
    assert_eq!(found, expected.map(of).into());
    assert_eq!(fs::read_to_string(last.path().join("asked")).unwrap(), "C\n");
    assert_eq!(find(&ChainedSecrets::new([]), &["A"]).await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_not_passed_over() {
    let (broken, last) = (folder(&[("B", "first")]), folder(&[]));
    symlink("nowhere", broken.path().join("A")).unwrap();
    let gone = Arc::new(DirectorySecrets::new(last.path().join("gone")));
    let chain = ChainedSecrets::new([store(&broken), gone, talkative(&last)]);
    let error = find(&chain, &["A", "B"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(words(&error).contains("leads nowhere"), "{error}");
    // Nobody asks the broken one for what there is already.
    assert_eq!(value(&chain, "B").await.unwrap().unwrap(), "first");
    assert_eq!(find(&chain, &["B", "C"]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!last.path().join("asked").exists(), "the last one was asked");
}

/// Gives everything it has to everybody.
#[derive(Debug)]
struct Generous;

#[async_trait::async_trait]
impl SecretStore for Generous {
    fn kind(&self) -> &'static str {
        "generous"
    }

    async fn find(
        &self,
        _: &BTreeSet<SecretName>,
        _: &SecretReader,
    ) -> Result<BTreeMap<SecretName, FoundSecret>> {
        let all = ["A", "B"].map(|name| name.parse::<SecretName>().unwrap());
        let secret = |name: SecretName| {
            (name.clone(), FoundSecret::secret(self.kind(), name, Secret::new("too much")))
        };
        Ok(all.map(secret).into())
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_given_to_nobody() {
    let first = folder(&[("A", "first")]);
    let chain = ChainedSecrets::new([store(&first), Arc::new(Generous)]);
    let found = find(&chain, &["A"]).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["A"]);
    let found = find(&chain, &["A", "B"]).await.unwrap();
    assert_eq!((found["A"].0.as_str(), found["B"].0.as_str()), ("first", "too much"));
    let only = ChainedSecrets::new([Arc::new(Generous) as _]);
    assert_eq!(find(&only, &["B", "C"]).await.unwrap().keys().collect::<Vec<_>>(), ["B"]);
}

#[test]
fn chains_are_shown_without_values() {
    let command = CommandSecrets::new("vault", ["-token=canary", "{name}"]).unwrap();
    let command = command.env("VAULT_TOKEN", Secret::new("canary")).inherit(["VAULT_ADDR"]);
    let environment = EnvironmentSecrets::new("PREFIX_").unwrap();
    let chain = ChainedSecrets::new([Arc::new(command) as _, Arc::new(environment) as _]);
    let shown = format!("{chain:?}");
    assert!(!shown.contains("canary"), "{shown}");
    for part in ["vault", "VAULT_TOKEN", "VAULT_ADDR", "PREFIX_"] {
        assert!(shown.contains(part), "{shown}");
    }
}
