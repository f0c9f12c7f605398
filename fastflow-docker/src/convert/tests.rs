use std::{collections::BTreeSet, time::Duration};

use fastflow_core::executor::container::ContainerUser;
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;

const USER: ContainerUser = ContainerUser { uid: 1000, gid: 1001, keep_id: false };

fn full_spec() -> ContainerSpec {
    let entrypoint = ["/ff/shim", "--run", "/run dir"].map(String::from).to_vec();
    let mut spec = ContainerSpec::new("ff-1", "sha256:0000", entrypoint, USER);
    spec.labels = [("fastflow.owner", "warehouse"), ("fastflow.attempt", "1")].map(own).into();
    spec.working_dir = "/work".into();
    spec.mounts = vec![
        Mount::new("/srv/shim", "/ff/shim", Access::ReadOnly),
        Mount::new("/srv/run, with: all", "/run dir", Access::ReadWrite),
    ];
    spec.tmpfs = vec![
        Tmpfs { target: "/tmp".into(), size_bytes: 64 << 20, allow_execution: false },
        Tmpfs { target: "/scratch".into(), size_bytes: 1, allow_execution: true },
    ];
    spec.network = ContainerNetwork::Named("fastflow".into());
    spec.cpu_millis = Some(1500);
    spec.memory_bytes = Some(1 << 30);
    spec.stop_timeout = Duration::from_millis(15_001);
    spec
}

#[test]
fn the_whole_request() {
    let bind = |source: &str, target: &str, read_only: bool| {
        json!({
            "Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only,
            "BindOptions": { "Propagation": "rprivate" },
        })
    };
    let expected = json!({
        "Image": "sha256:0000",
        "Entrypoint": ["/ff/shim"],
        "Cmd": ["--run", "/run dir"],
        "WorkingDir": "/work",
        "User": "1000:1001",
        "Labels": { "fastflow.owner": "warehouse", "fastflow.attempt": "1" },
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false, "OpenStdin": false, "Tty": false,
        "StopSignal": "SIGTERM",
        "StopTimeout": 16,
        "Healthcheck": { "Test": ["NONE"] },
        "HostConfig": {
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Privileged": false,
            "ReadonlyRootfs": true,
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "RestartPolicy": { "Name": "no" },
            "AutoRemove": false,
            "Init": false,
            "LogConfig": { "Type": "none", "Config": {} },
            "NetworkMode": "fastflow",
            "Mounts": [bind("/srv/shim", "/ff/shim", true), bind("/srv/run, with: all", "/run dir", false)],
            "Tmpfs": {
                "/tmp": "rw,noexec,nosuid,nodev,size=67108864,mode=1777",
                "/scratch": "rw,exec,nosuid,nodev,size=1,mode=1777",
            },
            "NanoCpus": 1_500_000_000,
            "Memory": 1 << 30,
            "MemorySwap": 1 << 30,
            "PidsLimit": 256,
            "Ulimits": [
                { "Name": "core", "Soft": 0, "Hard": 0 },
                { "Name": "nofile", "Soft": 4096, "Hard": 4096 },
            ],
        },
    });
    assert_eq!(serde_json::to_value(create_body(&full_spec()).unwrap()).unwrap(), expected);
}

fn refused(change: impl FnOnce(&mut ContainerSpec)) -> ErrorKind {
    let mut spec = full_spec();
    change(&mut spec);
    create_body(&spec).expect_err("a request").kind()
}

#[test]
fn what_means_something_else_to_docker_is_refused() {
    for name in
        ["host", "bridge", "default", "none", "container:other", "", "-a", "a/b", "..", "a b", "a?x=1", "ä"]
    {
        assert_eq!(
            refused(|spec| spec.network = ContainerNetwork::Named(name.into())),
            ErrorKind::Invalid,
            "{name}"
        );
    }
    assert_eq!(refused(|spec| spec.max_processes = 0), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.memory_bytes = Some(0)), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.memory_bytes = Some(u64::MAX)), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.cpu_millis = Some(0)), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.max_open_files = u64::MAX), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.tmpfs[0].size_bytes = 0), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.mounts[0].source = "srv".into()), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.entrypoint.clear()), ErrorKind::Invalid);
    assert_eq!(refused(|spec| spec.user.keep_id = true), ErrorKind::Unsupported);
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![9 => "(/[a-z.:, ]{1,8}){1,3}", 1 => ".{0,12}"]
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::ReadOnly), Just(Access::ReadWrite)]
}

