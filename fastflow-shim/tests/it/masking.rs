//! What a program says of its secrets, and what of it can be read.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::PathBuf};

use fastflow_shim::{Outcome, Secret, Stream, layout};
use rustix::process::Signal;

use crate::{
    encodings::forms,
    harness::{Attempt, eventually, signal, wait},
};

const SECRET: &str = "s3cr\u{e9}t/of 'ten' \"things\"";

fn with_secret(mut attempt: Attempt) -> Attempt {
    attempt.order.secret_env.insert("TOKEN".to_owned(), Secret::new(SECRET));
    attempt
}

/// What the shim itself said.
fn said(attempt: &Attempt) -> Vec<String> {
    let records = attempt.records().into_iter().filter(|record| record.stream == Stream::Shim);
    records.map(|record| record.text.unwrap().into_owned()).collect()
}

/// Nothing in the run directory has any part of this.
fn nowhere(attempt: &Attempt, text: &str) {
    for entry in fs::read_dir(attempt.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(memchr::memmem::find(&bytes, text.as_bytes()).is_none(), "{} has it", path.display());
        }
    }
}

/// Waits until the log has this, and gives it back.
fn shown(attempt: &Attempt, text: &str) -> String {
    let log = attempt.path().join(layout::LOG);
    eventually(&format!("{text} is there"), || fs::read_to_string(&log).ok().filter(|log| log.contains(text)))
}

#[test]
fn secrets_are_masked_in_both_streams_however_they_are_written() {
    let script = r#"
import base64, json, os, sys, time
token = os.environ["TOKEN"]
for number in 1, 2:
    os.write(number, f"raw {token}!\n".encode())
    os.write(number, f"{token!r} {token!a} {token.encode()!r} {json.dumps(token)}\n".encode())
    os.write(number, base64.b64encode(token.encode()) + b"\n" + token.encode().hex().encode() + b"\n")
    for byte in b"split " + token.encode() + b" by bytes\n": os.write(number, bytes([byte]))
    os.write(number, token.encode() + b"\n" + token.encode()[:9] + b"\n")
sys.exit(3)
"#;
    let attempt = with_secret(Attempt::python(script));
    let record = attempt.run();
    assert_eq!(record.outcome, Outcome::Exited { code: 3 });
    assert!(record.log.complete);
    let start: String = String::from_utf8_lossy(&SECRET.as_bytes()[..9]).into_owned();
    let expected =
        format!("raw ***!\n'***' '***' b'***' \"***\"\n***==\n***\nsplit *** by bytes\n***\n{start}\n");
    assert_eq!(attempt.text(Stream::Out), expected);
    assert_eq!(attempt.text(Stream::Err), expected);
    assert_eq!(record.log.masked, 2 * 9);
    nowhere(&attempt, SECRET);
}

#[test]
fn no_form_of_a_secret_reaches_the_log() {
    let forms = forms(&[SECRET.as_bytes().to_vec()]);
    let attempt = with_secret(Attempt::sh("cat input; cat input >&2"));
    let mut input = Vec::new();
    for form in &forms {
        input.extend([&*form.before, &*form.body, &*form.after, b"\n"].concat());
    }
    attempt.write("input", &input);
    let record = attempt.run();
    assert_eq!(record.log.masked, 2 * u64::try_from(forms.len()).unwrap());
    let out = attempt.bytes(Stream::Out);
    for form in &forms {
        assert!(
            memchr::memmem::find(&out, &form.body).is_none(),
            "{:?}",
            String::from_utf8_lossy(&form.body)
        );
    }
}

#[test]
fn what_cannot_begin_a_secret_is_shown_while_the_program_waits() {
    let script = r#"printf 'Name: '; while ! test -e go; do sleep 0.02; done
        printf %s "$TOKEN" | head -c 5; echo five >&2; while ! test -e on; do sleep 0.02; done
        printf %s "$TOKEN" | tail -c +6; while ! test -e end; do sleep 0.02; done"#;
    let attempt = with_secret(Attempt::sh(script));
    let (mut child, _) = attempt.start();
    shown(&attempt, "Name: ");
    attempt.write("go", b"");
    // Each stream is read before the other one is shown.
    assert!(!shown(&attempt, "five").contains("s3cr"));
    attempt.write("on", b"");
    // All of it has come, and so it is no beginning any more.
    assert!(!shown(&attempt, "***").contains("s3cr"));
    attempt.write("end", b"");
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.text(Stream::Out), "Name: ***");
    assert_eq!(attempt.exit().log.masked, 1);
}

