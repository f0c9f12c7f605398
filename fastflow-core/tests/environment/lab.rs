//! A place to build environments in: a real uv that counts its calls, and packages of our own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use fastflow_core::{
    SystemClock,
    environment::{
        Environment, EnvironmentBuilder, EnvironmentFailure, EnvironmentRequest, HostWorkbench, SetupLog,
        UvConfig, UvEnvironments,
    },
    pipeline::DependencySource,
    testing::tool,
};
use tempfile::TempDir;

pub(crate) struct Lab {
    pub(crate) root: TempDir,
    uv: PathBuf,
}

/// Keeps what a build says.
#[derive(Default)]
pub(crate) struct Said(Mutex<Vec<String>>);

impl SetupLog for Said {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Said {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Lab {
    /// None where there is no uv, after having said so.
    pub(crate) fn new() -> Option<Self> {
        let Some(real) = tool::uv() else {
            tool::require("uv", "there is none: run tools/setup-uv");
            return None;
        };
        let root = tempfile::tempdir().unwrap();
        let lab = Self { uv: root.path().join("uv"), root };
        lab.wrap(&format!("exec '{}' \"$@\"", real.display()));
        fs::create_dir(lab.wheels()).unwrap();
        Some(lab)
    }

    /// Makes `uv` a script that notes its arguments and then does `then`.
    pub(crate) fn wrap(&self, then: &str) {
        let staged = self.root.path().join("uv.staged");
        let script = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{then}\n", self.witness().display());
        fs::write(&staged, script).unwrap();
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(staged, &self.uv).unwrap();
    }

    pub(crate) fn witness(&self) -> PathBuf {
        self.root.path().join("witness")
    }

    /// How often uv was called with `word` among its arguments.
    pub(crate) fn calls(&self, word: &str) -> usize {
        let witness = fs::read_to_string(self.witness()).unwrap_or_default();
        witness.lines().filter(|line| line.contains(word)).count()
    }

    pub(crate) fn wheels(&self) -> PathBuf {
        self.root.path().join("wheels")
    }

    pub(crate) fn environments_dir(&self) -> PathBuf {
        self.root.path().join("environments")
    }

    /// No index but our own wheels, and a cache of our own.
    pub(crate) fn offline(&self) -> UvConfig {
        let mut config = self.online();
        config.extra_env.insert("UV_OFFLINE".into(), "1".into());
        config.extra_env.insert("UV_FIND_LINKS".into(), self.wheels().display().to_string());
        config.extra_env.insert("UV_CACHE_DIR".into(), self.root.path().join("cache").display().to_string());
        config
    }

    pub(crate) fn online(&self) -> UvConfig {
        let mut config = UvConfig::new(self.environments_dir());
        config.uv = Some(self.uv.clone());
        config.python_downloads = false;
        config
    }

    pub(crate) fn environments(&self) -> UvEnvironments {
        environments(self.offline())
    }

    /// A pipeline's folder with these files.
    pub(crate) fn pipeline(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.root.path().join("pipelines").join(name);
        for (path, content) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    /// A wheel of one module that holds its own version.
    pub(crate) fn wheel(&self, name: &str, version: &str, requires: &[&str]) -> PathBuf {
        python(
            "import sys, zipfile
place, name, version, *requires = sys.argv[1:]
info = f'{name}-{version}.dist-info'
with zipfile.ZipFile(f'{place}/{name}-{version}-py3-none-any.whl', 'w') as wheel:
    wheel.writestr(f'{name}.py', f'VERSION = {version!r}\\n')
    lines = ''.join(f'Requires-Dist: {one}\\n' for one in requires)
    wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{lines}')
    wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(f'{info}/RECORD', f'{name}.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n')
",
            &[&[self.wheels().to_str().unwrap(), name, version], requires].concat(),
        );
        self.wheels().join(format!("{name}-{version}-py3-none-any.whl"))
    }
}

pub(crate) fn environments(config: UvConfig) -> UvEnvironments {
    UvEnvironments::new(config, Arc::new(SystemClock::new())).unwrap()
}

pub(crate) fn request(folder: &Path, dependencies: DependencySource) -> EnvironmentRequest {
    let place = Arc::new(HostWorkbench::new(Arc::new(SystemClock::new())));
    EnvironmentRequest { place, folder: folder.to_owned(), dependencies, python: None, requires_python: None }
}

/// A pipeline whose packages are in `requirements.txt`.
pub(crate) fn requirements(folder: &Path) -> EnvironmentRequest {
    request(folder, DependencySource::Requirements { path: "requirements.txt".into() })
}

pub(crate) async fn prepare(
    environments: &UvEnvironments,
    request: &EnvironmentRequest,
) -> Result<Environment, EnvironmentFailure> {
    environments.prepare(request, &Said::default()).await
}

/// Runs `code` in an environment and gives what it prints.
pub(crate) fn run_in(environment: &Environment, code: &str) -> String {
    let output = Command::new(&environment.python).args(["-c", code]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn python(code: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg("-c").arg(code).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// All files below `path`, not following links.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}
