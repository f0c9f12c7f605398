use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

use fastflow_core::executor::container::ContainerUser;
use proptest::{collection, option, prelude::*};
use serde_json::{Value, json};

use super::*;

const USER: ContainerUser = ContainerUser { uid: 1000, gid: 100, keep_id: false };

fn spec() -> ContainerSpec {
    ContainerSpec::new("ff-1", "sha256:00", vec!["/shim".to_owned()], USER)
}

fn request(spec: &ContainerSpec) -> Result<Value> {
    CreateRequest::new(spec, Outward::Slirp4netns).map(|request| serde_json::to_value(request).unwrap())
}

/// One that says everything.
fn full_spec() -> ContainerSpec {
    let mut spec = spec();
    spec.labels = BTreeMap::from([("fastflow.owner".to_owned(), "a=b,c".to_owned())]);
    spec.entrypoint = vec!["/shim".to_owned(), "--".to_owned(), "a b".to_owned()];
    spec.working_dir = "/run".into();
    spec.user.keep_id = true;
    spec.mounts = vec![
        Mount::new("/srv/a", "/a", Access::ReadOnly),
        Mount::new("/srv/b,ro:c", "/b", Access::ReadWrite),
    ];
    spec.tmpfs = vec![
        Tmpfs { target: "/tmp".into(), size_bytes: 64 << 20, allow_execution: false },
        Tmpfs { target: "/work".into(), size_bytes: 1, allow_execution: true },
    ];
    spec.network = ContainerNetwork::Named("fastflow".to_owned());
    spec.cpu_millis = Some(1500);
    spec.memory_bytes = Some(1 << 30);
    spec.max_processes = 64;
    spec.max_open_files = 512;
    spec.stop_timeout = Duration::from_millis(14_001);
    spec
}

#[test]
fn a_full_specification_is_this_request() {
    let expected = json!({
        "name": "ff-1",
        "image": "sha256:00",
        "labels": {"fastflow.owner": "a=b,c"},
        "entrypoint": ["/shim", "--", "a b"],
        "command": [],
        "work_dir": "/run",
        "user": "1000:100",
        "mounts": [
            {"type": "bind", "source": "/srv/a", "destination": "/a",
             "options": ["ro", "rbind", "rprivate", "nosuid", "nodev"]},
            {"type": "bind", "source": "/srv/b,ro:c", "destination": "/b",
             "options": ["rw", "rbind", "rprivate", "nosuid", "nodev"]},
            {"type": "tmpfs", "source": "tmpfs", "destination": "/tmp",
             "options": ["rw", "noexec", "nosuid", "nodev", "mode=1777", "notmpcopyup", "size=67108864"]},
            {"type": "tmpfs", "source": "tmpfs", "destination": "/work",
             "options": ["rw", "exec", "nosuid", "nodev", "mode=1777", "notmpcopyup", "size=1"]},
        ],
        "r_limits": [
            {"type": "core", "soft": 0, "hard": 0},
            {"type": "nofile", "soft": 512, "hard": 512},
            {"type": "nproc", "soft": 4096, "hard": 4096},
        ],
        "resource_limits": {
            "pids": {"limit": 64},
            "memory": {"limit": 1_073_741_824, "swap": 1_073_741_824},
            "cpu": {"quota": 150_000, "period": 100_000},
        },
        "stop_signal": 15,
        "stop_timeout": 15,
        "userns": {"nsmode": "keep-id"},
        "netns": {"nsmode": "slirp4netns"},
        "pidns": {"nsmode": "private"},
        "ipcns": {"nsmode": "private"},
        "utsns": {"nsmode": "private"},
        "cgroupns": {"nsmode": "private"},
        "cap_drop": ["ALL"],
        "cap_add": [],
        "privileged": false,
        "no_new_privileges": true,
        "read_only_filesystem": true,
        "terminal": false,
        "stdin": false,
        "remove": false,
        "restart_policy": "no",
        "init": false,
        "systemd": "false",
        "sdnotifyMode": "ignore",
        "env_host": false,
        "httpproxy": false,
        "image_volume_mode": "ignore",
        "log_configuration": {"driver": "none"},
        "healthconfig": {"Test": ["NONE"]},
    });
    assert_eq!(request(&full_spec()).unwrap(), expected);
}

