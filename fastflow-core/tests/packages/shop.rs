//! What the tests stand on: packages of our own in an index of our own, and tools of the public one.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use fastflow_core::{
    Orchestrator, RunId,
    run::SetupEnvironment,
    store::{PackageQuery, PackageUse},
    testing::tool,
};
use futures::StreamExt as _;

use crate::kit::{self, Place, attempts};

const WHEEL: &str = "
import sys, zipfile
place, name, version = sys.argv[1:]
info = f'{name}-{version}.dist-info'
with zipfile.ZipFile(f'{place}/{name}-{version}-py3-none-any.whl', 'w') as wheel:
    wheel.writestr(f'{name}.py', f'VERSION = {version!r}\\n')
    wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')
    wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(f'{info}/RECORD', f'{name}.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n')
";

/// A server of files that tells its port, and ends when its input does.
const SERVER: &str = "
import functools, http.server, sys, threading
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
";

/// A program of the test in Python, gone when the test is.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a program that prints its port first.
    pub(crate) fn start(code: &str, argument: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", code])
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { port: port.trim().parse().unwrap(), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An index on this machine, with some versions of packages.
pub(crate) fn index(place: &Place, packages: &[(&str, &str)]) -> Server {
    let root = place.root().join("index");
    for (name, version) in packages {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        python(WHEEL, &[folder.to_str().unwrap(), name, version]);
    }
    Server::start(SERVER, &root)
}

pub(crate) fn python(code: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg("-c").arg(code).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether there is no uv, after having said so.
pub(crate) fn uv_is_missing() -> bool {
    if tool::uv().is_none() {
        tool::require("uv", "there is none: run tools/setup-uv");
        return true;
    }
    false
}

/// An environment of Python with `packages` of the public index; none where that is out of reach, after having said so.
pub(crate) fn tools(packages: &[&str]) -> Option<(tempfile::TempDir, PathBuf)> {
    let uv = tool::uv()?;
    let dir = tempfile::tempdir().unwrap();
    let venv = dir.path().join("venv");
    let made = Command::new(&uv).args(["venv", "--quiet"]).arg(&venv).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let installed = Command::new(&uv)
        .args(["pip", "install", "--quiet", "--python"])
        .arg(venv.join("bin/python"))
        .args(packages)
        .output()
        .unwrap();
    if !installed.status.success() {
        tool::require("pypi", &String::from_utf8_lossy(&installed.stderr));
        return None;
    }
    Some((dir, venv.join("bin")))
}

/// The environment that the newest attempt of a run had.
pub(crate) async fn environment_of(flow: &Orchestrator, run: RunId) -> SetupEnvironment {
    let attempt = attempts(flow, run).await.pop().unwrap();
    attempt.setup.unwrap().environment.unwrap()
}

pub(crate) fn query(name: &str, versions: &str) -> PackageQuery {
    let mut query = PackageQuery::new(name.parse().unwrap());
    query.versions = Some(versions.parse().unwrap());
    query
}

/// Who used a package, once everything that was used is recorded.
pub(crate) async fn used(flow: &Orchestrator, query: &PackageQuery) -> PackageUse {
    kit::until("all environments to be recorded", || async {
        flow.packages().used(query).await.unwrap().unknown_environments == 0
    })
    .await;
    flow.packages().used(query).await.unwrap()
}

/// All files below `path`.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// What a run said in its set-up, for a failure that must not be.
pub(crate) async fn setup_of(flow: &Orchestrator, run: RunId) -> String {
    let logs = flow.runs().logs(kit::attempt(run, 1), fastflow_core::journal::Offset::START);
    let lines: Vec<_> = kit::within("a log to end", logs.collect::<Vec<_>>()).await;
    lines.into_iter().map(|line| line.unwrap().1.text().into_owned()).collect::<Vec<_>>().join("\n")
}