fn network() -> impl Strategy<Value = ContainerNetwork> {
    let named =
        prop_oneof!["[a-z][a-z0-9_.-]{0,8}", "host|bridge|default|none|container:[a-z]{1,4}", ".{0,12}"];
    prop_oneof![Just(ContainerNetwork::None), named.prop_map(ContainerNetwork::Named)]
}

prop_compose! {
    fn identity()(
        name in ".{0,16}", image in ".{0,16}", entrypoint in vec(".{0,12}", 0..4), labels in vec((".{0,8}", ".{0,8}"), 0..3),
        uid in any::<u32>(), gid in any::<u32>(),
    ) -> ContainerSpec {
        let mut spec = ContainerSpec::new(name, image, entrypoint, ContainerUser { uid, gid, keep_id: false });
        spec.labels = labels.into_iter().collect();
        spec
    }
}

prop_compose! {
    fn any_spec()(
        mut spec in identity(),
        working_dir in path(),
        mounts in vec((path(), path(), access()), 0..4),
        tmpfs in vec((path(), any::<u64>(), any::<bool>()), 0..3),
        network in network(),
        limits in (option::of(any::<u32>()), option::of(any::<u64>()), any::<u32>(), any::<u64>()),
        stop_seconds in any::<u64>(),
    ) -> ContainerSpec {
        spec.working_dir = working_dir.into();
        spec.mounts = mounts.into_iter().map(|(source, target, access)| Mount::new(source, target, access)).collect();
        spec.tmpfs = tmpfs
            .into_iter()
            .map(|(target, size_bytes, allow_execution)| Tmpfs { target: target.into(), size_bytes, allow_execution })
            .collect();
        spec.network = network;
        // Half of these numbers are more than Docker can take.
        (spec.cpu_millis, spec.memory_bytes) = (limits.0, limits.1.map(|bytes| bytes >> 1));
        (spec.max_processes, spec.max_open_files) = (limits.2, limits.3 >> 1);
        spec.stop_timeout = Duration::from_secs(stop_seconds);
        spec
    }
}

/// All that is ever said about a container. What is not here is never asked for.
const KEYS: [&str; 15] = [
    "Image",
    "Entrypoint",
    "Cmd",
    "WorkingDir",
    "User",
    "Labels",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "OpenStdin",
    "Tty",
    "StopSignal",
    "StopTimeout",
    "Healthcheck",
    "HostConfig",
];
const HOST_KEYS: [&str; 18] = [
    "CapDrop",
    "SecurityOpt",
    "Privileged",
    "ReadonlyRootfs",
    "IpcMode",
    "CgroupnsMode",
    "RestartPolicy",
    "AutoRemove",
    "Init",
    "LogConfig",
    "NetworkMode",
    "Mounts",
    "Tmpfs",
    "NanoCpus",
    "Memory",
    "MemorySwap",
    "PidsLimit",
    "Ulimits",
];

