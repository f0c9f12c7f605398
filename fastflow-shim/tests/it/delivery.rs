//! How secrets get to the program, and that they are gone afterwards.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use fastflow_shim::{Order, Outcome, Reply, Secret, SecretFiles, Stream};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Attempt, is_root, require, signal, wait};

const SECRET: &str = "correct horse battery staple";

/// A place in memory, and the folder that the shim makes there.
fn with_files(mut attempt: Attempt, files: &[(&str, &str)]) -> (TempDir, PathBuf, Attempt) {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = place.path().join("secrets");
    let mut secrets = SecretFiles::new(&dir);
    secrets.files = files.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    attempt.order.secret_files = Some(secrets);
    (place, dir, attempt)
}

fn is_gone(place: &TempDir) {
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn variables_that_are_secret_win_and_are_in_no_file() {
    let mut attempt =
        Attempt::sh(r#"test "$A" = "correct horse battery staple" && test "$B" = plain && echo "$A""#);
    attempt
        .order
        .env
        .extend([("A", "plain"), ("B", "plain")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    attempt.order.secret_env.insert("A".to_owned(), Secret::new(SECRET));
    let record = attempt.run();
    assert_eq!(record.outcome, Outcome::Exited { code: 0 });
    assert_eq!(attempt.text(Stream::Out), "***\n");
    for entry in fs::read_dir(attempt.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, SECRET.as_bytes()).is_none());
    }
}

#[test]
fn files_are_for_the_program_alone_and_gone_afterwards() {
    let script = r#"cd "$FASTFLOW_SECRETS_DIR"; pwd; stat -c '%n %a %u %s' . *; sha256sum TOKEN; echo more > left; chmod 500 ."#;
    let (place, dir, attempt) =
        with_files(Attempt::sh(script), &[("TOKEN", SECRET), ("empty", ""), (".hidden", "a\nb")]);
    let record = attempt.run();
    assert_eq!(record.outcome, Outcome::Exited { code: 0 });
    let out = attempt.text(Stream::Out);
    let lines: Vec<_> = out.lines().collect();
    let user = fs::metadata(place.path()).unwrap().uid();
    assert_eq!(lines[0], dir.to_str().unwrap());
    assert!(lines[1].starts_with(&format!(". 700 {user} ")), "{out}");
    assert_eq!(&lines[2..4], [format!("TOKEN 400 {user} 28"), format!("empty 400 {user} 0")]);
    assert!(
        lines[4].starts_with("c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a"),
        "{out}"
    );
    is_gone(&place);
    assert!(!format!("{:?}", attempt.records()).contains("removed"), "{:?}", attempt.records());
}

#[test]
fn files_are_gone_however_it_ends() {
    for how in [Some(Signal::QUIT), Some(Signal::TERM), None] {
        let script = r#"cat "$FASTFLOW_SECRETS_DIR/TOKEN"; (sleep 600 &); echo $$ > ready; test -e dies && kill -KILL $$; exec sleep 600"#;
        let (place, dir, attempt) = with_files(Attempt::sh(script), &[("TOKEN", SECRET)]);
        if how.is_none() {
            attempt.write("dies", b"");
        }
        let (mut child, _) = attempt.start();
        attempt.number("ready");
        if let Some(how) = how {
            assert!(dir.join("TOKEN").exists());
            signal(child.id(), how);
        }
        assert_eq!(wait(&mut child), 0);
        is_gone(&place);
        assert_eq!(attempt.text(Stream::Out), "***");
    }
}

#[test]
fn files_are_gone_where_the_program_cannot_start() {
    for fails in 0..3 {
        let (place, dir, mut attempt) = with_files(Attempt::new(&["/bin/true"]), &[("TOKEN", SECRET)]);
        match fails {
            0 => attempt.order.argv = vec!["/no/such/program".to_owned()],
            1 => attempt.order.working_dir = "/no/such/folder".into(),
            _ => attempt.order.cgroups = vec![place.path().join("no/such/group")],
        }
        let record = attempt.run();
        assert!(matches!(record.outcome, Outcome::ExecFailed { .. }), "{:?}", record.outcome);
        assert!(!dir.exists());
        is_gone(&place);
    }
}

#[test]
fn a_folder_that_is_there_or_on_a_disk_is_refused() {
    let (place, dir, attempt) = with_files(Attempt::sh("echo started > witness"), &[("TOKEN", SECRET)]);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("somebody's"), "").unwrap();
    let refused = |attempt: &Attempt, words: &str| {
        let (mut child, reply) = attempt.start();
        assert_eq!(wait(&mut child), 0);
        assert!(
            matches!(&reply, Some(Reply::ExecFailed { message, .. }) if message.contains(words)),
            "{reply:?}"
        );
        assert!(!attempt.path().join("witness").exists());
    };
    refused(&attempt, "exists");
    assert!(dir.join("somebody's").exists());

    // A link to nowhere is something, too.
    let (place_of_link, dir, attempt) =
        with_files(Attempt::sh("echo started > witness"), &[("TOKEN", SECRET)]);
    std::os::unix::fs::symlink(place.path().join("elsewhere"), &dir).unwrap();
    refused(&attempt, "exists");
    assert!(!place.path().join("elsewhere").exists() && place_of_link.path().exists());

    let (_, _, mut attempt) = with_files(Attempt::sh("echo started > witness"), &[("TOKEN", SECRET)]);
    let on_disk = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrets-{}", std::process::id()));
    attempt.order.secret_files.as_mut().unwrap().dir.clone_from(&on_disk);
    refused(&attempt, "tmpfs or ramfs");
    assert!(!on_disk.exists());
}

#[test]
fn a_link_in_the_place_of_the_folder_leads_nobody_astray() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("TOKEN"), "precious").unwrap();
    let script = r#"mv "$FASTFLOW_SECRETS_DIR" "$FASTFLOW_SECRETS_DIR.moved"; ln -s "$OUTSIDE" "$FASTFLOW_SECRETS_DIR""#;
    let (place, dir, mut attempt) = with_files(Attempt::sh(script), &[("TOKEN", SECRET)]);
    attempt.order.env.insert("OUTSIDE".to_owned(), outside.path().to_str().unwrap().to_owned());
    attempt.run();
    assert_eq!(fs::read_to_string(outside.path().join("TOKEN")).unwrap(), "precious");
    assert!(fs::symlink_metadata(&dir).is_err());
    let moved = place.path().join("secrets.moved");
    assert_eq!(fs::read_dir(moved).unwrap().count(), 0, "the secret is gone wherever it was moved");
}

