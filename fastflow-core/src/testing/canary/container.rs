//! Sandboxes of a container engine, as the engine itself tells of them without the code that is tested.

use std::fs;

use async_trait::async_trait;
use serde_json::Value;

use super::{CanaryFixture, SandboxEnd};
use crate::{
    OwnerId,
    testing::torture::{Containers, ask, curl},
};

/// The API that Podman has besides Docker's, which tells more. Another engine answers that there is none.
const LIBPOD: &str = "/v4.0.0/libpod";
/// The engines' word for what they have of an installation, as the value of `filters` in a path.
const OF_OWNER: &str = "%7B%22label%22%3A%5B%22fastflow.owner%3D{owner}%22%5D%7D";

#[async_trait]
impl CanaryFixture for Containers {
    async fn views(&self, owner: &OwnerId) -> Vec<String> {
        let Some((address, _)) = (self.engine)() else { return Vec::new() };
        let filters = OF_OWNER.replace("{owner}", owner.as_str());
        let asked = move || {
            let listed = ask(&address, &format!("/containers/json?all=1&filters={filters}"));
            let containers = listed.as_array().cloned().unwrap_or_default();
            let ids = containers.iter().filter_map(|container| container["Id"].as_str());
            let mut paths: Vec<String> =
                ids.flat_map(|id| ["", LIBPOD].map(|api| format!("{api}/containers/{id}/json"))).collect();
            paths.push(format!("/events?since=0&until={}&stream=false&filters={filters}", now()));
            let told = paths.iter().map(|path| curl(&address, &[], path));
            let told = told.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            told.chain([listed.to_string()]).collect()
        };
        tokio::task::spawn_blocking(asked).await.unwrap()
    }

    async fn end_sandbox(&self, process: u32, how: SandboxEnd) -> bool {
        let Some((address, _)) = (self.engine)() else { return false };
        let asked = move || {
            // The engine gives each container a control group of its name.
            let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
            let listed = ask(&address, "/containers/json");
            let containers = listed.as_array().cloned().unwrap_or_default();
            let mut ids = containers.iter().filter_map(|container| container["Id"].as_str());
            let Some(id) = ids.find(|id| groups.contains(id)) else { return false };
            let (method, path) = match how {
                SandboxEnd::Killed => ("POST", format!("/containers/{id}/kill?signal=SIGKILL")),
                SandboxEnd::Removed => ("DELETE", format!("/containers/{id}?force=1&v=1")),
            };
            // It may just have ended by itself.
            let answer = curl(&address, &["--request", method], &path);
            serde_json::from_slice::<Value>(&answer).map_or(true, |answer| answer["message"].is_null())
        };
        tokio::task::spawn_blocking(asked).await.unwrap()
    }
}

/// Seconds since 1970, for engines.
fn now() -> i64 {
    use crate::{Clock as _, SystemClock};
    SystemClock::new().now().as_second()
}
