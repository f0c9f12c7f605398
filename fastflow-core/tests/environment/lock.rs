//! All ways in which a pipeline may write down what it needs.

use std::fs;

use fastflow_core::{environment::EnvironmentFailureKind, pipeline::DependencySource};

use crate::lab::{Lab, prepare, request, requirements, run_in};

const VERSION: &str = "import tiny; print(tiny.VERSION)";

#[tokio::test(flavor = "multi_thread")]
async fn included_files_and_constraints_are_part_of_the_input() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    lab.wheel("tiny", "2.0", &[]);
    lab.wheel("other", "1.0", &["tiny"]);
    let builder = lab.environments();
    let files = [
        ("requirements.txt", "-r more/other.txt\n-c limits.txt\n"),
        ("more/other.txt", "other\n"),
        ("limits.txt", "tiny<2\n"),
    ];
    let folder = lab.pipeline("a", &files);
    let first = prepare(&builder, &requirements(&folder)).await.unwrap();
    assert_eq!(run_in(&first, VERSION), "1.0");
    fs::write(folder.join("limits.txt"), "tiny<3\n").unwrap();
    let second = prepare(&builder, &requirements(&folder)).await.unwrap();
    assert_eq!(run_in(&second, VERSION), "2.0");
    fs::write(folder.join("more/other.txt"), "tiny==1.0\n").unwrap();
    let third = prepare(&builder, &requirements(&folder)).await.unwrap();
    assert_eq!(run_in(&third, VERSION), "1.0");

    fs::write(folder.join("requirements.txt"), "-r ../../witness\n").unwrap();
    let failure = prepare(&builder, &requirements(&folder)).await.unwrap_err();
    assert_eq!(failure.kind, EnvironmentFailureKind::ResolutionFailed);
    assert!(failure.message.contains("leads out of the pipeline's folder"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_the_requirements_file_serves_the_installation_too() {
    let Some(lab) = Lab::new() else { return };
    let wheel = lab.wheel("tiny", "1.0", &[]);
    let mut config = lab.offline();
    config.extra_env.remove("UV_FIND_LINKS");
    let files = [("sub/requirements.txt", "--find-links ../packages\ntiny\n"), ("packages/readme", "")];
    let folder = lab.pipeline("a", &files);
    fs::copy(&wheel, folder.join("packages").join(wheel.file_name().unwrap())).unwrap();
    let source = DependencySource::Requirements { path: "sub/requirements.txt".into() };
    let builder = crate::lab::environments(config);
    let environment = prepare(&builder, &request(&folder, source)).await.unwrap();
    assert_eq!(run_in(&environment, VERSION), "1.0");

    let by_path = lab.pipeline("b", &[("requirements.txt", "./tiny-1.0-py3-none-any.whl\n")]);
    fs::copy(&wheel, by_path.join(wheel.file_name().unwrap())).unwrap();
    let environment = prepare(&builder, &requirements(&by_path)).await.unwrap();
    assert_eq!(run_in(&environment, VERSION), "1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_installed_as_it_is() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    lab.wheel("tiny", "2.0", &[]);
    let builder = lab.environments();
    let folder = lab.pipeline("a", &[("requirements.txt.lock", "tiny==1.0\n")]);
    let source = DependencySource::RequirementsLock { path: "requirements.txt.lock".into() };
    let environment = prepare(&builder, &request(&folder, source)).await.unwrap();
    assert_eq!(run_in(&environment, VERSION), "1.0");
    assert_eq!(lab.calls("pip compile"), 0, "a lock needs no resolution");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_carries_its_own_requirements_and_its_code_does_not_matter() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    lab.wheel("tiny", "2.0", &[]);
    let builder = lab.environments();
    let head = "# /// script\n# requires-python = \">=3.8\"\n# dependencies = [\"tiny<2\"]\n# ///\n";
    let folder = lab.pipeline("a", &[("main.py", &format!("{head}import tiny\n"))]);
    let source = DependencySource::Script { path: "main.py".into() };
    let environment = prepare(&builder, &request(&folder, source.clone())).await.unwrap();
    assert_eq!(run_in(&environment, VERSION), "1.0");
    let calls = lab.calls("");
    fs::write(folder.join("main.py"), format!("{head}print('other code')\n")).unwrap();
    assert_eq!(prepare(&builder, &request(&folder, source)).await.unwrap().id, environment.id);
    assert_eq!(lab.calls(""), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_works_with_and_without_its_lock_and_so_does_a_pylock() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    lab.wheel("tiny", "2.0", &[]);
    let builder = lab.environments();
    let project = |limit: &str| {
        format!(
            "[project]\nname = \"p\"\nversion = \"0\"\nrequires-python = \">=3.8\"\ndependencies = [\"tiny{limit}\"]\n"
        )
    };
    let folder = lab.pipeline("a", &[("pyproject.toml", &project("<2"))]);
    let source = DependencySource::Project { dir: "".into() };
    let environment = prepare(&builder, &request(&folder, source)).await.unwrap();
    assert_eq!(run_in(&environment, VERSION), "1.0");
    assert_eq!(crate::lab::files(&folder).len(), 1, "uv.lock was written into the pipeline's folder");

    let uv = |arguments: &[&str]| {
        let mut command = std::process::Command::new(fastflow_core::testing::tool::uv().unwrap());
        command.current_dir(&folder).args(arguments).envs(lab.offline().extra_env);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    uv(&["lock"]);
    let lock = uv(&["export", "--frozen", "--no-emit-project", "--format", "pylock.toml"]);
    let source = DependencySource::UvLock { dir: "".into() };
    let locked = prepare(&builder, &request(&folder, source)).await.unwrap();
    assert_eq!(run_in(&locked, VERSION), "1.0");

    let folder = lab.pipeline("b", &[("pylock.toml", &lock)]);
    let source = DependencySource::Pylock { path: "pylock.toml".into() };
    let pylock = prepare(&builder, &request(&folder, source)).await.unwrap();
    assert_eq!(run_in(&pylock, VERSION), "1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_change_under_a_run_is_refused_by_name() {
    let Some(lab) = Lab::new() else { return };
    let builder = lab.environments();
    let local = "[project]\nname = \"p\"\nversion = \"0\"\ndependencies = [\"q\"]\n[tool.uv.sources]\nq = { path = \"q\" }\n";
    let cases = [("-e ./q\n", "./q"), ("./q\n", "./q"), ("q @ file:q\n", "q")];
    for (text, name) in cases {
        let folder = lab.pipeline("a", &[("requirements.txt", text), ("q/pyproject.toml", "")]);
        let failure = prepare(&builder, &requirements(&folder)).await.unwrap_err();
        assert_eq!(failure.kind, EnvironmentFailureKind::ResolutionFailed, "{text}");
        assert!(failure.message.contains(&format!("`{name}`")), "{failure}");
        assert!(failure.help.as_deref().unwrap().contains("wheel"), "{failure}");
    }
    let folder = lab.pipeline(
        "b",
        &[
            ("pyproject.toml", local),
            ("uv.lock", "version = 1\nrevision = 3\nrequires-python = \">=3.8\"\n\n[[package]]\nname = \"p\"\nversion = \"0\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"q\" }]\n\n[package.metadata]\nrequires-dist = [{ name = \"q\", directory = \"q\" }]\n\n[[package]]\nname = \"q\"\nversion = \"0\"\nsource = { directory = \"q\" }\n"),
        ],
    );
    let failure = prepare(&builder, &request(&folder, DependencySource::UvLock { dir: "".into() })).await;
    let failure = failure.unwrap_err();
    assert!(failure.message.contains("`q` is a package in a directory"), "{failure}");
}
