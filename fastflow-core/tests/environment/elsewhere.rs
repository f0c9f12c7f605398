//! What a build in another place makes, and what it is given.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    environment::{
        Environment, EnvironmentBuilder, EnvironmentFailureKind as Kind, EnvironmentRequest, UvConfig,
        UvEnvironments,
    },
    pipeline::DependencySource,
};

use crate::{
    build::Shifted,
    lab::{Lab, Said, environments, files, prepare, python, request, requirements, run_in},
    place::Place,
};

pub(crate) fn place(lab: &Lab, identity: &str) -> Option<Arc<Place>> {
    Place::new(lab, identity).map(Arc::new)
}

pub(crate) fn there(place: &Arc<Place>, request: EnvironmentRequest) -> EnvironmentRequest {
    EnvironmentRequest { place: Arc::clone(place) as _, ..request }
}

/// The settings of the laboratory, with a uv that is only on this machine.
pub(crate) fn config(lab: &Lab) -> UvConfig {
    let mut config = lab.offline();
    config.uv = Some("/nowhere/uv".into());
    config
}

/// A source of a package that brings its own builder, which first does `then`.
pub(crate) fn source(lab: &Lab, name: &str, then: &str) {
    let backend = format!(
        "import os, zipfile
NAME = {name:?}
{then}
def get_requires_for_build_wheel(settings=None):
    return []
def build_wheel(to, settings=None, metadata=None):
    file, info = f'{{NAME}}-1.0-py3-none-any.whl', f'{{NAME}}-1.0.dist-info'
    with zipfile.ZipFile(os.path.join(to, file), 'w') as wheel:
        wheel.writestr(f'{{NAME}}.py', 'VERSION = \"1.0\"\\n')
        wheel.writestr(f'{{info}}/METADATA', f'Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 1.0\\n')
        wheel.writestr(f'{{info}}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        wheel.writestr(f'{{info}}/RECORD', '')
    return file
"
    );
    let pack = "import io, sys, tarfile
place, name, backend = sys.argv[1:]
files = {'PKG-INFO': f'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n', 'backend.py': backend,
    'pyproject.toml': '[build-system]\\nrequires = []\\nbuild-backend = \"backend\"\\nbackend-path = [\".\"]\\n'}
with tarfile.open(f'{place}/{name}-1.0.tar.gz', 'w:gz') as archive:
    for path, content in files.items():
        entry = tarfile.TarInfo(f'{name}-1.0/{path}')
        entry.size = len(content.encode())
        archive.addfile(entry, io.BytesIO(content.encode()))
";
    python(pack, &[lab.wheels().to_str().unwrap(), name, &backend]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_made_with_what_the_place_has_and_belongs_to_it_alone() {
    let Some(lab) = Lab::new() else { return };
    let (Some(one), Some(two)) = (place(&lab, "other-1"), place(&lab, "other-2")) else { return };
    lab.wheel("tiny", "1.0", &[]);
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let here = prepare(&lab.environments(), &requirements(&folder)).await.unwrap();
    let builder = environments(config(&lab));
    let first = prepare(&builder, &there(&one, requirements(&folder))).await.unwrap();
    let second = prepare(&builder, &there(&two, requirements(&folder))).await.unwrap();
    assert!(here.id != first.id && here.id != second.id && first.id != second.id);
    assert_eq!(run_in(&first, "import tiny; print(tiny.VERSION)"), "1.0");
    assert_eq!(first.reads, std::slice::from_ref(&first.directory));

    let inside = files(&first.directory);
    assert!(inside.iter().any(|path| path.extension().is_some_and(|ending| ending == "pyc")), "no bytecode");
    for path in &inside {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o222, 0, "{} is writable", path.display());
    }
    let record = fs::read_to_string(first.directory.join("fastflow-environment.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["place"], &record["packages"]), (&"other-1".into(), &1.into()));

    let calls = one.calls("").len();
    let again = there(&place(&lab, "other-1").unwrap(), requirements(&folder));
    for builder in [&builder, &environments(config(&lab))] {
        assert_eq!(prepare(builder, &again).await.unwrap(), Environment { built: false, ..first.clone() });
    }
    assert_eq!(one.calls("").len(), calls, "a known environment starts nothing, even in a new process");
    assert!(left(&lab).is_empty(), "{:?}", left(&lab));
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_the_index_work_elsewhere() {
    let Some(lab) = Lab::new() else { return };
    let Some(place) = place(&lab, "other-1") else { return };
    let folder = lab.pipeline("a", &[("requirements.txt", "six\nidna\nmarkupsafe\n")]);
    match prepare(&environments(lab.online()), &there(&place, requirements(&folder))).await {
        Ok(environment) => {
            assert_eq!(run_in(&environment, "import six, idna, markupsafe._speedups; print('ok')"), "ok");
            assert_eq!(place.calls("pip sync").len(), 1);
        }
        Err(failure) if failure.kind.is_transient() => {
            fastflow_core::testing::tool::require("pypi", &failure.to_string());
        }
        Err(failure) => panic!("{failure}"),
    }
}

/// What a build has left in the folder of environments that is hidden.
fn left(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.environments_dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_to_write_down_packages_work_elsewhere() {
    let Some(lab) = Lab::new() else { return };
    let Some(place) = place(&lab, "other-1") else { return };
    let wheel = lab.wheel("tiny", "1.0", &[]);
    lab.wheel("tiny", "2.0", &[]);
    let builder = environments(config(&lab));
    let script = "# /// script\n# requires-python = \">=3.8\"\n# dependencies = [\"tiny<2\"]\n# ///\n";
    let project = "[project]\nname = \"p\"\nversion = \"0\"\nrequires-python = \">=3.8\"\ndependencies = [\"tiny<2\"]\n";
    let folder = lab.pipeline(
        "a",
        &[
            ("requirements.txt", "tiny<2\n"),
            ("x.lock", "tiny==1.0\n"),
            ("main.py", script),
            ("p/pyproject.toml", project),
            ("by-path.txt", "./tiny-1.0-py3-none-any.whl\n"),
            ("by-folder.txt", "--find-links packages\ntiny<2\n"),
        ],
    );
    fs::create_dir(folder.join("packages")).unwrap();
    for to in [folder.join("packages"), folder.clone()] {
        fs::copy(&wheel, to.join(wheel.file_name().unwrap())).unwrap();
    }
    let sources = [
        DependencySource::Requirements { path: "requirements.txt".into() },
        DependencySource::RequirementsLock { path: "x.lock".into() },
        DependencySource::Script { path: "main.py".into() },
        DependencySource::Project { dir: "p".into() },
        DependencySource::Requirements { path: "by-path.txt".into() },
        DependencySource::Requirements { path: "by-folder.txt".into() },
    ];
    for source in sources {
        let said = Said::default();
        let asked = there(&place, request(&folder, source.clone()));
        let made = builder.prepare(&asked, &said).await;
        let environment = made.unwrap_or_else(|failure| panic!("{source:?}: {failure}\n{}", said.text()));
        assert_eq!(run_in(&environment, "import tiny; print(tiny.VERSION)"), "1.0", "{source:?}");
    }
    let none = there(&place, request(&folder, DependencySource::None));
    assert_eq!(run_in(&prepare(&builder, &none).await.unwrap(), "print(1)"), "1");
    assert_eq!(files(&folder).len(), 8, "something was written into the pipeline's folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_built_only_where_one_has_no_wheel_and_with_a_cache_of_their_own() {
    let Some(lab) = Lab::new() else { return };
    let Some(place) = place(&lab, "other-1") else { return };
    lab.wheel("tiny", "1.0", &[]);
    source(&lab, "raw", "");
    let builder = environments(config(&lab));
    let wheels = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    prepare(&builder, &there(&place, requirements(&wheels))).await.unwrap();
    for call in place.calls("") {
        let is_pip = call.args.contains(" pip ");
        assert_eq!(call.args.contains("--no-build"), is_pip, "{call:?}");
        assert!(call.writes.iter().all(|path| !is_private(path)), "{call:?}");
    }
    assert_eq!((place.calls("pip compile").len(), place.calls("pip sync").len()), (1, 1));

    let sources = lab.pipeline("b", &[("requirements.txt", "tiny\nraw\n")]);
    let environment = prepare(&builder, &there(&place, requirements(&sources))).await.unwrap();
    assert_eq!(run_in(&environment, "import raw, tiny; print(raw.VERSION)"), "1.0");
    for stage in ["pip compile", "pip sync"] {
        let calls = place.calls(stage);
        let [_, careful, free] = &*calls else { panic!("{calls:?}") };
        assert!(careful.args.contains("--no-build") && !careful.writes.iter().any(|path| is_private(path)));
        assert!(!free.args.contains("--no-build"), "{free:?}");
        let other: Vec<_> = free.writes.iter().filter(|path| !is_private(path)).collect();
        assert_eq!(free.writes.len() - other.len(), 1, "{free:?}");
        assert!(other.iter().all(|path| path.to_string_lossy().contains(".building-")), "{free:?}");
    }
    for call in place.calls("compileall") {
        assert_eq!(call.writes.len(), 1, "{call:?}");
    }
    assert!(left(&lab).is_empty(), "{:?}", left(&lab));
}

/// Whether a folder is a cache for one build alone.
fn is_private(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(".cache-")
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_elsewhere_have_the_same_kinds_and_are_those_of_the_last_try() {
    let Some(lab) = Lab::new() else { return };
    let Some(place) = place(&lab, "other-1") else { return };
    source(&lab, "raw", "raise SystemExit('this build is broken')");
    lab.wheel("tiny", "1.0", &[]);
    let failure = async |config: UvConfig, text: &str| {
        let folder = lab.pipeline("a", &[("requirements.txt", text)]);
        prepare(&environments(config), &there(&place, requirements(&folder))).await.unwrap_err()
    };
    let broken = failure(config(&lab), "raw\n").await;
    assert_eq!(broken.kind, Kind::BuildFailed, "{broken}");
    assert!(broken.message.contains("this build is broken"), "{broken}");
    let unknown = failure(config(&lab), "no-such-package\n").await;
    assert_eq!(unknown.kind, Kind::ResolutionFailed, "{unknown}");
    let mut refused = config(&lab);
    refused.wheels_only = true;
    let refused = failure(refused, "raw\n").await;
    assert_eq!(refused.kind, Kind::ResolutionFailed, "{refused}");
    let mut away = config(&lab);
    away.extra_env.remove("UV_OFFLINE");
    away.extra_env.insert("UV_INDEX_URL".into(), "http://127.0.0.1:1/simple".into());
    away.extra_env.insert("UV_HTTP_RETRIES".into(), "0".into());
    let away = failure(away, "six\n").await;
    assert_eq!(away.kind, Kind::DownloadFailed, "{away}");

    let mut absent = there(&place, requirements(&lab.pipeline("b", &[("requirements.txt", "tiny\n")])));
    absent.python = Some("3.99".parse().unwrap());
    let absent = prepare(&environments(config(&lab)), &absent).await.unwrap_err();
    assert_eq!(absent.kind, Kind::InterpreterMissing, "{absent}");
    assert!(left(&lab).is_empty(), "{:?}", left(&lab));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_of_our_folder_is_used_where_the_place_has_none_and_is_to_be_read_by_runs() {
    let Some(lab) = Lab::new() else { return };
    let Some(first) = place(&lab, "other-1") else { return };
    let builder = |downloads: bool| {
        let mut config = config(&lab);
        config.python_downloads = downloads;
        environments(config)
    };
    let folder = lab.pipeline("a", &[("main.py", "")]);
    let none = request(&folder, DependencySource::None);
    let own = prepare(&builder(true), &there(&first, none.clone())).await.unwrap();
    let facts = "import os, platform, sys
executable = os.path.realpath(sys.executable)
print(executable, platform.python_version(), platform.machine(), 'musl' if not platform.libc_ver()[0] else 'gnu')";
    let facts = run_in(&own, facts);
    let [executable, version, machine, libc] = facts.split(' ').collect::<Vec<_>>()[..] else { panic!() };
    let bare = |name: &str| Arc::new(Place::new(&lab, name).unwrap().without_python());
    let (bare, another) = (bare("other-2"), bare("other-3"));
    let missing = prepare(&builder(false), &there(&bare, none.clone())).await.unwrap_err();
    assert_eq!(missing.kind, Kind::InterpreterMissing, "{missing}");
    let pythons = bare.calls("python find")[0].directory.clone();
    install(&pythons, &format!("cpython-{version}-linux-{machine}-{libc}"), executable);
    let made = prepare(&builder(true), &there(&bare, none.clone())).await.unwrap();
    assert_eq!(made.reads, [made.directory.clone(), pythons.clone()]);
    assert_eq!(made.python_version, version);
    for call in bare.calls("") {
        assert!(!call.writes.contains(&pythons), "{call:?}");
    }
    assert_eq!(prepare(&builder(true), &there(&bare, none.clone())).await.unwrap().reads, made.reads);
    let missing = prepare(&builder(true), &there(&another, none)).await.unwrap_err();
    assert_eq!(missing.kind, Kind::InterpreterMissing, "{missing}");

    let clock = Arc::new(Shifted::default());
    let collector = UvEnvironments::new(config(&lab), clock.clone()).unwrap();
    clock.advance(Duration::from_hours(25));
    let keep = [own.id.clone(), made.id.clone()].into();
    collector.collect(&keep, Duration::from_hours(24), 10).await.unwrap();
    assert!(pythons.exists(), "an environment has lost its interpreter");
    assert_eq!(run_in(&made, "print(1)"), "1");
    let collected = collector.collect(&[own.id].into(), Duration::from_hours(24), 10).await.unwrap();
    assert_eq!((collected.removed, collected.leftovers), (vec![made.id], 1));
    let left: Vec<_> = fs::read_dir(lab.environments_dir().join("pythons")).unwrap().collect();
    assert_eq!(left.len(), 1, "only that of this machine stays: {left:?}");
}

/// Does as if uv had installed the interpreter `executable` as `name`.
fn install(pythons: &Path, name: &str, executable: &str) {
    let bin = pythons.join(name).join("bin");
    fs::create_dir_all(&bin).unwrap();
    let short = name.split('-').nth(1).unwrap().rsplit_once('.').unwrap().0;
    symlink(executable, bin.join(format!("python{short}"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_of_a_place_that_is_not_used_any_more_is_removed() {
    let Some(lab) = Lab::new() else { return };
    let (Some(old), Some(new)) = (place(&lab, "other-1"), place(&lab, "other-2")) else { return };
    lab.wheel("tiny", "1.0", &[]);
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let clock = Arc::new(Shifted::default());
    let builder = UvEnvironments::new(config(&lab), clock.clone()).unwrap();
    let caches = || fs::read_dir(lab.environments_dir().join("cache")).unwrap().count();
    let keep = [prepare(&builder, &there(&old, requirements(&folder))).await.unwrap().id];
    clock.advance(Duration::from_hours(25));
    prepare(&builder, &there(&new, requirements(&folder))).await.unwrap();
    assert_eq!(caches(), 2);
    let collected = builder.collect(&keep.into(), Duration::from_hours(24), 10).await.unwrap();
    assert_eq!((collected.removed.len(), collected.leftovers), (0, 1));
    assert_eq!(caches(), 1);

    lab.wheel("tiny", "2.0", &[]);
    let folder = lab.pipeline("b", &[("requirements.txt", "tiny>1\n")]);
    let again = prepare(&builder, &there(&old, requirements(&folder))).await.unwrap();
    assert_eq!(run_in(&again, "import tiny; print(tiny.VERSION)"), "2.0");
    assert_eq!(caches(), 2);
}
