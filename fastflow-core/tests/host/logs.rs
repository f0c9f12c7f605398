//! Reading what programs say: live, late, from anywhere.

use fastflow_core::{
    ErrorKind, Result,
    journal::{LogLine, LogStream, Offset},
    run::Status,
};
use futures::{StreamExt, TryStreamExt};

use crate::{
    kit::{Place, attempt, bytes, ended, log, refused, run, within},
    queue::GATE,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_resumes_at_every_position_without_gap_or_double() {
    let place = Place::new();
    place.pipeline(
        "chatty",
        "import sys\nfor i in range(20):\n    print('line', i)\n    print('err', i, file=sys.stderr)\n\
         sys.stdout.buffer.write(b'\\xff\\xfe\\n' + b'x' * 200_000 + b'\\n\\nend')\n",
    );
    let flow = place.start().await;
    let done = run(&flow, "chatty").await;
    let id = attempt(done.id, 1);
    let whole = log(&flow, id).await;
    let said = bytes(&whole, LogStream::Out);
    let expected: Vec<u8> = (0..20).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
    assert!(said.starts_with(&expected) && said.ends_with(b"x\n\nend"), "{}", said.len());
    assert_eq!(said.len(), expected.len() + 3 + 200_001 + 4);
    let mut begins = vec![Offset::START];
    begins.extend(whole.iter().map(|(after, _)| *after));
    for (index, begin) in begins.iter().enumerate() {
        let rest: Vec<_> = within("the rest", flow.runs().logs(id, *begin).try_collect()).await.unwrap();
        assert_eq!(rest, whole[index..], "from {begin}");
    }
    let size = begins.last().unwrap().bytes();
    for wrong in [1, size - 1, size + 1, u64::MAX] {
        let rest: Vec<Result<_>> =
            within("an error", flow.runs().logs(id, Offset::from_bytes(wrong)).collect()).await;
        assert!(
            matches!(rest.as_slice(), [Err(error)] if error.kind() == ErrorKind::Invalid),
            "{wrong}: {rest:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_lines_while_they_are_written_and_a_late_one_sees_them_all() {
    let place = Place::new();
    place.pipeline("live", &format!("print('first', flush=True)\n{GATE}\nprint('last')\n"));
    let flow = place.start().await;
    let running = flow.submit(place.ask("live")).await.unwrap();
    // It begins before there is anything to read.
    let mut early = flow.runs().follow(running.id);
    let first = within("the first line", async {
        loop {
            let entry = early.next().await.unwrap().unwrap();
            if entry.line.stream == LogStream::Out {
                break entry;
            }
        }
    })
    .await;
    assert_eq!((&*first.line.text(), first.attempt), ("first", attempt(running.id, 1)));
    assert_eq!(flow.runs().get(running.id).await.unwrap().status(), Status::Running);
    place.until_said("waiting").await;
    let late = flow.runs().logs(attempt(running.id, 1), Offset::START);
    place.write("go", "go");
    let out = |lines: Vec<LogLine>| {
        let lines = lines.into_iter().filter(|line| line.stream == LogStream::Out);
        lines.map(|line| line.text().into_owned()).collect::<Vec<_>>()
    };
    let late = late.map_ok(|(_, line)| line).try_collect();
    assert_eq!(out(within("the late reader to end", late).await.unwrap()), ["first", "last"]);
    let rest = early.map_ok(|entry| entry.line).try_collect();
    assert_eq!(out(within("the early reader to end", rest).await.unwrap()), ["last"]);
    // A reader of a run that ended long ago.
    let after = flow.runs().follow(running.id).map_ok(|entry| entry.line).try_collect();
    assert_eq!(out(within("a reader of the past to end", after).await.unwrap()), ["first", "last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_from_attempt_to_attempt() {
    let place = Place::new();
    place
        .pipeline(
            "again",
            "import os, sys\nn = os.environ['FASTFLOW_ATTEMPT']\nprint('attempt', n)\nsys.exit(n != '3')",
        )
        .file(
            "again/pipeline.json",
            r#"{"retry_attempts": 5, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
        );
    let flow = place.start().await;
    let accepted = flow.submit("again").await.unwrap();
    let lines = flow.runs().follow(accepted.id).try_collect::<Vec<_>>();
    let lines = within("all attempts to be followed", lines).await.unwrap();
    let out = lines.iter().filter(|entry| entry.line.stream == LogStream::Out);
    let seen: Vec<_> =
        out.map(|entry| (entry.attempt.number.get(), entry.line.text().into_owned())).collect();
    let expected: Vec<_> = (1..=3).map(|n| (n, format!("attempt {n}"))).collect();
    assert_eq!(seen, expected);
    assert_eq!(ended(&flow, accepted.id).await.status(), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_log_of_what_was_never_there() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = place.start().await;
    let done = run(&flow, "hello").await;
    let nobody = "019aa2f0-7c3c-7def-8000-000000000001".parse().unwrap();
    for missing in [attempt(done.id, 2), attempt(nobody, 1)] {
        let lines = flow.runs().logs(missing, Offset::START).try_collect::<Vec<_>>();
        refused(within("an error", lines).await, ErrorKind::NotFound, &[]);
    }
    let lines = flow.runs().follow(nobody).try_collect::<Vec<_>>();
    refused(within("an error", lines).await, ErrorKind::NotFound, &[]);
}
