//! Keys in files and in the environment, with real permissions.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

use fastflow_core::{
    Entropy, ErrorKind, OsEntropy, Result, SystemClock,
    secret::{MasterKey, MasterKeyId, MasterKeySource, generate_key_file},
    testing::tool,
};
use rustix::{fs::Mode, process};

use crate::seal_kit::{Constant, KEY, assert_hides};

const PATH: &str = "FASTFLOW_TEST_KEY_PATH";
const UMASK: &str = "FASTFLOW_TEST_UMASK";
const VARIABLE: &str = "FASTFLOW_TEST_MASTER_KEY";

async fn load(path: &Path) -> Result<MasterKeyId> {
    MasterKeySource::File(path.to_owned()).load(&SystemClock::new()).await.map(|key| key.id())
}

/// A file with these permissions.
fn file(folder: &Path, content: &str, mode: u32) -> PathBuf {
    let path = folder.join("given.key");
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// This test program, started again, for what belongs to a whole process.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// Kills: a mode that is left to the umask, in either direction; folders that others can look into.
#[tokio::test]
async fn a_new_key_is_in_a_file_of_its_owner_alone_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b/master.key");
        if umask == "777" {
            // With it, its owner could not enter the new folders either.
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            for folder in ["a", "a/b"] {
                fs::set_permissions(place.path().join(folder), fs::Permissions::from_mode(0o700)).unwrap();
            }
        }
        let child = child("seal_file::makes_a_key_under_a_umask")
            .env(PATH, &path)
            .env(UMASK, umask)
            .output()
            .unwrap();
        assert!(child.status.success(), "{umask}: {}", String::from_utf8_lossy(&child.stdout));
        assert_eq!(mode(&path), 0o600, "{umask}");
        assert_eq!([mode(&place.path().join("a")), mode(&place.path().join("a/b"))], [0o700; 2], "{umask}");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.len(), text.as_bytes()[44]), (45, b'\n'));
        let id = load(&path).await.unwrap();
        assert!(String::from_utf8_lossy(&child.stdout).contains(&format!("made {id}")));
        assert_eq!(MasterKey::parse(&text).unwrap().id(), id);
        let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(files.len(), 1, "something was left beside it: {files:?}");
    }
}

#[test]
#[ignore = "the child of another test"]
#[expect(clippy::disallowed_methods, reason = "this is how the parent tells it what to do")]
fn makes_a_key_under_a_umask() {
    let umask = u32::from_str_radix(&std::env::var(UMASK).unwrap(), 8).unwrap();
    process::umask(Mode::from_raw_mode(umask));
    let id = generate_key_file(Path::new(&std::env::var_os(PATH).unwrap()), &OsEntropy).unwrap();
    println!("made {id}");
}

/// Kills: a key that is written over another one, or through a link; half of a file that stays.
#[test]
fn no_key_is_written_over_anything() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("master.key");
    let id = generate_key_file(&path, &OsEntropy).unwrap();
    let before = fs::read(&path).unwrap();
    let dangling = place.path().join("link");
    let elsewhere = place.path().join("elsewhere");
    symlink(&elsewhere, &dangling).unwrap();
    let folder = place.path().join("folder");
    fs::create_dir(&folder).unwrap();
    for taken in [&path, &dangling, &folder] {
        let error = generate_key_file(taken, &OsEntropy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        assert!(error.to_string().contains(taken.to_str().unwrap()), "{error}");
    }
    assert!(!elsewhere.exists());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(MasterKey::parse(str::from_utf8(&before).unwrap()).unwrap().id(), id);

    // Where a folder would have to be, there is a file.
    let error = generate_key_file(&path.join("below/it.key"), &OsEntropy).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    // Without randomness, nothing is made at all.
    let unmade = place.path().join("new/unmade.key");
    assert!(generate_key_file(&unmade, &Constant(7) as &dyn Entropy).is_err());
    assert!(!unmade.parent().unwrap().exists());
}

/// Many at once: one of them makes it, and the others say that it is there.
#[test]
fn of_many_that_make_the_same_file_one_succeeds() {
    let place = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = place.path().join(format!("{round}/folder/master.key"));
        let results: Vec<Result<MasterKeyId>> = std::thread::scope(|scope| {
            let makers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| generate_key_file(&path, &OsEntropy))).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        let made: Vec<_> = results.iter().flatten().collect();
        assert_eq!(made.len(), 1, "{results:?}");
        assert!(
            results
                .iter()
                .filter_map(|result| result.as_ref().err())
                .all(|e| e.kind() == ErrorKind::AlreadyExists)
        );
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(MasterKey::parse(&text).unwrap().id(), *made[0]);
    }
}

