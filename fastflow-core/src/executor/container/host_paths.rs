//! Where folders of this process lie on the engine's machine, when this process itself runs in a container.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::ContainerEngine;
use crate::{Error, ErrorKind, Result};

/// Files that engines put into containers.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// How long an engine's id of a container is, in hexadecimal digits.
const ID_CHARS: usize = 64;

/// How paths here become paths there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum HostPaths {
    /// This process and the engine see the same files.
    Same,
    /// Only these folders, by their paths here and there.
    Mapped(Vec<(PathBuf, PathBuf)>),
}

impl HostPaths {
    /// Takes what is configured; else finds out whether this process runs in a container of `engine`, and what is
    /// mounted there.
    pub(super) async fn find(
        engine: &dyn ContainerEngine,
        configured: &[(PathBuf, PathBuf)],
    ) -> Result<Self> {
        if !configured.is_empty() {
            return Ok(Self::Mapped(configured.to_vec()));
        }
        if !MARKS.iter().any(|mark| Path::new(mark).exists()) {
            return Ok(Self::Same);
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let hostname = fs::read_to_string("/etc/hostname").unwrap_or_default();
        for id in container_ids(&mountinfo, &cgroup, hostname.trim()) {
            if let Some(own) = engine.inspect(&id).await? {
                let mounts = own.mounts.into_iter().map(|mount| (mount.target, mount.source));
                return Ok(Self::Mapped(mounts.collect()));
            }
        }
        // A container of another engine, which may well share this one's files.
        tracing::warn!(
            "this process seems to run in a container that the engine does not know; set `host_paths` if attempts do not start"
        );
        Ok(Self::Same)
    }

    /// The path of the engine's machine.
    pub(super) fn outside(&self, path: &Path) -> Result<PathBuf> {
        let Self::Mapped(mounts) = self else { return Ok(path.to_owned()) };
        let covering =
            mounts.iter().filter_map(|(here, there)| Some((here, there, path.strip_prefix(here).ok()?)));
        let Some((_, there, rest)) = covering.max_by_key(|(here, _, _)| here.components().count()) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this process runs in a container, and the engine cannot reach one of its folders",
            )
            .with("path", path.display())
            .with("help", "mount a folder of the engine's machine there, or set `host_paths`"));
        };
        Ok(if rest.as_os_str().is_empty() { there.clone() } else { there.join(rest) })
    }
}

/// What may be this container's id, the surest first. Engines put files of a container that lie in a folder of its id
/// at `/etc/hostname` and the like, and it may be in a control group named so.
fn container_ids(mountinfo: &str, cgroup: &str, hostname: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let lines =
        mountinfo.lines().filter(|line| line.contains("/etc/hostname") || line.contains("/etc/resolv.conf"));
    for text in lines.chain(cgroup.lines()) {
        let parts = text.split(|c: char| !c.is_ascii_hexdigit());
        for part in parts.filter(|part| part.len() == ID_CHARS) {
            if !ids.iter().any(|id| id == part) {
                ids.push(part.to_owned());
            }
        }
    }
    // By default the host name is the beginning of the id.
    if hostname.len() >= 12 && hostname.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        ids.push(hostname.to_owned());
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mapped = HostPaths::Mapped(vec![
            ("/data".into(), "/srv/fastflow".into()),
            ("/data/runs".into(), "/mnt/large/runs".into()),
        ]);
        for (here, there) in [
            ("/data", "/srv/fastflow"),
            ("/data/environments/1", "/srv/fastflow/environments/1"),
            ("/data/runs/a/1", "/mnt/large/runs/a/1"),
        ] {
            assert_eq!(mapped.outside(Path::new(here)).unwrap(), Path::new(there));
        }
        let error = mapped.outside(Path::new("/datastore")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(HostPaths::Same.outside(Path::new("/x")).unwrap(), Path::new("/x"));
    }

    #[test]
    fn an_id_is_found_where_engines_leave_it() {
        let id = "4f".repeat(32);
        let docker = format!(
            "711 703 254:0 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/x rw"
        );
        let podman = format!(
            "1 2 0:3 /containers/storage/overlay-containers/{id}/userdata/hostname /etc/hostname rw - tmpfs t rw"
        );
        for mountinfo in [docker, podman] {
            assert_eq!(container_ids(&mountinfo, "0::/", "box"), std::slice::from_ref(&id));
        }
        assert_eq!(container_ids("", &format!("12:pids:/docker/{id}\n1:cpu:/docker/{id}"), "box"), [id]);
        assert_eq!(container_ids("", "", "0123456789ab"), ["0123456789ab"]);
        assert!(container_ids("", "0::/", "my-laptop").is_empty());
    }
}
