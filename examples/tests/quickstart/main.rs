//! Runs `quickstart` as people do, and looks at what it prints, how it exits and what it leaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod demo;

use std::{fs, time::Duration};

use demo::Demo;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn what_ends_as_expected_exits_with_0() {
    let Some(demo) = Demo::new() else { return };
    demo.pipeline("greets", "import os\nprint('hello', os.environ['who'])\n");
    demo.pipeline("fails", "print('soon')\nraise SystemExit(3)\n");
    demo.expect("[fails]\nstatus = 'FAILED'\nreason = 'exit code 3'\nlines = 1\n");

    let ended = demo.start(&["--parameter", "who=you"]).wait(PATIENCE);

    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for line in ["greets | hello you", "fails  | soon", "fails  = FAILED: exit code 3"] {
        assert!(ended.text.contains(line), "{line:?} is missing in {}", ended.text);
    }
    assert!(ended.text.contains("Every pipeline ended as expected."), "{}", ended.text);
    assert!(!ended.text.contains('\u{1b}'), "no control sequences in a file: {:?}", ended.text);
}

#[test]
fn what_ends_otherwise_is_named_and_exits_with_1() {
    let Some(demo) = Demo::new() else { return };
    demo.pipeline("fails", "raise SystemExit(3)\n");
    demo.pipeline("odd", "print('never')\n");
    fs::write(demo.path("pipelines/odd/pipeline.json"), r#"{"timeout": "soon"}"#).unwrap();
    demo.expect("[fails]\nstatus = 'SUCCESS'\nfiles = ['result.csv']\n");

    let ended = demo.start(&[]).wait(PATIENCE);

    assert_eq!(ended.code, Some(1), "{}", ended.text);
    for line in [
        "fails: expected SUCCESS, was FAILED",
        "fails: expected as reason none, was exit code 3",
        "fails: expected the file result.csv, which is not there",
        "odd: expected SUCCESS, was REFUSED",
    ] {
        assert!(ended.text.contains(line), "{line:?} is missing in {}", ended.text);
    }
    assert!(!ended.text.contains("never"), "a broken definition is not run: {}", ended.text);
}

#[test]
fn what_programs_write_steers_no_terminal() {
    let Some(demo) = Demo::new() else { return };
    let program = r"
import sys
sys.stdout.buffer.write(b'\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m \xff\xfe\n')
sys.stdout.buffer.write(b' 10 %\r100 %\n')
sys.stderr.write('no newline at the end')
";
    demo.pipeline("rude", program);

    let ended = demo.start(&[]).wait(PATIENCE);

    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for line in ["rude | red \u{fffd}\u{fffd}\n", "rude | 100 %\n", "rude ! no newline at the end\n"] {
        assert!(ended.text.contains(line), "{line:?} is missing in {}", ended.text);
    }
}

#[test]
fn long_logs_are_shown_by_their_ends() {
    let Some(demo) = Demo::new() else { return };
    demo.pipeline("long", "for n in range(1000): print('line', n)\n");

    let ended = demo.start(&["--lines", "8"]).wait(PATIENCE);

    let lines: Vec<&str> = ended.text.lines().filter_map(|line| line.strip_prefix("long | line ")).collect();
    assert_eq!(lines, ["0", "1", "2", "3", "4", "5", "998", "999"], "{}", ended.text);
    assert!(ended.text.contains("long # ... 992 lines are not shown"), "{}", ended.text);
}

#[test]
fn one_interrupt_cancels_and_shows_the_table() {
    let Some(demo) = Demo::new() else { return };
    demo.pipeline("waits", demo::WAITS);
    let mut running = demo.start(&[]);
    running.wait_for("begun", PATIENCE);

    running.interrupt();
    let ended = running.wait(PATIENCE);

    assert_eq!(ended.code, Some(130), "{}", ended.text);
    assert!(ended.text.contains("waits = CANCELLED"), "{}", ended.text);
    assert!(ended.text.contains("peak memory"), "the table is missing: {}", ended.text);
    assert!(!demo.has_process(), "the program still runs");
}

#[test]
fn two_interrupts_let_go_and_the_next_start_goes_on() {
    let Some(demo) = Demo::new() else { return };
    demo.pipeline("stubborn", demo::STUBBORN);
    let mut running = demo.start(&[]);
    running.wait_for("begun", PATIENCE);

    running.interrupt();
    running.wait_for("Ctrl-C again", PATIENCE);
    running.interrupt();
    let ended = running.wait(PATIENCE);

    assert_eq!(ended.code, Some(130), "{}", ended.text);
    assert!(ended.text.contains("Letting go of what runs"), "{}", ended.text);
    assert!(demo.has_process(), "it was let go, not ended");

    let ended = demo.start(&[]).wait(PATIENCE);
    assert!(ended.text.contains("stubborn # goes on with run"), "{}", ended.text);
    assert!(ended.text.contains("stubborn = CANCELLED"), "{}", ended.text);
    assert!(!demo.has_process(), "the program still runs");
}

#[test]
fn a_killed_quickstart_loses_nothing() {
    let Some(demo) = Demo::new() else { return };
    demo.pipeline("waits", demo::WAITS);
    let mut running = demo.start(&[]);
    running.wait_for("begun", PATIENCE);

    running.kill();
    fs::write(demo.path("go"), "").unwrap();
    let ended = demo.start(&[]).wait(PATIENCE);

    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("waits # goes on with run"), "{}", ended.text);
    assert!(ended.text.contains("waits | done"), "{}", ended.text);
    let starts = fs::read_to_string(demo.path("starts")).unwrap();
    assert_eq!(starts.lines().count(), 1, "it was started more than once");
}
