//! What the documents show is what is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_readme_shows_the_program_and_the_pipeline_that_are_there() {
    let readme = read("README.md");
    for path in
        ["examples/embed.rs", "examples/pipelines/hello/main.py", "examples/pipelines/hello/pipeline.json"]
    {
        let code = read(path);
        // What stands before the first empty line is the page's own words.
        let code = code.split_once("\n\n").map_or(code.as_str(), |(_, code)| code);
        assert!(readme.contains(code.trim_end()), "README.md does not show {path} as it is");
    }
}

#[test]
fn the_first_program_is_short() {
    let code = read("examples/embed.rs");
    let lines = code.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("//!"));
    assert!(lines.count() < 20);
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for page in ["README.md", "CONTRIBUTING.md", "docs/guide/README.md", "examples/pipelines/README.md"] {
        let folder = root.join(page).parent().unwrap().to_owned();
        for target in read(page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !target.starts_with("http") && !path.is_empty() {
                assert!(folder.join(path).exists(), "{page} links to {target}, which is not there");
            }
        }
    }
}
