//! What a container may do: as the engine has it, and as a program inside finds it.

use std::{collections::BTreeMap, fs};

use fastflow_core::executor::container::{Access, ContainerEngine, Mount, Tmpfs};
use serde_json::{Value, json};

use crate::kit::with_docker;

/// Everything that a program can find out about its own confinement, as lines.
const LOOK: &str = r#"
exec >/out/seen
grep -E '^(Uid|Gid|Groups|CapEff|CapPrm|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status
grep -E '^Max (core file size|open files)' /proc/self/limits
for ns in cgroup ipc mnt net pid uts; do echo "ns-$ns: $(readlink /proc/self/ns/$ns)"; done
echo "first: $$"
echo "root: $( (: >/x) 2>/dev/null && echo open || echo closed)"
echo "in: $(cat /in/file) $( (: >/in/x) 2>/dev/null && echo open || echo closed)"
echo "scratch: $( (: >/scratch/x) 2>/dev/null && echo open || echo closed)"
while read -r _ _ _ _ path options _; do case $path in /scratch|/fast) echo "mount $path: $options";; esac; done </proc/self/mountinfo
echo "size: $(df -k --output=size /scratch | tail -n 1 | tr -d ' ')"
echo "links: $(ls /sys/class/net | tr '\n' ' ')"
echo "sockets: $(ls /var/run/docker.sock /run/docker.sock 2>/dev/null | wc -l)"
echo "devices: $(ls /dev | tr '\n' ' ')"
echo "input: $(head -c 1 | wc -c)"
exit 0
"#;