fn file(order: &mut Order, dir: &str, name: &str) {
    let mut secrets = SecretFiles::new(dir);
    secrets.files.insert(name.to_owned(), Secret::new(SECRET));
    order.secret_files = Some(secrets);
}

#[test]
fn an_order_whose_secrets_cannot_be_delivered_is_refused_without_showing_them() {
    let refused = |change: fn(&mut Order), words: &str| {
        let mut attempt = Attempt::sh("echo started > witness");
        change(&mut attempt.order);
        let (mut child, reply) = attempt.start();
        assert_eq!(wait(&mut child), 64);
        assert!(
            matches!(&reply, Some(Reply::BadOrder { message, .. }) if message.contains(words)),
            "{reply:?}"
        );
        assert!(!format!("{reply:?}").contains("horse"), "{reply:?}");
        assert_eq!(fs::read_dir(attempt.path()).unwrap().count(), 0);
    };
    refused(
        |order| drop(order.secret_env.insert("A=B".to_owned(), Secret::new(SECRET))),
        "secret_env has the name",
    );
    refused(|order| drop(order.secret_env.insert("A".to_owned(), Secret::new("horse\0"))), "value of A");
    refused(|order| file(order, "relative", "TOKEN"), "secret_files.dir");
    refused(|order| file(order, "/", "TOKEN"), "secret_files.dir");
    refused(|order| file(order, "/dev/shm/x", "../TOKEN"), "secret_files has the name");
    refused(|order| file(order, "/dev/shm/x", ".."), "secret_files has the name");
    refused(|order| file(order, "/dev/shm/x", ""), "secret_files has the name");
    refused(|order| order.mask.files = vec!["/srv/../etc/passwd".into()], "mask.files");
    refused(|order| order.mask.files = vec!["outputs.json".into()], "mask.files");
    refused(
        |order| drop(order.secret_env.insert("A".to_owned(), Secret::new("horse".repeat(60_000)))),
        "at most 262144",
    );
}

/// What a crash dump of a process would have, and who owns its files.
fn memory_of(pid: u32) -> (String, u32) {
    let filter = fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap();
    let owner = fs::metadata(format!("/proc/{pid}/coredump_filter")).unwrap().uid();
    (filter.trim().to_owned(), owner)
}

#[test]
fn crash_dumps_have_no_memory() {
    let attempt = Attempt::sh("ulimit -c; echo $$ > ready; while ! test -e go; do sleep 0.02; done");
    let (mut child, _) = attempt.start();
    let program = attempt.number("ready");
    assert_eq!(memory_of(program).0, "00000000");
    assert_eq!(memory_of(child.id()).0, "00000000");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    attempt.write("go", b"");
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.text(Stream::Out), "0\n");
}

/// The kernel gives the files of a process that must not be dumped to root, so only another user shows it.
#[test]
fn nobody_else_reads_the_memory_of_a_shim_and_all_works_without_root() {
    if !is_root() {
        require("other-user", "run the tests as root, so that they can become somebody else");
        return;
    }
    let user = 65_534;
    let script = r#"test "$(id -u)" = 65534 || exit 8
        cat /proc/$PPID/environ /proc/$PPID/maps > seen 2> /dev/null && exit 9
        cat "$FASTFLOW_SECRETS_DIR/TOKEN"; kill -TERM $PPID; sleep 600"#;
    let (place, dir, attempt) = with_files(Attempt::sh(script), &[("TOKEN", SECRET)]);
    for folder in [attempt.path(), place.path()] {
        std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let shim = attempt.path().join("shim");
    fs::copy(crate::harness::SHIM, &shim).unwrap();
    let mut command = std::process::Command::new(&shim);
    command
        .args(["--order-fd", "0", "--reply"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    std::os::unix::process::CommandExt::uid(&mut command, user);
    let (mut child, reply) = attempt.hand_over(&mut command);
    assert!(matches!(reply, Some(Reply::Started { .. })), "{reply:?}");
    assert_eq!(wait(&mut child), 0);
    let record = attempt.exit();
    assert_eq!(record.outcome, Outcome::Signaled { signal: 15 });
    assert_eq!(attempt.text(Stream::Out), "***");
    assert_eq!(fs::metadata(attempt.path().join("seen")).unwrap().len(), 0);
    assert!(!attempt.usage().is_empty());
    assert!(!dir.exists());
}