#[test]
fn what_podman_would_take_for_no_limit_is_refused() {
    let refused: [fn(&mut ContainerSpec); 7] = [
        |spec| spec.entrypoint.clear(),
        |spec| spec.max_processes = 0,
        |spec| spec.memory_bytes = Some(0),
        |spec| spec.memory_bytes = Some(u64::MAX),
        |spec| spec.cpu_millis = Some(0),
        |spec| spec.tmpfs.push(Tmpfs { target: "/t".into(), size_bytes: 0, allow_execution: false }),
        |spec| spec.working_dir = PathBuf::from(OsStr::from_bytes(b"/\xff")),
    ];
    assert!(request(&spec()).is_ok());
    for (index, change) in refused.iter().enumerate() {
        let mut spec = spec();
        change(&mut spec);
        assert_eq!(request(&spec).unwrap_err().kind(), ErrorKind::Invalid, "{index}");
    }
}

prop_compose! {
    fn any_user()(uid in any::<u32>(), gid in any::<u32>(), keep_id in any::<bool>()) -> ContainerUser {
        ContainerUser { uid, gid, keep_id }
    }
}

prop_compose! {
    fn any_mount()(source in ".*", target in ".*", is_writable in any::<bool>()) -> Mount {
        Mount::new(source, target, if is_writable { Access::ReadWrite } else { Access::ReadOnly })
    }
}

prop_compose! {
    fn any_tmpfs()(target in ".*", size_bytes in any::<u64>(), allow_execution in any::<bool>()) -> Tmpfs {
        Tmpfs { target: target.into(), size_bytes, allow_execution }
    }
}

prop_compose! {
    fn any_spec()(
        (name, image, working_dir) in (".*", ".*", ".*"),
        labels in collection::btree_map(".*", ".*", 0..4),
        entrypoint in collection::vec(".*", 0..4),
        user in any_user(),
        mounts in collection::vec(any_mount(), 0..4),
        tmpfs in collection::vec(any_tmpfs(), 0..4),
        network in option::of(".*"),
        cpu_millis in option::of(any::<u32>()),
        memory_bytes in option::of(any::<u64>()),
        (max_processes, max_open_files) in (any::<u32>(), any::<u64>()),
        stop_ms in any::<u32>(),
    ) -> ContainerSpec {
        let mut spec = ContainerSpec::new(name, image, entrypoint, user);
        (spec.working_dir, spec.labels) = (working_dir.into(), labels);
        (spec.mounts, spec.tmpfs) = (mounts, tmpfs);
        spec.network = network.map_or(ContainerNetwork::None, ContainerNetwork::Named);
        (spec.cpu_millis, spec.memory_bytes) = (cpu_millis, memory_bytes);
        (spec.max_processes, spec.max_open_files) = (max_processes, max_open_files);
        spec.stop_timeout = Duration::from_millis(stop_ms.into());
        spec
    }
}