#[tokio::test]
async fn a_program_finds_itself_confined() {
    with_docker(async |lab| {
        let (inside, out) = (lab.shared("in"), lab.shared("out"));
        fs::write(inside.join("file"), "text").unwrap();
        let mut spec = lab.spec("a", LOOK);
        spec.mounts =
            vec![Mount::new(&inside, "/in", Access::ReadOnly), Mount::new(&out, "/out", Access::ReadWrite)];
        spec.tmpfs = vec![
            Tmpfs { target: "/scratch".into(), size_bytes: 4 << 20, allow_execution: false },
            Tmpfs { target: "/fast".into(), size_bytes: 1 << 20, allow_execution: true },
        ];
        spec.working_dir = "/out".into();
        spec.memory_bytes = Some(256 << 20);
        spec.max_open_files = 777;
        assert_eq!(lab.run(&spec).await.exit_code, Some(0));

        let text = fs::read_to_string(out.join("seen")).unwrap();
        let seen: BTreeMap<_, _> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key, value.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        let of = |key: &str| seen.get(key).unwrap_or_else(|| panic!("{key} in {text}")).as_str();
        assert_eq!((of("Uid"), of("Gid")), ("10001 10001 10001 10001", "10001 10001 10001 10001"));
        for capabilities in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
            assert_eq!(of(capabilities), "0000000000000000", "{capabilities}");
        }
        assert_eq!((of("NoNewPrivs"), of("Seccomp"), of("first")), ("1", "2", "1"));
        assert_eq!((of("root"), of("in"), of("scratch")), ("closed", "text closed", "open"));
        assert_eq!((of("links"), of("sockets"), of("input")), ("lo", "0", "0"));
        assert_eq!(of("size"), "4096");
        for (path, execution) in [("mount /scratch", true), ("mount /fast", false)] {
            let options: Vec<_> = of(path).split(',').collect();
            assert!(options.contains(&"nosuid") && options.contains(&"nodev"), "{path}: {options:?}");
            assert_eq!(options.contains(&"noexec"), execution, "{path}: {options:?}");
        }
        for line in text.lines().filter(|line| line.starts_with("Max ")) {
            let limit = if line.contains("core") { " 0 " } else { " 777 " };
            assert_eq!(line.matches(limit).count(), 2, "{line}");
        }
        for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
            let host = fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
            assert_ne!(of(&format!("ns-{namespace}")), host.to_str().unwrap(), "{text}");
        }
        for device in of("devices").split(' ') {
            let harmless = [
                "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
                "stdout", "tty", "urandom", "zero",
            ];
            assert!(harmless.contains(&device), "{device}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_engine_has_it_as_it_was_asked_for() {
    with_docker(async |lab| {
        let folder = lab.shared("in");
        let mut spec = lab.spec("a", "exit 0");
        spec.mounts = vec![Mount::new(&folder, "/in", Access::ReadOnly)];
        spec.tmpfs = vec![Tmpfs { target: "/tmp".into(), size_bytes: 1 << 20, allow_execution: false }];
        (spec.cpu_millis, spec.memory_bytes, spec.max_processes) = (Some(250), Some(64 << 20), 33);
        let id = lab.engine.create(&spec).await.unwrap();

        let (_, inspected) = lab.raw("GET", &format!("/containers/{id}/json"), None).await;
        let host = &inspected["HostConfig"];
        for (key, expected) in [
            ("CapDrop", json!(["ALL"])),
            ("CapAdd", Value::Null),
            ("Privileged", json!(false)),
            ("SecurityOpt", json!(["no-new-privileges:true"])),
            ("ReadonlyRootfs", json!(true)),
            ("RestartPolicy", json!({ "Name": "no", "MaximumRetryCount": 0 })),
            ("AutoRemove", json!(false)),
            ("LogConfig", json!({ "Type": "none", "Config": {} })),
            ("IpcMode", json!("private")),
            ("CgroupnsMode", json!("private")),
            ("PidMode", json!("")),
            ("UTSMode", json!("")),
            ("UsernsMode", json!("")),
            ("Cgroup", json!("")),
            ("CgroupParent", json!("")),
            ("NetworkMode", json!("none")),
            ("Devices", Value::Null),
            ("DeviceRequests", Value::Null),
            ("DeviceCgroupRules", Value::Null),
            ("Binds", Value::Null),
            ("VolumesFrom", Value::Null),
            ("PortBindings", Value::Null),
            ("ExtraHosts", Value::Null),
            ("GroupAdd", Value::Null),
            ("Init", json!(false)),
            ("NanoCpus", json!(250_000_000)),
            ("Memory", json!(64 << 20)),
            ("MemorySwap", json!(64 << 20)),
            ("PidsLimit", json!(33)),
        ] {
            assert_eq!(host[key], expected, "{key}");
        }
        assert_eq!(inspected["Config"]["Healthcheck"], json!({ "Test": ["NONE"] }));
        assert_eq!(inspected["Config"]["User"], "10001:10001");
        let masked = host["MaskedPaths"].as_array().unwrap();
        assert!(masked.contains(&json!("/proc/kcore")), "{masked:?}");
        let mounts = inspected["Mounts"].as_array().unwrap();
        assert_eq!(mounts.len(), 1, "{mounts:?}");
        assert_eq!((&mounts[0]["RW"], &mounts[0]["Propagation"]), (&json!(false), &json!("rprivate")));
    })
    .await;
}

#[tokio::test]
async fn the_command_and_the_entry_point_of_an_image_are_not_run() {
    with_docker(async |lab| {
        let name = format!("{}-image", lab.id);
        let commit = format!("/commit?container={name}&repo={}&tag=v1", lab.id);
        lab.engine.create(&lab.spec("image", "exit 0")).await.unwrap();
        let config = json!({
            "Entrypoint": ["/bin/false"], "Cmd": ["/bin/false"], "User": "0:0", "WorkingDir": "/root",
            "Healthcheck": { "Test": ["CMD", "/bin/true"], "Interval": 1_000_000_000 }, "Volumes": { "/volume": {} },
        });
        assert_eq!(lab.raw("POST", &commit, Some(config)).await.0, 201);

        let out = lab.shared("out");
        let mut spec = lab.spec("a", "");
        spec.image = format!("{}:v1", lab.id);
        spec.entrypoint = vec!["/bin/pwd".into()];
        spec.working_dir = "/out".into();
        spec.mounts = vec![Mount::new(&out, "/out", Access::ReadWrite)];
        let state = lab.run(&spec).await;
        let (_, inspected) = lab.raw("GET", &format!("/containers/{}/json", state.id), None).await;
        let volume = inspected["Mounts"].as_array().unwrap().iter().find_map(|mount| mount["Name"].as_str());
        let volume = volume.unwrap().to_owned();
        lab.engine.remove(state.id.as_str()).await.unwrap();
        let left = lab.raw("GET", &format!("/volumes/{volume}"), None).await.0;

        assert_eq!(state.exit_code, Some(0), "{inspected}");
        assert_eq!((&inspected["Path"], &inspected["Args"]), (&json!("/bin/pwd"), &json!([])));
        assert_eq!(inspected["State"].get("Health"), None);
        assert_eq!(left, 404, "the image's volume stayed");
    })
    .await;
}
