//! The engine as others see it: asked over its socket by a program of its own, past the executor.

use std::process::Command;

use fastflow_core::{OwnerId, testing::conformance::executor::Interference};
use serde_json::{Value, json};

/// An engine behind a socket of this machine.
#[derive(Debug)]
pub(crate) struct Outside {
    socket: String,
    /// Before each path: the version, and what else the engine's own API has there.
    prefix: &'static str,
}

impl Outside {
    pub(crate) fn new(host: &str, prefix: &'static str) -> Self {
        let socket =
            host.strip_prefix("unix://").expect("the engine of the tests has a unix socket").to_owned();
        Self { socket, prefix }
    }

    /// The ids of all containers of an installation.
    pub(crate) fn sandboxes(&self, owner: &OwnerId) -> Vec<String> {
        let filters = json!({ "label": [format!("fastflow.owner={owner}")] }).to_string();
        let listed = self.ask("GET", "containers/json?all=true", &[("filters", &filters)]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap_or_default();
        listed.iter().filter_map(|container| Some(container["Id"].as_str()?.to_owned())).collect()
    }

    /// All that the engine tells of a container.
    pub(crate) fn view(&self, container: &str) -> Vec<String> {
        let filters = json!({ "container": [container] }).to_string();
        let now = Command::new("date").arg("+%s").output().unwrap();
        let until = String::from_utf8(now.stdout).unwrap();
        let during = [("since", "0"), ("until", until.trim()), ("stream", "false"), ("filters", &filters)];
        vec![
            self.ask("GET", &format!("containers/{container}/json"), &[]),
            self.ask("GET", "events", &during),
        ]
    }

    /// Whether the engine did it.
    pub(crate) fn interfere(&self, container: &str, how: Interference) -> bool {
        let (method, path) = match how {
            Interference::Kill => ("POST", format!("containers/{container}/kill?signal=SIGKILL")),
            Interference::Remove => ("DELETE", format!("containers/{container}?force=true&v=true&timeout=0")),
            Interference::Pause => ("POST", format!("containers/{container}/pause")),
            Interference::Restart => ("POST", format!("containers/{container}/restart?t=1")),
            _ => return false,
        };
        let code = self.curl(method, &path, &[], &["--output", "/dev/null", "--write-out", "%{http_code}"]);
        assert!(code.starts_with('2'), "{method} {path}: {code}");
        true
    }

    fn ask(&self, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        self.curl(method, path, query, &["--fail"])
    }

    fn curl(&self, method: &str, path: &str, query: &[(&str, &str)], more: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--unix-socket",
            &self.socket,
            "--request",
            method,
        ]);
        curl.args(more);
        if !query.is_empty() {
            curl.arg("--get");
        }
        for (name, value) in query {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        let answer = curl.arg(format!("http://engine/{}/{path}", self.prefix)).output().unwrap();
        assert!(answer.status.success(), "{path}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap()
    }
}
