//! User code of an attempt starts at most once.

use std::fs;

use fastflow_shim::{Guard, GuardState, Reply, guard, layout, proc};

use crate::harness::{Attempt, wait};

#[test]
fn a_second_start_is_refused_and_changes_nothing() {
    let attempt = Attempt::sh("echo started >> witness");
    let first = attempt.run();
    let (mut child, reply) = attempt.start();
    assert_eq!(wait(&mut child), 65);
    let Some(Reply::Refused { guard: GuardState::Known(Guard::Taken { attempt: id, .. }) }) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!((id.as_str(), attempt.exit()), ("attempt-1", first));
    assert_eq!(fs::read_to_string(attempt.path().join("witness")).unwrap(), "started\n");
}

#[test]
fn of_sixteen_starters_one_starts() {
    let attempt = Attempt::sh("echo started >> witness");
    let mut commands: Vec<_> = (0..16).map(|_| Attempt::command(&["--order-fd", "0", "--reply"])).collect();
    let mut children: Vec<_> = commands.iter_mut().map(|command| command.spawn().unwrap()).collect();
    let order = attempt.order.to_vec().unwrap();
    for child in &mut children {
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &order).unwrap();
    }
    let codes: Vec<_> = children.iter_mut().map(wait).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(fs::read_to_string(attempt.path().join("witness")).unwrap(), "started\n");
    assert!(attempt.exit().log.complete);
}

#[test]
fn a_void_guard_refuses() {
    let attempt = Attempt::sh("echo started >> witness");
    assert_eq!(guard::void(attempt.path()).unwrap(), None);
    let (mut child, reply) = attempt.start();
    assert_eq!(wait(&mut child), 65);
    assert!(
        matches!(reply, Some(Reply::Refused { guard: GuardState::Known(Guard::Void { .. }) })),
        "{reply:?}"
    );
    assert!(!attempt.path().join("witness").exists());
    assert!(!attempt.has_exit());
}

#[test]
fn the_guard_names_the_shim_that_runs() {
    let attempt = Attempt::sh("echo go; read -r line < fifo");
    let made = std::process::Command::new("mkfifo").arg(attempt.path().join("fifo")).status().unwrap();
    assert!(made.success());
    let (mut child, reply) = attempt.start();
    let Some(Reply::Started { pid, start_time_ticks, boot_id, program_pid }) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(pid, child.id());
    assert!(proc::is_alive(pid, start_time_ticks, &boot_id).unwrap());
    assert_eq!(proc::Stat::read(program_pid).unwrap().parent, pid);
    let Some(GuardState::Known(Guard::Taken { pid: guarded, start_time_ticks: start, .. })) =
        guard::read(attempt.path()).unwrap()
    else {
        panic!()
    };
    assert_eq!((guarded, start), (pid, start_time_ticks));
    fs::write(attempt.path().join("fifo"), "\n").unwrap();
    assert_eq!(wait(&mut child), 0);
    assert!(!proc::is_alive(pid, start_time_ticks, &boot_id).unwrap());
    assert!(attempt.path().join(layout::EXIT).exists());
}
