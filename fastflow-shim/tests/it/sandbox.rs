//! What the program gets, and what it does not.

use std::{fs, os::unix::process::CommandExt as _};

use fastflow_shim::{Outcome, Reply, StopCause, Stream, proc};

use crate::harness::{Attempt, SHIM, eventually, wait};

#[test]
fn the_environment_is_the_orders_and_nothing_else() {
    let mut attempt = Attempt::new(&["/usr/bin/env"]);
    attempt.order.env.insert("ONLY".to_owned(), "this one\nhere".to_owned());
    let mut command = Attempt::command(&["--order-fd", "0", "--reply"]);
    command.env("HOST_TOKEN", "secret");
    let (mut child, _) = attempt.hand_over(&mut command);
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.text(Stream::Out), "ONLY=this one\nhere\n");
}

#[test]
fn standard_input_is_at_its_end_and_nothing_else_is_open() {
    let attempt = Attempt::sh("cat; ls /proc/$$/fd; readlink /proc/$$/fd/0");
    let mut command = Attempt::command(&["--order-fd", "0", "--reply"]);
    // What a careless host leaks.
    let leaked = fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let (mut child, _) = attempt.hand_over(&mut command);
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.text(Stream::Out), "0\n1\n2\n/dev/null\n");
}

#[test]
fn signals_are_as_they_are_at_login_and_the_group_is_its_own() {
    let mut attempt = Attempt::sh(
        "grep -E '^Sig(Blk|Ign)' /proc/self/status
        echo $(( $(cat /proc/self/oom_score_adj) - $(cat /proc/$PPID/oom_score_adj) )); ulimit -c; ulimit -n",
    );
    attempt.order.rlimits.open_files = Some(77);
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "trap '' HUP USR1 PIPE; exec \"$0\" --order-fd 0 --reply", SHIM])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .process_group(0);
    let (mut child, reply) = attempt.hand_over(&mut command);
    assert!(matches!(reply, Some(Reply::Started { .. })));
    assert_eq!(wait(&mut child), 0);
    // Two signals are the C library's own: it neither changes nor minds what was inherited for them.
    let text = attempt.text(Stream::Out).replace("SigIgn:\t0000000180000000", "SigIgn:\t0000000000000000");
    // The program goes before the shim when memory runs out, whichever of the two may change its own standing.
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n500\n0\n77\n");
}

#[test]
fn a_detached_shim_needs_no_host() {
    // The host is a shell that is killed; the deadline holds all the same.
    let mut attempt = Attempt::sh("trap 'echo stopped; exit 0' TERM; while :; do sleep 0.02; done");
    attempt.order.timeout_ms = Some(700);
    let order = attempt.path().join("order.json");
    fs::write(&order, attempt.order.to_vec().unwrap()).unwrap();
    let mut host = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            "\"$0\" --order-file \"$1\" --reply --detach; exec sleep 600",
            SHIM,
            order.to_str().unwrap(),
        ])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let reply = crate::harness::read_reply(&mut host);
    let Some(Reply::Started { pid, start_time_ticks, boot_id, .. }) = reply else { panic!("{reply:?}") };
    assert_ne!(proc::Stat::read(pid).unwrap().parent, host.id());
    let group = rustix::process::Pid::from_child(&host);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    host.wait().unwrap();
    assert!(proc::is_alive(pid, start_time_ticks, &boot_id).unwrap(), "it outlives its host");
    let record = attempt.exit_eventually();
    assert_eq!((record.outcome, record.stopped_by), (Outcome::Exited { code: 0 }, Some(StopCause::Timeout)));
    assert_eq!(attempt.text(Stream::Out), "stopped\n");
    eventually("the shim has ended", || {
        (!proc::is_alive(pid, start_time_ticks, &boot_id).unwrap()).then_some(())
    });
}

#[test]
fn a_host_that_dies_before_the_order_is_whole_starts_nothing() {
    let attempt = Attempt::sh("echo started > witness");
    let whole = attempt.order.to_vec().unwrap();
    let mut child = Attempt::command(&["--order-fd", "0", "--reply", "--detach"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &whole[..whole.len() - 1]).unwrap();
    drop(stdin);
    let reply = crate::harness::read_reply(&mut child);
    assert!(matches!(reply, Some(Reply::BadOrder { .. })), "{reply:?}");
    wait(&mut child);
    assert_eq!(fs::read_dir(attempt.path()).unwrap().count(), 0);
}
