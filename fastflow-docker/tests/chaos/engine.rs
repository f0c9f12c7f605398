//! An engine that belongs to one test alone, which may kill it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fastflow_core::testing::tool;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{KIND, stage::until};

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools");

/// A running engine of its own, which ends with this value.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Of the whole set that it belongs to.
    folder: PathBuf,
    address: String,
    image: String,
    /// Held while it lives: there is one at a time.
    _alone: File,
}

impl Engine {
    /// Starts it anew with these settings of its daemon, if it has a file for such. `None`, loudly, where tests have no
    /// engines.
    pub(crate) fn start(settings: &Value) -> Option<Self> {
        if crate::shared().is_none() {
            tool::require(KIND, "run tools/setup-engines, and set what it prints");
            return None;
        }
        let folder = cache().join("fast-flow/chaos");
        fs::create_dir_all(folder.join(KIND)).unwrap();
        let alone = File::create(folder.join(format!("{KIND}.tests"))).unwrap();
        alone.lock().unwrap();
        // What an earlier test program left when it was killed.
        run("stop-engines", &folder);
        fs::write(folder.join(KIND).join("daemon.json"), settings.to_string()).unwrap();
        let said = run("setup-engines", &folder);
        let named = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("{name} is missing in: {said}")).to_owned()
        };
        let address = named(&format!("FASTFLOW_TEST_{}", KIND.to_uppercase()));
        Some(Self { folder, address, image: named("FASTFLOW_TEST_IMAGE"), _alone: alone })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    pub(crate) fn socket(&self) -> &Path {
        Path::new(self.address.strip_prefix("unix://").unwrap())
    }

    /// Kills one of the programs that it consists of.
    pub(crate) async fn kill(&self, program: &str) {
        let pid = fs::read_to_string(self.folder.join(KIND).join(format!("{program}.pid"))).unwrap();
        kill(pid.trim().parse().unwrap()).await;
    }

    /// Starts what was killed.
    pub(crate) fn start_again(&self) {
        run("setup-engines", &self.folder);
    }

    /// Asks the engine itself.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Value {
        self.ask_with(method, path, &Value::Null)
    }

    pub(crate) fn ask_with(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--request", method]);
        if !body.is_null() {
            curl.args(["--header", "Content-Type: application/json", "--data", &body.to_string()]);
        }
        let answer =
            curl.arg("--unix-socket").arg(self.socket()).arg(format!("http://engine{path}")).output();
        let answer = answer.unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
        assert!(answer.status.success(), "{method} {path}: {errors}{said}");
        if said.trim().is_empty() { Value::Null } else { serde_json::from_str(&said).unwrap() }
    }

    /// The containers with a label, whatever they do.
    pub(crate) fn containers(&self, label: &str) -> Vec<Value> {
        let filters = format!("%7B%22label%22%3A%5B%22{label}%22%5D%7D");
        let found = self.ask("GET", &format!("/containers/json?all=1&filters={filters}"));
        found.as_array().unwrap().clone()
    }

    /// The id of the container of a run.
    pub(crate) fn container(&self, run: &str) -> String {
        let found = self.containers(&format!("fastflow.run={run}"));
        assert_eq!(found.len(), 1, "{found:?}");
        found[0]["Id"].as_str().unwrap().to_owned()
    }

    /// Waits until no attempt has a container.
    pub(crate) async fn until_empty(&self) {
        until("the containers to be gone", || async { self.containers("fastflow.kind=attempt").is_empty() })
            .await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // One that was hidden from its users is found by its processes.
        let _ = Command::new(Path::new(TOOLS).join("stop-engines"))
            .arg(KIND)
            .env("FASTFLOW_ENGINES", &self.folder)
            .stdin(Stdio::null())
            .status();
    }
}

/// Kills a process, and waits until it is gone.
pub(crate) async fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    until("a killed process to be gone", || async { !is_alive(pid) }).await;
}

fn is_alive(pid: i32) -> bool {
    // One that nobody has waited for yet has ended all the same.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Calls one of this checkout's tools for the engines in `folder`, and returns what it printed.
fn run(tool: &str, folder: &Path) -> String {
    let mut command = Command::new(Path::new(TOOLS).join(tool));
    let output = command.arg(KIND).env("FASTFLOW_ENGINES", folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "tools/{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Short, as sockets need it, and kept: it holds the image.
#[expect(clippy::disallowed_methods, reason = "where caches are is the machine's business")]
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
}
