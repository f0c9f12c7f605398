//! How orders come in.

use std::{fs, io::Write as _};

use fastflow_shim::{Reply, Stream, layout};
use rustix::process::Signal;

use crate::harness::{Attempt, eventually, read_reply, signal, wait};

fn file_args(attempt: &Attempt, more: &[&str]) -> Vec<String> {
    let path = attempt.path().join(layout::ORDER);
    let all = ["--order-file", path.to_str().unwrap()].into_iter().chain(more.iter().copied());
    all.map(str::to_owned).collect()
}

fn put_order(attempt: &Attempt) {
    let aside = attempt.path().join("order.new");
    fs::write(&aside, attempt.order.to_vec().unwrap()).unwrap();
    fs::rename(aside, attempt.path().join(layout::ORDER)).unwrap();
}

#[test]
fn a_file_is_gone_before_the_program_starts() {
    let attempt = Attempt::sh("ls -A");
    put_order(&attempt);
    let args = file_args(&attempt, &["--reply"]);
    let mut child = Attempt::command(&args.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap();
    assert!(matches!(read_reply(&mut child), Some(Reply::Started { .. })));
    assert_eq!(wait(&mut child), 0);
    let listed = attempt.text(Stream::Out);
    assert!(!listed.contains(layout::ORDER), "{listed}");
    assert!(listed.contains(layout::GUARD), "{listed}");
}

#[test]
fn a_shim_waits_for_its_order() {
    let attempt = Attempt::sh("echo here");
    let args = file_args(&attempt, &["--reply", "--wait-ms", "30000"]);
    let mut child = Attempt::command(&args.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap();
    eventually("it sleeps", || {
        fastflow_shim::proc::Stat::read(child.id()).ok().filter(|stat| stat.state == b'S')
    });
    assert!(!attempt.path().join(layout::GUARD).exists());
    put_order(&attempt);
    assert!(matches!(read_reply(&mut child), Some(Reply::Started { .. })));
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.text(Stream::Out), "here\n");
}

#[test]
fn a_wait_ends_without_effect_when_nothing_comes_or_a_signal_does() {
    for by_signal in [false, true] {
        let attempt = Attempt::sh("echo here");
        let args = file_args(&attempt, &["--wait-ms", if by_signal { "60000" } else { "50" }]);
        let mut child =
            Attempt::command(&args.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap();
        if by_signal {
            // Wherever the signal finds it: the outcome is the same.
            signal(child.id(), Signal::TERM);
        }
        let status = eventually("it ended", || child.try_wait().unwrap());
        assert!(!status.success(), "{status}");
        assert_eq!(fs::read_dir(attempt.path()).unwrap().count(), 0);
    }
}

#[test]
fn half_an_order_has_no_effect() {
    let attempt = Attempt::sh("echo started >> witness");
    let whole = attempt.order.to_vec().unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let mut child = Attempt::command(&["--order-fd", "0", "--reply"]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&whole[..length]).unwrap();
        let reply = read_reply(&mut child);
        assert_eq!(wait(&mut child), if length == 0 { 66 } else { 64 });
        assert_eq!(matches!(reply, Some(Reply::BadOrder { .. })), length > 0, "{reply:?}");
        assert_eq!(fs::read_dir(attempt.path()).unwrap().count(), 0);
    }
}

#[test]
fn an_order_of_another_version_or_with_a_relative_path_is_refused() {
    let mut attempt = Attempt::sh("true");
    attempt.order.version = 1;
    let (mut child, reply) = attempt.start();
    assert_eq!(wait(&mut child), 64);
    assert!(
        matches!(&reply, Some(Reply::BadOrder { message, .. }) if message.contains("version 1")),
        "{reply:?}"
    );
    let attempt = Attempt::new(&["sh"]);
    let (mut child, reply) = attempt.start();
    assert_eq!(wait(&mut child), 64);
    assert!(
        matches!(&reply, Some(Reply::BadOrder { message, .. }) if message.contains("argv[0]")),
        "{reply:?}"
    );
}

#[test]
fn a_reply_may_be_a_file_that_appears_whole() {
    let attempt = Attempt::sh("exit 3");
    let reply_file = attempt.path().join(layout::REPLY);
    let place = reply_file.to_str().unwrap();
    let (mut child, on_stdout) =
        attempt.hand_over(&mut Attempt::command(&["--order-fd", "0", "--reply-file", place]));
    assert_eq!((wait(&mut child), on_stdout), (0, None));
    let reply: Reply = serde_json::from_slice(&fs::read(&reply_file).unwrap()).unwrap();
    assert!(matches!(reply, Reply::Started { .. }), "{reply:?}");
    let (mut second, _) =
        attempt.hand_over(&mut Attempt::command(&["--order-fd", "0", "--reply-file", place]));
    assert_eq!(wait(&mut second), 65);
    let reply: Reply = serde_json::from_slice(&fs::read(&reply_file).unwrap()).unwrap();
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
}
