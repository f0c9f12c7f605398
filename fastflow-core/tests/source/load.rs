//! What is loaded out of a folder, and what is refused.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use fastflow_core::{
    ErrorKind,
    pipeline::{DependencySource, PipelineKind},
    source::{PipelineSource, TreeLimits},
};

use super::{Place, errors, name, names_in, revision};

#[tokio::test]
async fn folders_and_single_files_are_pipelines_and_the_rest_is_not() {
    let place = Place::new();
    place.write("etl/main.py", "print(1)");
    place.write("etl/requirements.txt", "rich\n");
    place.write("etl/pipeline.json", r#"{"description": "daily", "timeout": 60}"#);
    place.write("named/main.py", "");
    place.write("named/named.json", r#"{"timeout": 7}"#);
    place.write("report/main.ipynb", "{}");
    place.write("report/pipeline.json", r#"{"type": "notebook"}"#);
    place.write("tool.py", "# /// script\n# dependencies = ['rich']\n# ///\n");
    place.write("shared/helpers.py", "");
    place.write(".hidden/main.py", "");
    place.write(".hidden.py", "");
    place.write("__pycache__/main.py", "");
    place.write("README.md", "");
    let catalog = place.source().catalog().await.unwrap();
    assert_eq!(catalog.warnings, []);
    let found: Vec<_> = catalog.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(found, ["etl", "named", "report", "tool"]);
    let loaded = |text: &str| Arc::clone(&catalog.get(&name(text)).unwrap().runnable().unwrap().pipeline);
    assert_eq!(loaded("etl").definition.description.as_deref(), Some("daily"));
    assert_eq!(
        loaded("etl").dependencies,
        DependencySource::Requirements { path: "requirements.txt".into() }
    );
    assert_eq!(loaded("named").definition.limits.timeout, Some(7.into()));
    assert_eq!(loaded("report").program.kind, PipelineKind::Notebook);
    assert_eq!(loaded("tool").program.entry, Path::new("tool.py"));
    assert_eq!(loaded("tool").dependencies, DependencySource::Script { path: "tool.py".into() });
}

#[tokio::test]
async fn a_broken_pipeline_is_visible_and_stops_no_other() {
    let place = Place::new();
    place.write("good/main.py", "");
    place.write("syntax/main.py", "");
    place.write("syntax/pipeline.json", "{\n  \"timeout\": 5,\n}");
    place.write("values/main.py", "# /// script\n# requires-python = 3\n# ///\n");
    place.write("values/pipeline.json", r#"{"timeout": "abc", "mem_hard_limit": "lots"}"#);
    place.write("empty/pipeline.json", "{}");
    place.write("book/main.ipynb", "{}");
    fs::create_dir_all(place.pipelines.join("folder/main.py")).unwrap();
    place.write("latin/main.py", "");
    fs::write(place.pipelines.join("latin/pipeline.json"), b"{\n \"description\": \"\xe4\"}").unwrap();
    let catalog = place.source().catalog().await.unwrap();
    let text = |pipeline: &str| errors(catalog.get(&name(pipeline)).unwrap());
    assert!(catalog.get(&name("good")).unwrap().runnable().is_ok());
    assert!(text("syntax").contains("pipeline.json:2:15: this is not JSON"), "{}", text("syntax"));
    let all = text("values");
    for part in
        ["pipeline.json:1:13: timeout: found \"abc\"", "mem_hard_limit", "main.py:2:21: requires-python"]
    {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(text("empty").contains("main.py: missing"));
    assert!(text("book").contains("set `type` to \"notebook\""));
    assert!(text("folder").contains("main.py: found a folder, expected a file"));
    assert!(
        text("latin").contains("pipeline.json:2:18: found a byte that is not UTF-8"),
        "{}",
        text("latin")
    );
    let refused = catalog.get(&name("values")).unwrap().runnable().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("timeout") && refused.to_string().contains("mem_hard_limit"));
}

#[tokio::test]
async fn odd_and_colliding_names_are_told() {
    let place = Place::new();
    for odd in ["ä/main.py", "a b/main.py", "-x.py", "x\n.py", "a\\b/main.py"] {
        place.write(odd, "");
    }
    place.write("not a pipeline/notes.txt", "");
    place.write("twin/main.py", "");
    place.write("twin.py", "");
    place.write("Job/main.py", "");
    place.write("job/main.py", "");
    place.write("CASE/notes.txt", "");
    place.write("case/main.py", "");
    let source = place.source();
    let catalog = source.catalog().await.unwrap();
    assert_eq!(catalog.warnings.len(), 5, "{:?}", catalog.warnings);
    assert!(catalog.warnings.iter().all(|found| found.message.contains("cannot be a pipeline's")));
    for (pipeline, other) in [("twin", "twin.py"), ("Job", "job"), ("job", "Job")] {
        let entry = catalog.get(&name(pipeline)).unwrap();
        assert!(errors(entry).contains(other), "{}", errors(entry));
        assert_eq!(&source.refresh(&name(pipeline)).await.unwrap(), entry);
    }
    assert!(catalog.get(&name("case")).unwrap().runnable().is_ok());
    assert_eq!(source.refresh(&name("nobody")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn links_that_leave_the_folder_are_refused_and_others_are_kept() {
    let place = Place::new();
    let outside = place.write("../secret/key.txt", "secret");
    place.write("good/main.py", "");
    place.write("good/data/a.txt", "a");
    symlink("data/a.txt", place.pipelines.join("good/link.txt")).unwrap();
    symlink("../main.py", place.pipelines.join("good/data/up.py")).unwrap();
    symlink("data", place.pipelines.join("good/alias")).unwrap();
    symlink("alias/../data/a.txt", place.pipelines.join("good/twisted")).unwrap();
    let hostile: &[(&str, &str)] = &[
        ("absolute", outside.to_str().unwrap()),
        ("dots", "../../secret/key.txt"),
        ("sibling", "../good/main.py"),
        ("missing", "nothing/../../good/main.py"),
    ];
    for (pipeline, target) in hostile {
        place.write(&format!("{pipeline}/main.py"), "");
        symlink(target, place.pipelines.join(pipeline).join("escape")).unwrap();
    }
    // Each single link looks harmless.
    place.write("chain/main.py", "");
    fs::create_dir_all(place.pipelines.join("chain/a/b")).unwrap();
    symlink("a/b", place.pipelines.join("chain/deep")).unwrap();
    symlink("deep/../../../secret", place.pipelines.join("chain/out")).unwrap();
    place.write("circle/main.py", "");
    symlink("two", place.pipelines.join("circle/one")).unwrap();
    symlink("one", place.pipelines.join("circle/two")).unwrap();
    symlink("good", place.pipelines.join("linked")).unwrap();
    symlink("good/main.py", place.pipelines.join("file.py")).unwrap();
    let source = place.source();
    let catalog = source.catalog().await.unwrap();
    for (pipeline, _) in hostile {
        let text = errors(catalog.get(&name(pipeline)).unwrap());
        assert!(text.starts_with("escape: this link to"), "{text}");
    }
    assert!(errors(catalog.get(&name("chain")).unwrap()).starts_with("out: this link"));
    assert!(errors(catalog.get(&name("circle")).unwrap()).contains("goes in a circle"));
    assert!(errors(catalog.get(&name("linked")).unwrap()).contains("found a link"));
    assert!(errors(catalog.get(&name("file")).unwrap()).contains("found a link"));
    let good = catalog.get(&name("good")).unwrap();
    let checkout = source.checkout(&revision(good), None).await.unwrap();
    assert_eq!(fs::read_link(checkout.join("link.txt")).unwrap(), Path::new("data/a.txt"));
    assert_eq!(fs::read_to_string(checkout.join("twisted")).unwrap(), "a");
    let everything = format!("{:?}", names_in(&place.snapshots));
    assert_eq!(names_in(&place.snapshots).len(), 1, "only the good one is copied: {everything}");
}

#[tokio::test]
async fn special_files_and_too_much_are_refused() {
    let place = Place::new();
    place.write("fifo/main.py", "");
    let fifo = place.pipelines.join("fifo/sub/pipe");
    fs::create_dir(fifo.parent().unwrap()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    place.write("socket/main.py", "");
    let _socket = std::os::unix::net::UnixListener::bind(place.pipelines.join("socket/s")).unwrap();
    let pipe = place.pipelines.join("pipe.py");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    place.write("deep/main.py", "");
    place.write("deep/1/2/3/4/file", "");
    place.write("many/main.py", "");
    (0..10).for_each(|n| drop(place.write(&format!("many/{n}"), "")));
    place.write("large/main.py", &"#".repeat(2000));
    place.write("good/main.py", "");
    // What is no part of a pipeline does not count, either.
    (0..20).for_each(|n| drop(place.write(&format!("good/.venv/lib/{n}.py"), "")));
    place.write("good/1/2/3/file", "");
    let limits = TreeLimits { max_files: 10, max_bytes: 1999, max_depth: 3 };
    let catalog = place.source().with_limits(limits).catalog().await.unwrap();
    let cases = [
        ("fifo", "sub/pipe: found a named pipe"),
        ("socket", "s: found a socket"),
        ("pipe", "pipe.py: found a pipe"),
        ("deep", "1/2/3/4: found more than 3 folders"),
        ("many", "found more than 10 files"),
        ("large", "found more than 1999 bytes"),
    ];
    for (pipeline, part) in cases {
        let text = errors(catalog.get(&name(pipeline)).unwrap());
        assert!(text.contains(part), "{pipeline}: {text}");
    }
    assert!(catalog.get(&name("good")).unwrap().runnable().is_ok());
}
