//! What a container can do, found out by a program inside it.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use fastflow_core::executor::container::{Access, ContainerEngine, Mount, Tmpfs};

use crate::lab::Lab;

/// Tries what must not work, and writes down what it finds. Each line is a name and a value.
const PROBE: &str = r#"
grep -E '^(NoNewPrivs|CapInh|CapPrm|CapEff|CapBnd|CapAmb|Seccomp|Uid|Gid|Groups):' /proc/self/status
tried() { if sh -c "$2" 2>/dev/null; then echo "$1: yes"; else echo "$1: no"; fi; }
echo "root: $(awk '$5 == "/" { print $6 }' /proc/self/mountinfo)"
tried write-root ': > /etc/x'
tried write-dev ': > /dev/x'
tried write-read-only ': > /in/x'
tried write-mount ': > /out/x'
tried write-tmp ': > /tmp/x'
tried mount 'mount -t tmpfs none /tmp'
tried execute-tmp 'cp /bin/true /tmp/true && /tmp/true'
tried execute-work 'cp /bin/true /work/true && /work/true'
tried fill-tmp 'head -c 2000000 /dev/zero > /tmp/y'
for space in pid ipc uts cgroup net mnt; do echo "$space: $(readlink /proc/self/ns/$space)"; done
echo "interfaces: $(grep -c : /proc/net/dev)"
echo "core: $(ulimit -c)"
echo "open-files: $(ulimit -n)"
for file in /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; do
    [ -e $file ] && echo "memory: $(cat $file)"
done
for file in /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory.swap.max; do
    [ -e $file ] && echo "swap: $(cat $file)"
done
for file in /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; do [ -e $file ] && echo "pids: $(cat $file)"; done
for file in /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max; do [ -e $file ] && echo "cpu: $(cat $file)"; done
echo "directory: $PWD"
echo "first: $(cat /proc/1/comm)"
echo "args: $*"
"#;

async fn found(lab: &Lab) -> BTreeMap<String, String> {
    let read_only = tempfile::tempdir().unwrap();
    fs::set_permissions(read_only.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = lab.spec("probe", "");
    spec.entrypoint =
        ["/bin/sh", "-c", &format!("({PROBE}) > /out/found"), "sh", "a b", "c"].map(str::to_owned).to_vec();
    spec.mounts.push(Mount::new(read_only.path(), "/in", Access::ReadOnly));
    spec.tmpfs = vec![
        Tmpfs { target: "/tmp".into(), size_bytes: 1 << 20, allow_execution: false },
        Tmpfs { target: "/work".into(), size_bytes: 1 << 20, allow_execution: true },
    ];
    spec.working_dir = "/work".into();
    (spec.memory_bytes, spec.cpu_millis) = (Some(64 << 20), Some(500));
    (spec.max_processes, spec.max_open_files) = (32, 512);
    assert_eq!(lab.run(&spec).await.exit_code, Some(0));
    let text = fs::read_to_string(lab.out.path().join("found")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

#[tokio::test]
async fn a_container_is_as_hard_as_it_should_be() {
    let Some(lab) = Lab::new().await else { return };
    let found = found(&lab).await;
    let none = "0000000000000000";
    for (name, expected) in [
        ("NoNewPrivs", "1"),
        ("CapInh", none),
        ("CapPrm", none),
        ("CapEff", none),
        ("CapBnd", none),
        ("CapAmb", none),
        ("Seccomp", "2"),
        ("Uid", "10001 10001 10001 10001"),
        ("Gid", "10001 10001 10001 10001"),
        ("root", "ro,relatime"),
        ("write-root", "no"),
        ("write-dev", "no"),
        ("write-read-only", "no"),
        ("write-mount", "yes"),
        ("write-tmp", "yes"),
        ("mount", "no"),
        ("execute-tmp", "no"),
        ("execute-work", "yes"),
        ("fill-tmp", "no"),
        ("interfaces", "1"),
        ("core", "0"),
        ("open-files", "512"),
        ("memory", "67108864"),
        ("pids", "32"),
        ("directory", "/work"),
        ("first", "sh"),
        ("args", "a b c"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(expected), "{name} in {found:#?}");
    }
    let is_first_version = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    let (swap, cpu) = if is_first_version { ("67108864", "50000") } else { ("0", "50000 100000") };
    assert_eq!((found["swap"].as_str(), found["cpu"].as_str()), (swap, cpu));
    for space in ["pid", "ipc", "uts", "cgroup", "net", "mnt"] {
        let ours = fs::read_link(format!("/proc/self/ns/{space}")).unwrap();
        assert_ne!(found[space], ours.to_string_lossy(), "{space}");
    }
}

#[tokio::test]
async fn nothing_of_the_engine_s_own_environment_is_inside() {
    let Some(lab) = Lab::new().await else { return };
    let spec = lab.spec("env", "env > /out/env");
    assert_eq!(lab.run(&spec).await.exit_code, Some(0));
    let text = fs::read_to_string(lab.out.path().join("env")).unwrap();
    let mut names: Vec<_> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let image = lab.engine.image(&lab.image.parse().unwrap()).await.unwrap().unwrap();
    names.retain(|name| !image.env.contains_key(*name));
    names.sort_unstable();
    // What Podman sets for every container, and what the shell adds.
    assert_eq!(names, ["HOME", "HOSTNAME", "PWD", "TERM", "container"]);
}