fn check(spec: &ContainerSpec, body: &Value) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert!(keys(body).iter().all(|key| KEYS.contains(&&**key)), "{body}");
    let host = &body["HostConfig"];
    assert!(keys(host).iter().all(|key| HOST_KEYS.contains(&&**key)), "{host}");
    for (key, expected) in [
        ("CapDrop", json!(["ALL"])),
        ("SecurityOpt", json!(["no-new-privileges:true"])),
        ("Privileged", json!(false)),
        ("ReadonlyRootfs", json!(true)),
        ("IpcMode", json!("private")),
        ("CgroupnsMode", json!("private")),
        ("RestartPolicy", json!({ "Name": "no" })),
        ("AutoRemove", json!(false)),
        ("Init", json!(false)),
        ("LogConfig", json!({ "Type": "none", "Config": {} })),
    ] {
        assert_eq!(host[key], expected, "{key}");
    }
    assert_eq!(body["Healthcheck"], json!({ "Test": ["NONE"] }));
    assert_eq!(body["User"], format!("{}:{}", spec.user.uid, spec.user.gid));
    assert_eq!(host["Memory"], host["MemorySwap"]);
    assert_eq!(host["Memory"].as_u64(), spec.memory_bytes);
    assert!(host["Memory"] != json!(0) && host["NanoCpus"] != json!(0), "{host}");
    assert!(host["PidsLimit"].as_i64().unwrap() > 0, "{host}");
    assert_eq!(host["Ulimits"][0], json!({ "Name": "core", "Soft": 0, "Hard": 0 }));
    assert_eq!(host["Ulimits"][1]["Hard"].as_u64(), Some(spec.max_open_files));
    let network = host["NetworkMode"].as_str().unwrap();
    match &spec.network {
        ContainerNetwork::None => assert_eq!(network, "none"),
        ContainerNetwork::Named(name) => {
            assert_eq!(network, name);
            assert!(!BUILT_IN_NETWORKS.contains(&network) && !network.contains(':'), "{network}");
        }
    }
    let mounts: Vec<_> = spec
        .mounts
        .iter()
        .map(|mount| {
            json!({
                "Type": "bind", "Source": mount.source, "Target": mount.target,
                "ReadOnly": mount.access == Access::ReadOnly, "BindOptions": { "Propagation": "rprivate" },
            })
        })
        .collect();
    assert_eq!(host["Mounts"], json!(mounts));
    for options in host["Tmpfs"].as_object().unwrap().values() {
        let options = options.as_str().unwrap();
        assert!(options.contains(",nosuid,nodev,size=") && !options.contains("size=0,"), "{options}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_for_no_container_is_less_confined(spec in any_spec()) {
        match create_body(&spec) {
            Ok(body) => check(&spec, &serde_json::to_value(body).unwrap()),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Invalid),
        }
    }

    #[test]
    fn a_name_stays_one_part_of_an_address(name in ".{0,20}|[a-z./?#%]{1,6}") {
        if let Ok(name) = plain_name(&name) {
            let url = url::Url::parse(&format!("http://docker/containers/{name}/json")).unwrap();
            prop_assert_eq!(url.path(), format!("/containers/{name}/json"));
        }
    }
}

fn inspected(state: &Value) -> ContainerState {
    let answer = json!({
        "Id": "4f2a", "Name": "/ff-1", "State": state,
        "Config": { "Labels": { "a": "b" } },
        "Mounts": [
            { "Type": "bind", "Source": "/srv", "Destination": "/in", "Mode": "", "RW": false, "Propagation": "rprivate" },
            { "Type": "bind", "Source": "/run", "Destination": "/out", "RW": true, "Propagation": "new word" },
            { "Type": "volume", "Name": "x", "Source": "/var", "Destination": "/v", "RW": true },
            { "Type": "tmpfs", "Source": "", "Destination": "/t", "RW": true },
            { "Type": "something new", "Destination": "/w" },
        ],
        "HostConfig": { "RestartPolicy": { "Name": "a new policy" } },
    });
    ContainerState::from(serde_json::from_value::<InspectAnswer>(answer).unwrap())
}

#[test]
fn a_container_that_never_ran_has_no_exit_code() {
    let never = "0001-01-01T00:00:00Z";
    let state = inspected(
        &json!({ "Status": "created", "Pid": 0, "ExitCode": 127, "StartedAt": never, "FinishedAt": never }),
    );
    assert_eq!(state.status, ContainerStatus::Created);
    assert_eq!((state.pid, state.started_at, state.ended_at, state.exit_code), (None, None, None, None));
    assert_eq!((state.name.as_str(), state.id.as_str()), ("ff-1", "4f2a"));
    assert_eq!(state.labels, [("a", "b")].map(own).into());
    let folders = [
        Mount::new("/srv", "/in", Access::ReadOnly),
        Mount::new("/run", "/out", Access::ReadWrite),
        Mount::new("/var", "/v", Access::ReadWrite),
    ];
    assert_eq!(state.mounts, folders);
}

