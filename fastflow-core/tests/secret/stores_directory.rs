//! Secrets from files.

use std::{fs, os::unix::fs::symlink, path::Path};

use fastflow_core::{
    ErrorKind,
    secret::{DirectorySecrets, MAX_SECRET_BYTES},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::stores_kit::{find, soon, value, words};

/// Lays files out as Kubernetes does: in a folder of their own, behind a link that is switched at once.
struct Mount(TempDir);

impl Mount {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> DirectorySecrets {
        DirectorySecrets::new(self.path())
    }

    /// Has these files, of this release, instead of all others.
    fn switch(&self, release: &str, files: &[(&str, &str)]) {
        let old = fs::read_link(self.path().join("..data")).ok();
        let new = format!("..{release}");
        fs::create_dir(self.path().join(&new)).unwrap();
        for (name, content) in files {
            fs::write(self.path().join(&new).join(name), content).unwrap();
        }
        symlink(&new, self.path().join("..data_tmp")).unwrap();
        fs::rename(self.path().join("..data_tmp"), self.path().join("..data")).unwrap();
        for (name, _) in files {
            let _ = symlink(format!("..data/{name}"), self.path().join(name));
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.path().join(old)).unwrap();
        }
    }
}

fn plain(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[tokio::test]
async fn files_are_found_as_kubernetes_lays_them_out() {
    let mount = Mount::new();
    mount.switch("1", &[("TOKEN", "first\n"), ("_a.b-c", "x y")]);
    let found = find(&mount.store(), &["TOKEN", "_a.b-c", "OTHER"]).await.unwrap();
    let directory = |value: &str| (value.to_owned(), "directory".to_owned());
    let expected = [("TOKEN", "first"), ("_a.b-c", "x y")];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), directory(value))).into());
    mount.switch("2", &[("TOKEN", "second\n")]);
    assert_eq!(value(&mount.store(), "TOKEN").await.unwrap().unwrap(), "second");
}

#[tokio::test]
async fn a_file_that_was_taken_away_is_not_one_that_was_never_there() {
    let mount = Mount::new();
    mount.switch("1", &[("TOKEN", "first"), ("OTHER", "x")]);
    mount.switch("2", &[("OTHER", "y")]);
    let error = value(&mount.store(), "TOKEN").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(words(&error).contains("TOKEN"), "{error}");
    assert_eq!(value(&mount.store(), "OTHER").await.unwrap().unwrap(), "y");
}

#[tokio::test]
async fn one_line_end_is_removed_where_it_is_the_only_one() {
    let pem = "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n";
    for (content, expected) in [
        ("plain", "plain"),
        ("line\n", "line"),
        ("line\r\n", "line"),
        ("line\r", "line\r"),
        (" blank \n", " blank "),
        ("line\n\n", "line\n\n"),
        ("\nline", "\nline"),
        ("two\nlines", "two\nlines"),
        ("two\r\nlines\r\n", "two\r\nlines\r\n"),
        (pem, pem),
        ("\n", ""),
        ("", ""),
        ("\u{e4}\u{1f511}\n", "\u{e4}\u{1f511}"),
    ] {
        let folder = plain(&[("A", content.as_bytes())]);
        let found = value(&DirectorySecrets::new(folder.path()), "A").await.unwrap();
        assert_eq!(found.as_deref(), Some(expected), "{content:?}");
    }
}

#[tokio::test]
async fn what_can_be_no_secret_is_refused_and_not_shown() {
    let largest = "x".repeat(MAX_SECRET_BYTES);
    for (content, expected) in [
        (largest.clone(), largest.clone()),
        (format!("{largest}\n"), largest.clone()),
        (format!("{largest}\r\n"), largest.clone()),
    ] {
        let folder = plain(&[("A", content.as_bytes())]);
        let found = value(&DirectorySecrets::new(folder.path()), "A").await.unwrap();
        assert!(found.as_deref() == Some(&*expected));
    }
    let long = format!("canary{}", "x".repeat(MAX_SECRET_BYTES - 5));
    let double = format!("canary{}\n\n", "x".repeat(MAX_SECRET_BYTES - 6));
    let huge = "canary".repeat(1 << 20);
    for content in
        [b"canary\0x".as_slice(), b"canary\xff", long.as_bytes(), double.as_bytes(), huge.as_bytes()]
    {
        let folder = plain(&[("A", content)]);
        let error = value(&DirectorySecrets::new(folder.path()), "A").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let words = words(&error);
        assert!(words.contains(folder.path().join("A").to_str().unwrap()), "{words}");
        assert!(!words.contains("canary"), "{words}");
    }
}

#[tokio::test]
async fn only_plain_files_are_read() {
    let folder = plain(&[("TARGET", b"value")]);
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("FOLDER")).unwrap();
    mknodat(CWD, at("PIPE"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    symlink("PIPE", at("TO_PIPE")).unwrap();
    symlink("/dev/zero", at("DEVICE")).unwrap();
    symlink("LOOP", at("LOOP")).unwrap();
    symlink("TARGET", at("LINK")).unwrap();
    let store = DirectorySecrets::new(folder.path());
    for name in ["FOLDER", "PIPE", "TO_PIPE", "DEVICE"] {
        let error = soon(value(&store, name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(words(&error).contains("plain file"), "{error}");
    }
    assert!(!value(&store, "LOOP").await.unwrap_err().is_transient());
    assert_eq!(value(&store, "LINK").await.unwrap().unwrap(), "value");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_empty_one() {
    let folder = plain(&[("FILE", b"x")]);
    for (path, kind) in
        [(folder.path().join("gone"), ErrorKind::NotFound), (folder.path().join("FILE"), ErrorKind::Internal)]
    {
        let error = value(&DirectorySecrets::new(&path), "TOKEN").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(words(&error).contains(path.to_str().unwrap()), "{error}");
    }
}