/// Kills: a mode that is looked at in part; a message without the way out.
#[tokio::test]
async fn a_key_that_others_can_read_or_change_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let id = MasterKey::parse(KEY).unwrap().id();
    for good in [0o600, 0o400, 0o700] {
        assert_eq!(load(&file(place.path(), KEY, good)).await.unwrap(), id, "{good:o}");
    }
    for others in [0o001, 0o002, 0o004, 0o010, 0o020, 0o040, 0o044, 0o066, 0o077] {
        let path = file(place.path(), KEY, 0o600 | others);
        let error = load(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{others:o}");
        assert!(error.to_string().contains("`chmod 600`"), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_hides(&error, KEY);
    }
}

/// As Kubernetes mounts secrets: a link to a file behind a link to a folder. Links themselves have the mode 777.
///
/// Kills: the mode of the link, or of another file than the one that is read.
#[tokio::test]
async fn a_key_behind_links_is_judged_by_its_file() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("..2026")).unwrap();
    let given = file(&place.path().join("..2026"), KEY, 0o400);
    symlink("..2026", place.path().join("..data")).unwrap();
    let link = place.path().join("master.key");
    symlink("..data/given.key", &link).unwrap();
    assert_eq!(load(&link).await.unwrap(), MasterKey::parse(KEY).unwrap().id());
    fs::set_permissions(&given, fs::Permissions::from_mode(0o440)).unwrap();
    assert_eq!(load(&link).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_key_of_another_user_is_refused() {
    if !process::geteuid().is_root() {
        return tool::require("mount", "only root can give a file away");
    }
    let place = tempfile::tempdir().unwrap();
    let path = file(place.path(), KEY, 0o600);
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let error = load(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("another user"), "{error}");
}

/// Kills: a read that waits for a writer; one that never ends; content that a message shows.
#[tokio::test]
async fn what_is_no_file_with_a_key_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let missing = load(&place.path().join("missing")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("missing"), "{missing}");

    let pipe = place.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    for no_file in [pipe.as_path(), place.path(), Path::new("/dev/zero")] {
        let error = load(no_file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    let padded = format!("{}{KEY}{}", " ".repeat(100), "\n".repeat(100));
    assert!(load(&file(place.path(), &padded, 0o600)).await.is_ok());
    for content in
        ["", "canary", &KEY[1..], &format!("{KEY}{}", " ".repeat(10_000)), &format!("{KEY}\n{KEY}\n")]
    {
        let error = load(&file(place.path(), content, 0o600)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.to_string().contains("given.key"), "{error}");
        assert_hides(&error, "canary");
        assert_hides(&error, &KEY[1..40]);
    }
    let binary = file(place.path(), "", 0o600);
    fs::write(&binary, b"canary\xff\xfe").unwrap();
    assert_hides(&load(&binary).await.unwrap_err(), "canary");
}

/// Kills: a variable that is shown when it is no key.
#[test]
fn a_key_comes_from_a_variable() {
    let id = MasterKey::parse(KEY).unwrap().id();
    let spaced = format!("{KEY}\n");
    let binary = std::ffi::OsStr::from_bytes(b"canary\xff");
    let outcomes = [
        (Some(KEY.as_ref()), format!("loaded {id}")),
        (Some(spaced.as_ref()), format!("loaded {id}")),
        (Some("canary".as_ref()), "Invalid: not a master key".to_owned()),
        (Some(binary), "Invalid: the variable of the master key does not hold text".to_owned()),
        (None, "NotFound: the variable of the master key is not set".to_owned()),
    ];
    for (value, outcome) in outcomes {
        let mut child = child("seal_file::loads_a_key_from_a_variable");
        child.env_remove(VARIABLE).envs(value.map(|value| (VARIABLE, value)));
        let output = child.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&outcome), "{said}");
        assert!(!said.contains("canary") && !said.contains(&KEY[..10]), "{said}");
        assert!(said.contains("loaded") || said.contains(VARIABLE), "{said}");
    }
}

#[tokio::test]
#[ignore = "the child of another test"]
async fn loads_a_key_from_a_variable() {
    match MasterKeySource::Variable(VARIABLE.to_owned()).load(&SystemClock::new()).await {
        Ok(key) => println!("loaded {}", key.id()),
        Err(error) => println!("{error:?}"),
    }
}
