//! A corpus of hostile trees: each breaks its own pipeline, with the path and the rule, and does nothing else.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Item, Place, entry, file, findings, folder, lines, pipeline_with, revision, tree_entry};
use crate::source::SyncFailureKind;

/// What it is, the pipeline, and what the finding says.
type Row = (&'static str, Item, &'static [&'static str]);

fn named(name: &[u8]) -> Item {
    pipeline_with(name, file("x"))
}

fn linked(target: &'static str) -> Item {
    pipeline_with(b"link", Item::Link(target))
}

fn names() -> Vec<Row> {
    vec![
        ("an empty name", named(b""), &["this name is empty"]),
        ("the folder itself", named(b"."), &["stands for another folder"]),
        (
            "the folder above",
            pipeline_with(b"..", folder([("x", file("x"))])),
            &["..", "stands for another folder"],
        ),
        ("a path", named(b"../../escaped"), &["escaped", "a slash or a backslash"]),
        ("an absolute path", named(b"/tmp/fastflow-escaped"), &["a slash or a backslash"]),
        ("a path of Windows", named(b"..\\..\\escaped"), &["a slash or a backslash"]),
        ("a line break", named(b"a\nb"), &["a\\nb", "a control character"]),
        ("an escape sequence", named(b"\x1b]0;x\x07"), &["\\u{1b}", "a control character"]),
        ("bytes that are no text", named(b"a\xff\xfe"), &["not UTF-8"]),
        ("a name of 256 bytes", named(&[b'n'; 256]), &["longer than 255 bytes"]),
        (
            "git's folder",
            pipeline_with(b".git", folder([("config", file("x"))])),
            &[".git", "git's own folder"],
        ),
        (
            "git's folder in capitals",
            pipeline_with(b".GIT", folder([("config", file("x"))])),
            &[".GIT", "git's own"],
        ),
        ("git's folder with a dot", named(b".git."), &["git's own folder"]),
        ("git's folder with a space", named(b".git "), &["git's own folder"]),
        ("git's short name", named(b"git~1"), &["git~1", "git's own folder"]),
        ("git's folder as a stream", named(b".git::$INDEX_ALLOCATION"), &["git's own folder"]),
        ("git's folder with what is ignored", named(".g\u{200c}it".as_bytes()), &["git's own folder"]),
        (
            "git's folder, deep",
            pipeline_with(b"a", folder([("b", folder([(".Git", file("x"))]))])),
            &["a/b/.Git"],
        ),
        ("a device", named(b"NUL"), &["NUL", "a device on Windows"]),
        ("a device with an ending", named(b"con.txt"), &["con.txt", "a device on Windows"]),
        ("a numbered device", named(b"Com1.tar.gz"), &["a device on Windows"]),
        ("a dot at the end", named(b"file."), &["ends in a dot or a space"]),
        ("a space at the end", named(b"file "), &["ends in a dot or a space"]),
    ]
}

fn collisions() -> Vec<Row> {
    let two = |one: &str, other: &str| folder([("main.py", file("")), (one, file("1")), (other, file("2"))]);
    vec![
        ("the same name twice", two("a", "a"), &["a: ", "appears twice"]),
        (
            "a file and a folder of one name",
            folder([("main.py", file("")), ("a", file("1")), ("a", folder([("b", file("2"))]))]),
            &["appears twice"],
        ),
        (
            "a link and a folder of one name",
            folder([("main.py", file("")), ("a", Item::Link("..")), ("a", folder([("b", file("2"))]))]),
            &["appears twice"],
        ),
        ("case", two("Job", "job"), &["job: ", "\"Job\"", "case or the form of accents"]),
        ("case beyond ASCII", two("straße", "STRASSE"), &["STRASSE: ", "\"straße\""]),
        ("forms of accents", two("\u{e4}", "a\u{308}"), &["a\u{308}", "\u{e4}", "the form of accents"]),
        (
            "case of folders, with a link in it",
            folder([("main.py", file("")), ("A", Item::Link("/tmp")), ("a", folder([("x", file("x"))]))]),
            &["\"A\"", "case"],
        ),
    ]
}

fn links() -> Vec<Row> {
    vec![
        ("a link above", linked("../other/main.py"), &["link: ", "leaves the folder"]),
        ("a link above by a detour", linked("a/../../x"), &["leaves the folder"]),
        ("an absolute link", linked("/etc/passwd"), &["link: ", "is absolute"]),
        (
            "a link through a link",
            folder([
                ("main.py", file("")),
                ("one", Item::Link("sub/two")),
                ("sub", folder([("two", Item::Link("../.."))])),
            ]),
            &["leaves the folder"],
        ),
        (
            "a circle of links",
            folder([("main.py", file("")), ("one", Item::Link("two")), ("two", Item::Link("one"))]),
            &["goes in a circle"],
        ),
        ("an empty link", linked(""), &["1 to 1024 bytes"]),
        ("a link with a NUL", linked("a\0/../.."), &["plain text"]),
        (
            "a very long link",
            pipeline_with(b"link", Item::Odd("120000", Box::new(Item::File(vec![b'a'; 5000])))),
            &["1024 bytes"],
        ),
        (
            "a link that is the script",
            folder([("main.py", Item::Link("../good/main.py"))]),
            &["leaves the folder"],
        ),
    ]
}

fn modes() -> Vec<Row> {
    let odd = |mode| pipeline_with(b"odd", Item::Odd(mode, Box::new(file("x"))));
    vec![
        (
            "a submodule",
            pipeline_with(b"sub", Item::Object("160000", "8a".repeat(20))),
            &["sub: ", "a submodule, which is not fetched"],
        ),
        ("a device's mode", odd("020644"), &["odd: ", "the mode 20644"]),
        ("a setuid program", odd("104755"), &["the mode 104755"]),
        ("a file that all may write", odd("100666"), &["the mode 100666"]),
        ("no mode", odd("0"), &["the mode 0"]),
        ("an absurd mode", odd("177777"), &["the mode 177777"]),
        ("a mode that is no number", odd("1006x4"), &["cannot be decoded"]),
        (
            "a folder that is a file",
            pipeline_with(b"odd", Item::Odd("40000", Box::new(file("x")))),
            &["odd: ", "a blob here, expected a tree"],
        ),
        (
            "a file that is a folder",
            pipeline_with(b"odd", Item::Odd("100644", Box::new(folder([("x", file("x"))])))),
            &["a tree here, expected a blob"],
        ),
        (
            "a list of names that is cut",
            pipeline_with(b"odd", Item::RawTree(b"100644 a\0short".to_vec())),
            &["odd: ", "cannot be decoded"],
        ),
        ("a list of names that is noise", Item::RawTree(b"\xff\xfe\0\x01".to_vec()), &["cannot be decoded"]),
        (
            "a pointer of LFS",
            pipeline_with(
                b"data.bin",
                file("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
            ),
            &["data.bin: ", "a pointer of Git LFS"],
        ),
        (
            "a pointer of LFS as a script",
            folder([("main.py", file("version https://hawser.github.com/spec/v1\noid x\n"))]),
            &["main.py: ", "Git LFS"],
        ),
    ]
}

#[test]
fn each_hostile_tree_breaks_its_own_pipeline_and_touches_nothing_else() {
    let place = Place::new();
    let victim = place.dir.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    let good = folder([("main.py", file("print('good')\n")), ("lib", folder([("a.py", file("a = 1\n"))]))]);
    for (what, hostile, expected) in [names(), collisions(), links(), modes()].concat() {
        let commit = place.commit(&folder([("good", good.clone()), ("hostile", hostile)]));
        let before = place.surroundings();
        let read = place.try_read(&commit, None).unwrap_or_else(|failure| panic!("{what}: {failure}"));
        let after = place.surroundings();
        assert!(after == before, "{what}: something outside the snapshots was written");
        let found = findings(&read, "hostile");
        for words in expected {
            assert!(found.contains(words), "{what}: \"{words}\" is not in:\n{found}");
        }
        let revision = revision(&read, "good");
        assert_eq!(place.snapshots.revisions().unwrap(), std::slice::from_ref(&revision), "{what}");
        assert_eq!(place.snapshots.partials().unwrap().len(), 0, "{what}");
        let script = fs::read_to_string(place.snapshots.path(&revision).join("main.py")).unwrap();
        assert_eq!(script, "print('good')\n", "{what}");
    }
    assert!(!std::path::Path::new("/tmp/fastflow-escaped").exists());
}

#[test]
fn bad_names_at_the_top_are_warnings() {
    let place = Place::new();
    let good = || folder([("main.py", file("print(1)\n"))]);
    let commit = place.commit(&folder([
        ("good", good()),
        (".", good()),
        ("..", good()),
        (".git", good()),
        ("GIT~1", good()),
        ("a/b", good()),
        ("CON", good()),
        ("nul.py", file("print(1)\n")),
        ("two words", good()),
        (".hidden", good()),
        ("venv", good()),
        ("README ", file("just odd")),
        ("module", Item::Object("160000", "8a".repeat(20))),
        ("device", Item::Odd("020644", Box::new(file("")))),
    ]));
    let read = place.read(&commit);
    let names: Vec<&str> = read.catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["good"]);
    let warnings = lines(&read.catalog.warnings);
    for words in [
        ".: ",
        "..: ",
        ".git: ",
        "GIT~1: ",
        "a/b: ",
        "CON: ",
        "nul.py: ",
        "two words: ",
        "README : ",
        "module: ",
        "a submodule",
        "device: ",
        "the mode 20644",
    ] {
        assert!(warnings.contains(words), "\"{words}\" is not in:\n{warnings}");
    }
    assert!(!warnings.contains("hidden") && !warnings.contains("venv"), "{warnings}");
    assert!(read.catalog.warnings.iter().all(|warning| !warning.is_error()));
}

#[test]
fn odd_entries_at_the_top_are_broken_pipelines_where_they_would_be_ones() {
    let place = Place::new();
    let main = || folder([("main.py", file("print(1)\n"))]);
    let commit = place.commit(&folder([
        ("alias", Item::Link("good")),
        ("astray", Item::Link("nontree/below")),
        ("away", Item::Link("../../good")),
        ("both", main()),
        ("both.py", file("print(1)\n")),
        ("broken", Item::RawTree(b"100644 main.py".to_vec())),
        ("Case", main()),
        ("case", main()),
        ("device.py", Item::Odd("020644", Box::new(file("")))),
        ("good", main()),
        ("nontree", Item::Odd("40000", Box::new(file("no list of names")))),
        ("notes", folder([("readme.txt", file("no pipeline"))])),
        ("pointer.py", file("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")),
        ("script.py", Item::Link("good/main.py")),
        ("single.py", Item::Odd("100664", Box::new(file("print(1)\n")))),
        ("twice", main()),
        ("twice", main()),
    ]));
    let read = place.read(&commit);
    let names: Vec<&str> = read.catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    let all = [
        "Case", "alias", "both", "broken", "case", "device", "good", "nontree", "pointer", "script",
        "single", "twice",
    ];
    assert_eq!(names, all);
    for (name, words) in [
        ("alias", "found a link"),
        ("both", "both.py would be the same pipeline"),
        ("broken", "cannot be decoded"),
        ("Case", "case would be the same pipeline"),
        ("case", "Case would be the same pipeline"),
        ("device", "the mode 20644"),
        ("nontree", "a blob here, expected a tree"),
        ("pointer", "Git LFS"),
        ("script", "found a link"),
        ("twice", "twice would be the same pipeline"),
    ] {
        let found = findings(&read, name);
        assert!(found.contains(words), "{name}: {found}");
    }
    assert!(entry(&read, "good").runnable().is_ok());
    assert!(entry(&read, "single").runnable().is_ok());
}

#[test]
fn nothing_that_the_repository_asks_for_is_executed_or_converted() {
    let place = Place::new();
    let canary = place.dir.path().join("canary");
    let command = format!("touch {}", canary.display());
    for key in
        ["core.fsmonitor", "filter.evil.smudge", "filter.evil.process", "core.sshCommand", "diff.external"]
    {
        place.git(&["config", key, &command], b"");
    }
    place.git(&["config", "core.autocrlf", "true"], b"");
    place.git(&["config", "core.hooksPath", "hooks"], b"");
    for hook in ["post-checkout", "post-index-change", "reference-transaction"] {
        let path = place.repo().join("hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{command}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let attributes = "* filter=evil\n*.py text eol=crlf ident working-tree-encoding=UTF-16\n";
    let commit = place.commit(&folder([
        (".gitattributes", file(attributes)),
        ("etl", folder([(".gitattributes", file(attributes)), ("main.py", file("# $Id$\nprint(1)\n"))])),
    ]));
    assert!(!canary.exists());
    let read = place.read(&commit);
    let snapshot = place.snapshots.path(&revision(&read, "etl"));
    assert_eq!(fs::read_to_string(snapshot.join("main.py")).unwrap(), "# $Id$\nprint(1)\n");
    assert_eq!(fs::read_to_string(snapshot.join(".gitattributes")).unwrap(), attributes);
    assert!(!canary.exists());
}

#[test]
fn a_repository_that_lacks_what_it_names_is_damaged_as_a_whole() {
    let place = Place::new();
    let commit =
        place.commit(&folder([("etl", pipeline_with(b"gone", Item::Object("100644", "8a".repeat(20))))]));
    assert_eq!(place.try_read(&commit, None).unwrap_err().kind, SyncFailureKind::Corrupt);
    let commit = place.commit(&folder([("etl", file("x"))]));
    let id = commit.id.as_str();
    fs::remove_file(place.repo().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    assert_eq!(place.try_read(&commit, None).unwrap_err().kind, SyncFailureKind::Corrupt);
    // Bytes that are no object at all.
    let (mode, blob) = place.write(&file("print('damaged later')\n"));
    let tree = place.write(&Item::RawTree(tree_entry(mode, b"main.py", &blob))).1;
    let commit = place.commit(&folder([("etl", Item::Object("40000", tree))]));
    let path = place.repo().join("objects").join(&blob[..2]).join(&blob[2..]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, b"noise").unwrap();
    let failure = place.try_read(&commit, None).unwrap_err();
    assert_eq!(failure.kind, SyncFailureKind::Corrupt, "{failure}");
    assert_eq!(place.snapshots.partials().unwrap().len(), 0);
}