#[test]
fn a_program_that_is_killed_leaves_no_secret() {
    for by_itself in [true, false] {
        let end = if by_itself { "kill -KILL $$" } else { "echo $$ > ready; exec sleep 600" };
        let attempt =
            with_secret(Attempt::sh(&format!(r#"printf 'x%s' "$TOKEN" >&2; printf %s "$TOKEN"; {end}"#)));
        let (mut child, _) = attempt.start();
        if !by_itself {
            attempt.number("ready");
            signal(child.id(), Signal::QUIT);
        }
        assert_eq!(wait(&mut child), 0);
        let record = attempt.exit();
        assert_eq!(record.outcome, Outcome::Signaled { signal: 9 });
        assert_eq!((attempt.text(Stream::Out).as_str(), attempt.text(Stream::Err).as_str()), ("***", "x***"));
        assert_eq!(record.log.masked, 2);
        nowhere(&attempt, SECRET);
    }
}

#[test]
fn short_secrets_are_named_and_not_masked() {
    let mut attempt = Attempt::sh("echo $PIN; echo $LONG; cat $FASTFLOW_SECRETS_DIR/CODE");
    attempt.order.secret_env = [("PIN", "12345"), ("LONG", "123456")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .into();
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut files = fastflow_shim::SecretFiles::new(place.path().join("secrets"));
    files.files = BTreeMap::from([("CODE".to_owned(), Secret::new("abcde"))]);
    attempt.order.secret_files = Some(files);
    attempt.run();
    assert_eq!(attempt.text(Stream::Out), "12345\n***\nabcde");
    let said = said(&attempt);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("PIN") && said[1].contains("CODE"), "{said:?}");
    assert!(!said.concat().contains("12345") && !said.concat().contains("abcde"), "{said:?}");
}

#[test]
fn a_program_adds_secrets_while_it_runs() {
    let script = r"
import os, time
marks = 0
def say(number, *pieces):
    global marks
    for piece in pieces:
        os.write(number, piece.encode())
        # Each stream is read before the other one is shown: then this piece has come, and has come alone.
        os.write(3 - number, b'mark\n')
        marks += 1
        while open('log.ndjson').read().count('mark') < marks: time.sleep(0.001)
say(1, 'before added-by-out\n')
say(1, '::add-', 'mask::added-', 'by-out', '\r\n', 'added-by-out\n')
say(1, 'x ::add-mask::in-the-middle\nin-the-middle\n')
say(1, '::add-mask::short\n', ' ::add-mask::indented\n')
say(1, '::add-masc\n::\n::add-mask')
say(1, 'ed\n')
say(2, 'added-by-out YWRkZWQtYnktb3V0\n::add-mask::at-the-end')
";
    let attempt = Attempt::python(script);
    attempt.run();
    let text = |stream| attempt.text(stream).replace("mark\n", "");
    assert_eq!(
        text(Stream::Out),
        "before added-by-out\n::add-mask::***\n***\nx ::add-mask::in-the-middle\nin-the-middle\n\
         ::add-mask::***\n ::add-mask::indented\n::add-masc\n::\n::add-masked\n"
    );
    assert_eq!(text(Stream::Err), "*** ***\n::add-mask::***");
    nowhere(&attempt, "at-the-end");
    nowhere(&attempt, "::add-mask::short");
    let said = said(&attempt);
    assert!(said.len() == 1 && said[0].contains("less than 6 bytes"), "{said:?}");
    assert_eq!(attempt.exit().log.masked, 6);
}

#[test]
fn a_value_added_on_one_stream_is_masked_in_what_comes_afterwards_on_the_other() {
    // Each value is written at once after it was added, while the shim does now this and now that: it sleeps, lets a pipe
    // fill, or is busy with other output.
    let script = r"
import os, random, sys, time
random.seed(int(sys.argv[1]))
for number in range(40):
    add, show = random.sample([1, 2], 2)
    for stream in random.choice([[], [add], [show], [add, show], [show, add]]):
        os.write(stream, b'before\n' * random.choice(7 * [1] + [9000]))
    end = time.perf_counter() + random.choice([0, 0, 0.0003, 0.002])
    while time.perf_counter() < end: pass
    value = f'value-{number:04}'.encode()
    before = random.choice([b'', b'before\n'])
    os.write(add, before + b'::add-mask::' + value + b'\n')
    os.write(show, value + b'\n')
    os.write(add, value + b'\n')
";
    for seed in 0..10 {
        let mut attempt = Attempt::python(script);
        attempt.order.argv.push(seed.to_string());
        let record = attempt.run();
        assert_eq!(record.outcome, Outcome::Exited { code: 0 });
        nowhere(&attempt, "value-");
        assert_eq!(record.log.masked, 3 * 40);
        assert!(said(&attempt).is_empty(), "{:?}", said(&attempt));
        for stream in [Stream::Out, Stream::Err] {
            let text = attempt.text(stream).replace("before\n", "");
            assert!(text.lines().all(|line| line == "***" || line == "::add-mask::***"), "{text}");
        }
    }
}

#[test]
fn a_value_is_not_shown_before_its_line_has_ended() {
    let script = r"printf 'first\n::add-mask::not-yet-ended'; while ! test -e on; do sleep 0.02; done
        printf 'no end' >&2; while ! test -e go; do sleep 0.02; done; printf '\nnot-yet-ended\n'";
    let attempt = Attempt::sh(script);
    let (mut child, _) = attempt.start();
    shown(&attempt, "first");
    attempt.write("on", b"");
    // What came later has waited long enough for its end.
    shown(&attempt, "no end");
    nowhere(&attempt, "add-mask");
    nowhere(&attempt, "not-yet");
    attempt.write("go", b"");
    assert_eq!(wait(&mut child), 0);
    assert_eq!(attempt.text(Stream::Out), "first\n::add-mask::***\n***\n");
}

#[test]
fn values_that_are_too_many_or_too_long_are_not_shown_either() {
    let script = "
print('::add-mask::' + 'long' * 20000)
print('after')
for number in range(300): print(f'::add-mask::value-{number:04}')
print('value-0000 value-0254 value-0299', end='')";
    let attempt = Attempt::python(script);
    attempt.run();
    let out = attempt.text(Stream::Out);
    let mask = "::add-mask::***\n";
    assert_eq!(out, format!("{mask}after\n{}*** *** value-0299", mask.repeat(300)));
    let said = said(&attempt);
    assert!(said[0].contains("65536 bytes"), "{said:?}");
    assert_eq!(said.len(), 1 + 300 - 256, "{said:?}");
}

/// Files of the program, in which the shim masks what it knows.
fn leaves(script: &str, names: &[&str]) -> Attempt {
    let mut attempt = with_secret(Attempt::sh(script));
    let inside = |name: &&str| attempt.order.working_dir.join(name);
    attempt.order.mask.files = names.iter().map(inside).collect::<Vec<PathBuf>>();
    attempt
}

#[test]
fn files_that_the_program_leaves_are_masked() {
    let script = r#"echo "{\"a\": \"$TOKEN\"}" > outputs.json; chmod 640 outputs.json; mkdir sub; echo plain > sub/other
        ln outputs.json also; ls -i sub/other | cut -d ' ' -f 1 > inode"#;
    let attempt = leaves(script, &["outputs.json", "sub/other", "missing", "nowhere/missing"]);
    let record = attempt.run();
    let dir = &attempt.order.working_dir;
    assert_eq!(fs::read_to_string(dir.join("outputs.json")).unwrap(), "{\"a\": \"***\"}\n");
    let metadata = fs::metadata(dir.join("outputs.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o640);
    assert_eq!(record.log.masked, 1);
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.join("sub/other")).unwrap());
    assert_eq!(u64::from(attempt.number("inode")), inode, "a file without a secret is left alone");
    // Whoever reads it finds something else than the program wrote, perhaps nothing that is JSON.
    let said = said(&attempt);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("masked in") && said[0].contains("/outputs.json") && said[0].contains("once"));
    assert!(
        !fs::read_dir(dir).unwrap().any(|entry| entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".masked"))
    );
}

#[test]
fn files_in_which_nothing_can_be_masked_are_removed() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, SECRET).unwrap();
    let script = r#"mkfifo pipe; mkdir folder; { head -c 1048576 /dev/zero; printf %s "$TOKEN"; } > large; ln -s "$OUTSIDE" way"#;
    let mut attempt = leaves(script, &["link", "pipe", "folder", "large", "way/victim"]);
    attempt.order.env.insert("OUTSIDE".to_owned(), outside.path().to_str().unwrap().to_owned());
    symlink(&victim, attempt.order.working_dir.join("link")).unwrap();
    let record = attempt.run();
    assert_eq!(record.outcome, Outcome::Exited { code: 0 });
    assert_eq!(fs::read_to_string(&victim).unwrap(), SECRET, "no link was followed");
    let dir = &attempt.order.working_dir;
    for (name, is_there) in
        [("link", false), ("pipe", false), ("large", false), ("folder", true), ("way", true)]
    {
        assert_eq!(fs::symlink_metadata(dir.join(name)).is_ok(), is_there, "{name}");
    }
    let said = said(&attempt);
    assert_eq!(said.len(), 5, "{said:?}");
    for (said, words) in said.iter().zip([
        "it is a link; it was removed",
        "no regular file; it was removed",
        "could not be removed",
        "more than 1048576 bytes; it was removed",
        "nothing in it was masked",
    ]) {
        assert!(said.contains(words), "{said:?}");
    }
}

#[test]
fn without_secrets_files_stay_as_they_are() {
    let mut attempt = Attempt::sh("ln -s /etc/hostname link; head -c 2000000 /dev/zero > large");
    attempt.order.mask.files = ["link", "large"].map(|name| attempt.order.working_dir.join(name)).into();
    attempt.run();
    assert_eq!(fs::metadata(attempt.order.working_dir.join("large")).unwrap().len(), 2_000_000);
    assert!(fs::symlink_metadata(attempt.order.working_dir.join("link")).unwrap().is_symlink());
}

#[test]
fn a_message_about_the_program_is_masked() {
    let attempt = with_secret(Attempt::new(&[&format!("/no/such/{SECRET}")]));
    let (mut child, reply) = attempt.start();
    assert_eq!(wait(&mut child), 0);
    assert!(!format!("{reply:?}").contains("of 'ten'") && format!("{reply:?}").contains("***"), "{reply:?}");
    let outcome = attempt.exit().outcome;
    assert!(
        matches!(&outcome, Outcome::ExecFailed { message, .. } if message.contains("/no/such/***: ")),
        "{outcome:?}"
    );
    nowhere(&attempt, "s3cr");
}
