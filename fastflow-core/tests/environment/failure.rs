//! Every reason for which an environment cannot be had, provoked.

use std::{fs, path::Path, process::Command};

use fastflow_core::environment::{EnvironmentFailure, EnvironmentFailureKind as Kind, UvConfig};

use crate::lab::{Lab, Said, environments, prepare, python, requirements};

/// The failure of a pipeline that requires `text`.
async fn failure(lab: &Lab, config: UvConfig, text: &str) -> EnvironmentFailure {
    let folder = lab.pipeline("a", &[("requirements.txt", text)]);
    prepare(&environments(config), &requirements(&folder)).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_package_and_a_conflict_are_failed_resolutions_in_the_words_of_uv() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let unknown = failure(&lab, lab.offline(), "no-such-package-anywhere\n").await;
    assert_eq!(unknown.kind, Kind::ResolutionFailed);
    assert!(unknown.message.contains("no-such-package-anywhere"), "{unknown}");
    let conflict = failure(&lab, lab.offline(), "tiny==1.0\ntiny==2.0\n").await;
    assert_eq!(conflict.kind, Kind::ResolutionFailed);
    assert!(conflict.message.contains("unsatisfiable"), "{conflict}");
    let unreadable = failure(&lab, lab.offline(), "this is no requirement\n").await;
    assert_eq!(unreadable.kind, Kind::ResolutionFailed, "{unreadable}");
    let missing = failure(&lab, lab.offline(), "-r missing.txt\n").await;
    assert_eq!(missing.kind, Kind::ResolutionFailed, "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_reached_is_a_failed_download_that_may_work_later() {
    let Some(lab) = Lab::new() else { return };
    for index in ["http://127.0.0.1:1/simple", "http://no-such-host.invalid/simple"] {
        let mut config = lab.online();
        config.extra_env.insert("UV_INDEX_URL".into(), index.into());
        config.extra_env.insert("UV_HTTP_RETRIES".into(), "0".into());
        config.extra_env.insert("UV_NO_CACHE".into(), "1".into());
        let failure = failure(&lab, config, "six\n").await;
        assert_eq!(failure.kind, Kind::DownloadFailed, "{index}: {failure}");
        assert!(failure.kind.is_transient());
        assert!(failure.message.contains(index), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_not_what_the_lock_says_is_a_failed_download() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let zeros = "0".repeat(64);
    let folder = lab.pipeline("a", &[("x.lock", &format!("tiny==1.0 --hash=sha256:{zeros}\n"))]);
    let source = fastflow_core::pipeline::DependencySource::RequirementsLock { path: "x.lock".into() };
    let request = crate::lab::request(&folder, source);
    let failure = prepare(&lab.environments(), &request).await.unwrap_err();
    assert_eq!(failure.kind, Kind::DownloadFailed, "{failure}");
    assert!(failure.message.contains("Hash mismatch"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_that_is_not_there_is_a_missing_interpreter() {
    let Some(lab) = Lab::new() else { return };
    let mut request = requirements(&lab.pipeline("a", &[("requirements.txt", "")]));
    request.python = Some("3.99".parse().unwrap());
    for downloads in [false, true] {
        let mut config = lab.offline();
        config.python_downloads = downloads;
        let failure = prepare(&environments(config), &request).await.unwrap_err();
        assert_eq!(failure.kind, Kind::InterpreterMissing);
        assert!(failure.message.contains("3.99"), "{failure}");
        assert!(failure.help.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_uv_a_new_environment_says_how_to_get_it_and_a_known_one_works() {
    let Some(lab) = Lab::new() else { return };
    let request = requirements(&lab.pipeline("a", &[("requirements.txt", "")]));
    let mut config = lab.offline();
    config.uv = Some("/nowhere/uv".into());
    let failure = prepare(&environments(config.clone()), &request).await.unwrap_err();
    assert_eq!(failure.kind, Kind::ToolMissing);
    assert!(failure.message.contains("/nowhere/uv"), "{failure}");
    assert!(failure.help.unwrap().contains("pip install uv"));

    let known = prepare(&lab.environments(), &request).await.unwrap();
    assert_eq!(prepare(&environments(config), &request).await.unwrap().id, known.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_does_not_build_is_a_failed_build_with_its_own_words() {
    let Some(lab) = Lab::new() else { return };
    let backend = "def fail(*arguments, **named):\n    raise SystemExit('this build is broken')\n\
                   build_wheel = get_requires_for_build_wheel = prepare_metadata_for_build_wheel = fail\n";
    let sdist = "import io, sys, tarfile
place, name, metadata, backend = sys.argv[1:]
files = {'PKG-INFO': f'Metadata-Version: {metadata}\\nName: {name}\\nVersion: 1.0\\n', 'backend.py': backend,
    'pyproject.toml': '[build-system]\\nrequires = []\\nbuild-backend = \"backend\"\\nbackend-path = [\".\"]\\n'}
with tarfile.open(f'{place}/{name}-1.0.tar.gz', 'w:gz') as archive:
    for path, content in files.items():
        entry = tarfile.TarInfo(f'{name}-1.0/{path}')
        entry.size = len(content.encode())
        archive.addfile(entry, io.BytesIO(content.encode()))
";
    // The first needs its build to be resolved, the second only to be installed.
    for (name, metadata) in [("early", "2.1"), ("late", "2.2")] {
        python(sdist, &[lab.wheels().to_str().unwrap(), name, metadata, backend]);
        let failure = failure(&lab, lab.offline(), &format!("{name}\n")).await;
        assert_eq!(failure.kind, Kind::BuildFailed, "{name}: {failure}");
        assert!(failure.message.contains("this build is broken"), "{failure}");
        assert!(!failure.kind.is_transient());
    }
    assert_eq!(lab.calls("pip sync"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_does_not_end_is_killed_at_its_timeout() {
    let Some(lab) = Lab::new() else { return };
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let none = crate::lab::request(&folder, fastflow_core::pipeline::DependencySource::None);
    prepare(&lab.environments(), &none).await.unwrap();
    lab.wrap("sleep 600");
    let mut config = lab.offline();
    config.build_timeout = std::time::Duration::from_millis(300);
    let failure = prepare(&environments(config), &requirements(&folder)).await.unwrap_err();
    assert_eq!(failure.kind, Kind::DownloadFailed);
    assert!(failure.message.contains("timeout"), "{failure}");
}

/// A file system of our own, unmounted at the end.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path, options: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        fastflow_core::testing::tool::require(
            "mount",
            "run the tests as root, so that they can mount a small disk",
        );
        None
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_denied() {
    let Some(lab) = Lab::new() else { return };
    let place = lab.environments_dir();
    let Some(_mount) = Mount::new(&place, "ro,size=1m") else { return };
    let failure = failure(&lab, lab.offline(), "tiny\n").await;
    assert_eq!(failure.kind, Kind::Denied, "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_room_is_full_storage_and_the_next_build_works_when_there_is_room() {
    let Some(lab) = Lab::new() else { return };
    let place = lab.environments_dir();
    let Some(_mount) = Mount::new(&place, "size=600k") else { return };
    let big = python(
        "import os, sys, zipfile
path = f'{sys.argv[1]}/big-1.0-py3-none-any.whl'
with zipfile.ZipFile(path, 'w') as wheel:
    wheel.writestr('big.bin', os.urandom(2_000_000))
    wheel.writestr('big-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: big\\nVersion: 1.0\\n')
    wheel.writestr('big-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('big-1.0.dist-info/RECORD', '')
print(path)",
        &[lab.wheels().to_str().unwrap()],
    );
    assert!(Path::new(&big).exists());
    let builder = lab.environments();
    let request = requirements(&lab.pipeline("a", &[("requirements.txt", "big\n")]));
    let said = Said::default();
    let failure = fastflow_core::environment::EnvironmentBuilder::prepare(&builder, &request, &said).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, Kind::StorageFull, "{failure}\n{}", said.text());
    let grown = Command::new("mount").args(["-o", "remount,size=20m"]).arg(&place).status().unwrap();
    assert!(grown.success());
    assert!(prepare(&builder, &request).await.unwrap().built);
}
