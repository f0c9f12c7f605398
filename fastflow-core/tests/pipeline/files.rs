//! A pipeline out of several files.

use fastflow_core::pipeline::*;

#[test]
fn inline_metadata_follows_pep_723() {
    let read = |text: &str| parse_script("main.py", text);
    let packages = |text: &str| read(text).0.and_then(|metadata| metadata.dependencies);
    assert_eq!(read("print()").0, None);
    assert_eq!(
        packages("#!/usr/bin/env python\n# /// script\n# dependencies = ['a']\n# ///"),
        Some(vec!["a".into()])
    );
    assert_eq!(packages("# /// script\r\n# dependencies = ['a']\r\n# ///\r\n"), Some(vec!["a".into()]));
    assert_eq!(
        packages("x = 1\n# /// script\n#\n# dependencies = [\n#   'a',\n# ]\n# ///\n"),
        Some(vec!["a".into()])
    );
    // The last end of the run of comments counts, and what is no comment ends it.
    let inner = "# /// script\n# dependencies = ['''\n# ///\n# ''']\n# ///\n# more\n";
    assert_eq!(packages(inner), Some(vec!["///\n".into()]));
    for none in [
        "#/// script\n# dependencies = ['a']\n# ///\n",
        "# ///script\n# dependencies = ['a']\n# ///\n",
        " # /// script\n# dependencies = ['a']\n# ///\n",
        "# /// script \n# dependencies = ['a']\n# ///\n",
        "# /// pyproject\n# dependencies = ['a']\n# ///\n",
    ] {
        assert_eq!(read(none).0, None, "{none}");
    }
    let (metadata, findings) = read("# /// script\n# dependencies = ['a']\n\n# ///\n");
    assert!(metadata.is_none() && findings[0].message.contains("no end"), "{findings:?}");
    let place = |text: &str| {
        let (metadata, findings) = read(text);
        assert!(metadata.is_none());
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let block = "# /// script\n# dependencies = ['a']\n# ///\n";
    assert!(place(&format!("{block}\n{block}")).starts_with("main.py:5:1: found a second"));
    assert!(place("# /// script\n# dependencies = [\n# ///\n").starts_with("main.py:2:"));
    assert!(
        place("# /// script\n#\n# requires-python = '/x'\n# ///\n")
            .starts_with("main.py:3:21: requires-python")
    );
    assert!(
        place("# /// script\n# dependencies = [1]\n# ///\n")
            .contains("main.py:2:19: dependencies[0]: found 1")
    );
    let fields = "# /// script\n# [tool.fastflow]\n# timeout = 'x'\n# tags = ['a', 1]\n# schedule_start = 2026-01-01\n# ///\n";
    let found = place(fields);
    assert!(
        found.contains("main.py:3:13: timeout: found \"x\"") && found.contains("main.py:4:16: tags[1]"),
        "{found}"
    );
    assert!(!found.contains("schedule_start: found"), "a TOML date is a date: {found}");
}

#[test]
fn a_manifest_and_a_script_are_merged_field_by_field() {
    let assemble = |manifest: &'static str, script: &'static str| {
        let texts = PipelineTexts {
            script: Some(("main.py", script)),
            manifest: Some(("pipeline.json", manifest)),
            ..PipelineTexts::default()
        };
        texts.assemble("etl".parse().unwrap())
    };
    let script = "# /// script\n# [tool.fastflow]\n# timeout = 5\n# limits = 3\n# ///\n";
    let pipeline = assemble(r#"{"retry_attempts": 2}"#, script).unwrap();
    assert_eq!(pipeline.definition.limits.timeout, Some(Timeout::from(5)));
    assert_eq!(pipeline.definition.retry.attempts, 2);
    assert_eq!(pipeline.warnings.len(), 1, "an unknown field warns: {:?}", pipeline.warnings);
    let both = assemble("{\"timeout\": 5}", script).unwrap_err();
    let text: Vec<String> = both.iter().map(ToString::to_string).collect();
    assert!(
        text.iter().any(|text| text.starts_with("main.py:3:3: timeout: is also set at pipeline.json:1:2")),
        "{text:?}"
    );
    // What is wrong in both files is told at once.
    let broken = assemble("{", "# /// script\n# [tool.fastflow]\n# timeout = -1\n# ///\n").unwrap_err();
    assert_eq!(broken.iter().filter(|found| found.is_error()).count(), 2, "{broken:?}");
}

#[test]
fn one_source_of_packages_is_used_and_the_others_are_named() {
    const BLOCK: &str = "# /// script\n# dependencies = ['a']\n# ///\n";
    let assemble = |script: &'static str, files: &[&str], project: Option<&'static str>| {
        let texts = PipelineTexts {
            script: Some(("main.py", script)),
            files: files.iter().map(ToString::to_string).collect(),
            project: project.map(|text| ("pyproject.toml", text)),
            ..PipelineTexts::default()
        };
        texts.assemble("etl".parse().unwrap()).unwrap()
    };
    let all = ["uv.lock", "pyproject.toml", "pylock.toml", "requirements.txt.lock", "requirements.txt"];
    let project = Some("[project]\nname = 'x'\nrequires-python = '>=3.11'\n");
    let expected = [
        DependencySource::UvLock { dir: "".into() },
        DependencySource::Project { dir: "".into() },
        DependencySource::Pylock { path: "pylock.toml".into() },
        DependencySource::RequirementsLock { path: "requirements.txt.lock".into() },
        DependencySource::Requirements { path: "requirements.txt".into() },
    ];
    assert_eq!(
        assemble(BLOCK, &all, project).dependencies,
        DependencySource::Script { path: "main.py".into() }
    );
    let full = assemble("", &all, project);
    assert_eq!((&full.dependencies, full.warnings.len()), (&expected[0], 1));
    assert_eq!(full.requires_python.unwrap().as_str(), ">=3.11");
    for (index, name) in all.iter().enumerate().skip(2) {
        assert_eq!(assemble("", &all[index..], None).dependencies, expected[index], "{name}");
    }
    assert_eq!(assemble("", &["pyproject.toml"], project).dependencies, expected[1]);
    assert_eq!(assemble("", &["pyproject.toml"], Some("[tool.ruff]\n")).dependencies, DependencySource::None);
    assert_eq!(assemble("", &["requirements.txt", "requirements.txt.lock"], None).warnings, []);
    assert_eq!(assemble("", &["uv.lock"], None).warnings.len(), 1);
    let none = assemble("# /// script\n# dependencies = []\n# ///\n", &["requirements.txt"], None);
    assert_eq!((none.dependencies, none.warnings.len()), (DependencySource::None, 1));
}
