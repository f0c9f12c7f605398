//! How attempts end.

use std::fs;

use fastflow_shim::{Outcome, Reply, StopCause, Stream, proc};
use rustix::process::Signal;

use crate::harness::{Attempt, eventually, signal, wait};

#[test]
fn exit_codes_are_the_programs_own() {
    for code in [0, 3, 125, 126, 127, 255] {
        let record = Attempt::sh(&format!("exit {code}")).run();
        assert_eq!((record.outcome, record.stopped_by), (Outcome::Exited { code }, None));
    }
}

#[test]
fn a_program_that_cannot_start_has_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), "#!/bin/sh\n").unwrap();
    let plain = dir.path().join("plain").to_str().unwrap().to_owned();
    for (program, errno) in [("/no/such/program", 2), (plain.as_str(), 13)] {
        let attempt = Attempt::new(&[program]);
        let (mut child, reply) = attempt.start();
        assert_eq!(wait(&mut child), 0);
        assert!(matches!(reply, Some(Reply::ExecFailed { errno: Some(e), .. }) if e == errno), "{reply:?}");
        let outcome = attempt.exit().outcome;
        assert!(matches!(outcome, Outcome::ExecFailed { errno: Some(e), .. } if e == errno), "{outcome:?}");
    }
    let mut attempt = Attempt::sh("true");
    attempt.order.working_dir = "/no/such/folder".into();
    let outcome = attempt.run().outcome;
    assert!(
        matches!(&outcome, Outcome::ExecFailed { message, .. } if message.contains("working directory")),
        "{outcome:?}"
    );
}

#[test]
fn a_signal_is_told_from_an_exit_code() {
    let record = Attempt::sh("kill -KILL $$").run();
    assert_eq!((record.outcome, record.stopped_by), (Outcome::Signaled { signal: 9 }, None));
    assert_eq!(Attempt::sh("exit 137").run().outcome, Outcome::Exited { code: 137 });
}

#[test]
fn a_stop_is_obeyed() {
    let attempt = Attempt::sh("trap 'echo bye; exit 7' TERM; echo $$ > ready; while :; do sleep 0.02; done");
    let (mut child, _) = attempt.start();
    attempt.number("ready");
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(&mut child), 0);
    let record = attempt.exit();
    assert_eq!((record.outcome, record.stopped_by), (Outcome::Exited { code: 7 }, Some(StopCause::Request)));
    assert_eq!(attempt.text(Stream::Out), "bye\n");
}

#[test]
fn a_stop_that_is_ignored_becomes_a_kill_after_the_grace() {
    let mut attempt = Attempt::sh("trap '' TERM; echo $$ > ready; while :; do sleep 0.02; done");
    attempt.order.stop_grace_ms = 300;
    let (mut child, _) = attempt.start();
    attempt.number("ready");
    let before = fastflow_shim::clock::instant();
    signal(child.id(), Signal::INT);
    assert_eq!(wait(&mut child), 0);
    let took = before.elapsed().as_millis();
    let record = attempt.exit();
    assert_eq!(
        (record.outcome, record.stopped_by),
        (Outcome::Signaled { signal: 9 }, Some(StopCause::Request))
    );
    assert!((300..3_000).contains(&took), "{took} ms");
}

#[test]
fn a_kill_does_not_wait() {
    let mut attempt = Attempt::sh("trap '' TERM; echo $$ > ready; while :; do sleep 0.02; done");
    attempt.order.stop_grace_ms = 600_000;
    let (mut child, _) = attempt.start();
    attempt.number("ready");
    signal(child.id(), Signal::TERM);
    signal(child.id(), Signal::QUIT);
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.exit().outcome, Outcome::Signaled { signal: 9 });
}

#[test]
fn a_timeout_stops_and_a_request_overrides_its_cause() {
    let mut attempt = Attempt::sh("exec sleep 600");
    attempt.order.timeout_ms = Some(200);
    let record = attempt.run();
    assert_eq!(
        (record.outcome, record.stopped_by),
        (Outcome::Signaled { signal: 15 }, Some(StopCause::Timeout))
    );
    assert!((200_000..3_000_000).contains(&record.duration_us), "{}", record.duration_us);

    let mut attempt = Attempt::sh("trap 'echo $$ > told' TERM; while :; do sleep 0.02; done");
    attempt.order.timeout_ms = Some(100);
    attempt.order.stop_grace_ms = 600_000;
    let (mut child, _) = attempt.start();
    attempt.number("told");
    signal(child.id(), Signal::TERM);
    signal(child.id(), Signal::QUIT);
    wait(&mut child);
    assert_eq!(attempt.exit().stopped_by, Some(StopCause::Request));
}

#[test]
fn a_daemon_does_not_survive_and_holds_nothing_up() {
    // It leaves the session, is forked twice, ignores what can be ignored and keeps the output open.
    let attempt = Attempt::python(
        r"
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
        with open('daemon.new', 'w') as file: print(os.getpid(), file=file)
        os.rename('daemon.new', 'daemon')
        while True: time.sleep(1)
    os._exit(0)
os.wait()
while not os.path.exists('daemon'): time.sleep(0.01)
while not os.path.exists('seen'): time.sleep(0.01)
print('main is done')
",
    );
    let (mut child, _) = attempt.start();
    let daemon = attempt.number("daemon");
    let start = proc::start_time_ticks(daemon).unwrap();
    let boot = proc::boot_id().unwrap();
    fs::write(attempt.path().join("seen"), "").unwrap();
    assert_eq!(wait(&mut child), 0);
    assert!(!proc::is_alive(daemon, start, &boot).unwrap());
    let record = attempt.exit();
    assert_eq!(record.outcome, Outcome::Exited { code: 0 });
    assert!(record.log.complete);
    assert_eq!(attempt.text(Stream::Out), "main is done\n");
}

#[test]
fn orphans_are_waited_for_while_the_program_runs() {
    let attempt = Attempt::sh(
        "for i in 1 2 3 4 5 6 7 8; do (true &) ; done; echo $$ > ready; while ! test -e go; do sleep 0.02; done",
    );
    let (mut child, _) = attempt.start();
    attempt.number("ready");
    eventually("no child of the shim is a zombie", || {
        let listed = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
        let mut pids = listed.split_ascii_whitespace().map(|pid| pid.parse().unwrap());
        (!pids.any(|pid| proc::Stat::read(pid).is_ok_and(|stat| stat.is_zombie()))).then_some(())
    });
    fs::write(attempt.path().join("go"), "").unwrap();
    assert_eq!(wait(&mut child), 0);
}

#[test]
fn many_short_programs_lose_nothing() {
    for _ in 0..50 {
        let attempt = Attempt::sh("echo one; echo two >&2");
        assert_eq!(attempt.run().outcome, Outcome::Exited { code: 0 });
        assert_eq!(
            (attempt.text(Stream::Out), attempt.text(Stream::Err)),
            ("one\n".to_owned(), "two\n".to_owned())
        );
    }
}