#[test]
fn one_that_runs_again_has_no_end_yet() {
    let state = inspected(&json!({
        "Status": "running", "Pid": 42, "ExitCode": 3,
        "StartedAt": "2026-11-26T04:41:49.177976928Z", "FinishedAt": "2026-11-26T04:40:00Z",
    }));
    assert_eq!(
        (state.status, state.pid, state.ended_at, state.exit_code),
        (ContainerStatus::Running, Some(42), None, None)
    );
    assert_eq!(state.started_at, "2026-11-26T04:41:49.177976928Z".parse().ok());
}

#[test]
fn one_that_has_ended_tells_how() {
    let state = inspected(&json!({
        "Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": true,
        "StartedAt": "2026-11-26T04:41:49Z", "FinishedAt": "2026-11-26T06:41:50+02:00",
    }));
    assert_eq!(
        (state.status, state.exit_code, state.out_of_memory),
        (ContainerStatus::Exited, Some(137), true)
    );
    assert_eq!(state.ended_at, "2026-11-26T04:41:50Z".parse().ok());
}

#[test]
fn an_unknown_word_costs_neither_the_answer_nor_the_list() {
    assert_eq!(inspected(&json!({ "Status": "hibernating" })).status, ContainerStatus::Other);
    let list = json!([
        { "Id": "1", "Names": ["/other/alias", "/ff-1"], "Labels": { "a": "b" }, "State": "hibernating",
          "Health": { "Status": "" }, "HostConfig": { "NetworkMode": "x" } },
        { "Id": "2", "Names": null, "Labels": null, "State": "stopped" },
        { "Id": "3", "Names": ["/ff-3"], "State": "dead" },
    ]);
    let list: Vec<ListedAnswer> = serde_json::from_value(list).unwrap();
    let list: Vec<_> = list.into_iter().map(ContainerState::from).collect();
    let seen: Vec<_> = list.iter().map(|state| (state.name.as_str(), state.status)).collect();
    assert_eq!(
        seen,
        [
            ("ff-1", ContainerStatus::Other),
            ("", ContainerStatus::Exited),
            ("ff-3", ContainerStatus::Removing),
        ]
    );
}

#[test]
fn an_engine_is_known_by_its_security_options() {
    let info = |options: Value| {
        let answer =
            json!({ "ID": "a", "ServerVersion": "29.0", "SecurityOptions": options, "PidsLimit": true });
        EngineInfo::from(serde_json::from_value::<InfoAnswer>(answer).unwrap())
    };
    let usual = info(json!(["name=apparmor", "name=seccomp,profile=default"]));
    assert_eq!((usual.seccomp, usual.rootless, usual.remaps_users), (true, false, false));
    assert_eq!((usual.process_limit, usual.memory_limit, usual.cpu_limit), (true, false, false));
    let rootless = info(json!(["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]));
    assert_eq!((rootless.seccomp, rootless.rootless, rootless.remaps_users), (true, true, false));
    assert!(info(json!(["name=userns"])).remaps_users);
    assert!(!info(json!(["name=seccomp,profile=unconfined"])).seccomp);
    assert!(!info(Value::Null).seccomp);
}

#[test]
fn an_image_tells_its_variables() {
    let answer = json!({
        "Id": "sha256:1", "RepoDigests": ["python@sha256:2"], "Config": { "Env": ["PATH=/bin", "A=b=c", "EMPTY=", "odd"] },
    });
    let info = ImageInfo::from(serde_json::from_value::<ImageAnswer>(answer).unwrap());
    assert_eq!(info.repo_digest.as_deref(), Some("sha256:2"));
    assert_eq!(info.env, [("PATH", "/bin"), ("A", "b=c"), ("EMPTY", "")].map(own).into());
    let bare = json!({ "Id": "sha256:1", "RepoDigests": [], "Config": { "Env": null } });
    let bare = ImageInfo::from(serde_json::from_value::<ImageAnswer>(bare).unwrap());
    assert_eq!((bare.repo_digest, bare.env.len()), (None, 0));
}