fn options(mount: &Value) -> Vec<&str> {
    mount["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect()
}

fn assert_mounts(spec: &ContainerSpec, request: &Value) {
    let mounts = request["mounts"].as_array().unwrap();
    let (binds, tmpfs) = mounts.split_at(spec.mounts.len());
    assert_eq!(tmpfs.len(), spec.tmpfs.len());
    for (mount, bind) in spec.mounts.iter().zip(binds) {
        assert_eq!(bind["type"], "bind");
        assert_eq!(bind["source"].as_str(), mount.source.to_str());
        assert_eq!(bind["destination"].as_str(), mount.target.to_str());
        let access = if mount.access == Access::ReadOnly { "ro" } else { "rw" };
        assert_eq!(options(bind), [access, "rbind", "rprivate", "nosuid", "nodev"]);
    }
    for (folder, mount) in spec.tmpfs.iter().zip(tmpfs) {
        assert_eq!(mount["type"], "tmpfs");
        assert_eq!(mount["source"], "tmpfs");
        let (options, execution) = (options(mount), if folder.allow_execution { "exec" } else { "noexec" });
        let size = format!("size={}", folder.size_bytes);
        assert!([execution, "nosuid", "nodev", &size].iter().all(|option| options.contains(option)));
        assert_eq!(options.len(), 7);
    }
}

proptest! {
    /// Whatever is asked for, nothing but the fields of the specification differs from the safest request there is.
    #[test]
    fn no_specification_weakens_a_container(spec in any_spec()) {
        let Ok(mut found) = request(&spec) else { return Ok(()) };
        assert_mounts(&spec, &found);
        prop_assert_eq!(&found["entrypoint"], &json!(spec.entrypoint));
        prop_assert!(!spec.entrypoint.is_empty());
        prop_assert_eq!(&found["labels"], &json!(spec.labels));
        prop_assert_eq!(&found["user"], &format!("{}:{}", spec.user.uid, spec.user.gid));
        let userns = found.get("userns").cloned();
        prop_assert_eq!(userns, spec.user.keep_id.then(|| json!({"nsmode": "keep-id"})));
        let network = if spec.network == ContainerNetwork::None { "none" } else { "slirp4netns" };
        prop_assert_eq!(&found["netns"], &json!({"nsmode": network}));
        let limits = &found["resource_limits"];
        prop_assert!(limits["pids"]["limit"].as_i64().unwrap() > 0);
        prop_assert_eq!(limits["memory"]["limit"].as_u64(), spec.memory_bytes);
        prop_assert_eq!(limits["memory"]["limit"].as_i64(), limits["memory"]["swap"].as_i64());
        prop_assert_eq!(limits.get("cpu").is_some(), spec.cpu_millis.is_some());
        prop_assert!(spec.cpu_millis.is_none() || limits["cpu"]["quota"].as_i64().unwrap() > 0);
        let nproc = u64::from(spec.max_processes).max(4096);
        prop_assert_eq!(&found["r_limits"], &json!([
            {"type": "core", "soft": 0, "hard": 0},
            {"type": "nofile", "soft": spec.max_open_files, "hard": spec.max_open_files},
            {"type": "nproc", "soft": nproc, "hard": nproc},
        ]));
        // The rest is the same for every container.
        let specific = ["name", "image", "labels", "entrypoint", "work_dir", "user", "mounts", "r_limits",
            "resource_limits", "stop_timeout", "userns", "netns"];
        let mut rest = request(&self::spec()).unwrap();
        for field in specific {
            found.as_object_mut().unwrap().remove(field);
            rest.as_object_mut().unwrap().remove(field);
        }
        prop_assert_eq!(found, rest);
    }
}

fn inspected(state: &Value) -> ContainerState {
    let answer = json!({
        "Id": "4f", "Name": "/ff-1", "State": state, "Config": {"Labels": null}, "Something": "new",
        "Mounts": [
            {"Type": "bind", "Source": "/s", "Destination": "/d", "RW": false, "Driver": ""},
            {"Type": "bind", "Source": "/t", "Destination": "/e", "RW": true},
            {"Type": "volume", "Name": "v", "Source": "/v", "Destination": "/f", "RW": true},
        ],
    });
    serde_json::from_value::<InspectAnswer>(answer).unwrap().into()
}

fn state(status: &str, started: &str, finished: &str) -> Value {
    json!({"Status": status, "Pid": 7, "ExitCode": 3, "OOMKilled": true, "StartedAt": started, "FinishedAt": finished,
        "Health": {"Status": ""}})
}

#[test]
fn every_state_has_a_meaning() {
    for (word, status, pid) in [
        ("configured", ContainerStatus::Created, None),
        ("created", ContainerStatus::Created, None),
        ("initialized", ContainerStatus::Created, None),
        ("running", ContainerStatus::Running, Some(7)),
        ("stopping", ContainerStatus::Running, Some(7)),
        ("paused", ContainerStatus::Paused, Some(7)),
        ("stopped", ContainerStatus::Exited, None),
        ("exited", ContainerStatus::Exited, None),
        ("removing", ContainerStatus::Removing, None),
        ("", ContainerStatus::Other, Some(7)),
        ("dreaming", ContainerStatus::Other, Some(7)),
    ] {
        let state = inspected(&state(word, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"));
        assert_eq!((state.status, state.pid), (status, pid), "{word}");
        assert_eq!((state.started_at, state.ended_at, state.exit_code), (None, None, None), "{word}");
        assert!(state.out_of_memory);
        assert_eq!(state.name, "ff-1");
        let folders = [
            Mount::new("/s", "/d", Access::ReadOnly),
            Mount::new("/t", "/e", Access::ReadWrite),
            Mount::new("/v", "/f", Access::ReadWrite),
        ];
        assert_eq!(state.mounts, folders);
    }
}

#[test]
fn an_end_is_never_before_its_beginning() {
    let ended = |finished: &str| {
        let state = inspected(&state("exited", "2026-11-26T05:00:00.5+01:00", finished));
        assert_eq!(
            (state.exit_code, state.started_at),
            (Some(3), Some("2026-11-26T04:00:00.5Z".parse().unwrap()))
        );
        state.ended_at.unwrap().to_string()
    };
    assert_eq!(ended("2026-11-26T04:00:00.4Z"), "2026-11-26T04:00:00.5Z");
    assert_eq!(ended("2026-11-26T04:00:00.6Z"), "2026-11-26T04:00:00.6Z");
    // One that runs has neither, whatever is said from an earlier time.
    let running = inspected(&state("running", "2026-11-26T04:00:00Z", "2026-11-26T03:00:00Z"));
    assert_eq!((running.ended_at, running.exit_code), (None, None));
    assert!(running.started_at.is_some());
}

#[test]
fn an_image_has_the_same_id_as_with_docker() {
    let answer = json!({"Id": "01ab", "RepoDigests": ["a@sha256:1", "b@sha256:1"], "Config": {"Env": ["A=b=c", "D="]}});
    let image = ImageInfo::from(serde_json::from_value::<ImageAnswer>(answer).unwrap());
    assert_eq!(image.id, "sha256:01ab");
    assert_eq!(image.repo_digest.as_deref(), Some("a@sha256:1"));
    let env = [("A", "b=c"), ("D", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(image.env, BTreeMap::from(env));
    let bare =
        serde_json::from_value::<ImageAnswer>(json!({"Id": "01ab", "RepoDigests": null, "Config": {}}))
            .unwrap();
    assert_eq!(ImageInfo::from(bare), ImageInfo { id: "sha256:01ab".into(), ..ImageInfo::default() });
}

#[test]
fn an_engine_can_only_what_it_says() {
    let info = |host: Value| {
        let answer = json!({"host": host, "store": {"graphRoot": "/store"}, "version": {"Version": "4.3.1"}});
        engine_info(serde_json::from_value(answer).unwrap())
    };
    let root = info(json!({"cgroupControllers": ["cpu", "memory", "pids"],
        "security": {"rootless": false, "seccompEnabled": true}}));
    assert_eq!((root.id.as_str(), root.version.as_str()), ("/store", "4.3.1"));
    assert!(root.cpu_limit && root.memory_limit && root.process_limit && root.seccomp);
    assert!(!root.rootless && !root.keeps_user && !root.remaps_users);
    let user =
        info(json!({"cgroupControllers": null, "security": {"rootless": true, "seccompEnabled": false}}));
    assert!(!user.cpu_limit && !user.memory_limit && !user.process_limit && !user.seccomp);
    assert!(user.rootless && user.keeps_user);
}
