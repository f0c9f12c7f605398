//! What programs that nobody trusts can do to others: nothing.
//!
//! The scripts do harm on purpose. Each asks first whether it is root, and then does nothing: an executor that claims
//! to isolate and does not must not cost anybody a machine.

use std::{
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    time::Duration,
};

use super::{
    bench::{Bench, exit, file, lines, size},
    outside::{Seen, has, mounts, processes, status, tree},
    secrets::give,
};
use crate::{
    executor::{AttemptSpec, Network},
    run::Exit,
};

/// What a script that does harm begins with.
const NOT_AS_ROOT: &str = r#"[ "$(id -u)" != 0 ] || exit 99; "#;

/// More than any temporary folder holds, and less than would hurt this machine.
const MUCH: u64 = 1 << 30;

/// Listens on an address that others have to reach it by, proves that it can be reached there, and says so.
const LISTEN: &str = r#"
import os, socket
listener = socket.socket()
listener.bind(("0.0.0.0", 0))
listener.listen()
route = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
route.connect(("192.0.2.1", 9))
address, port = route.getsockname()[0], listener.getsockname()[1]
with socket.create_connection((address, port), 5):
    listener.accept()
with open("address.new", "w") as file:
    file.write(f"{address}\n{port}\n")
os.rename("address.new", "address")
listener.accept()
open("reached", "w").close()
"#;

/// Ends with 5 when nobody is reached.
const CONNECT: &str = r"
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
except OSError:
    sys.exit(5)
";

/// File systems that hold no file of any disk. What may be written to in them is said by permissions.
const MADE_UP: [&str; 8] = ["proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

fn is_isolated(bench: &Bench<'_>) -> bool {
    bench.can("isolation", |can| can.isolation)
}

/// A program without any privilege, which is another user than root.
///
/// Kills: a container with an engine's usual capabilities; the image's own user.
pub async fn privileges_are_dropped(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let spec = bench.spec("id -u >> user; id -g >> user; echo >> ready; exec sleep 1000");
    let (_execution, program) = bench.start_and_find(&spec).await;
    let status = status(program);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set}");
    }
    assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"));
    for ids in ["Uid", "Gid", "Groups"] {
        assert!(status[ids].split_whitespace().all(|id| id != "0"), "{ids}: {}", status[ids]);
    }
    let user = fs::read_to_string(file(&spec, "user")).unwrap();
    assert!(user.lines().all(|id| id != "0"), "root in the sandbox: {user}");
}

/// Neither a program that gives its user to whoever runs it, nor a namespace of its own, makes more of a program than
/// it is.
///
/// Kills: new privileges allowed; capabilities kept in reserve.
pub async fn privileges_cannot_be_gained(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let spec = bench.spec(&format!(
        r#"{NOT_AS_ROOT}
        id -u > before && cp "$(command -v id)" id && echo >> ready
        while [ ! -e go ]; do sleep 0.01; done
        ./id -u > after || exit 1
        try() {{ "$@" 2> /dev/null && echo "$*" >> gained; }}
        try mount -t tmpfs none /tmp
        for inside in "" "unshare -Ur" "unshare -Urm"; do
            try $inside mount -o remount,rw /
            try $inside mknod device b 7 0
            try $inside chown 1:1 before
            try $inside touch /usr/gained
        done
        exit 0"#
    ));
    let execution = bench.start(&spec).await;
    bench.until("there is a program of its own", || lines(&spec, "ready") == 1).await;
    let program = file(&spec, "id");
    match chown(&program, Some(0), Some(0)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return bench.lacks("root", "only root can make a program that gives root to others");
        }
        changed => changed.unwrap(),
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(file(&spec, "go"), "").unwrap();
    assert_eq!(exit(execution.wait().await), Exit::Code(0));
    let user = |name| fs::read_to_string(file(&spec, name)).unwrap();
    assert_eq!(user("after"), user("before"));
    assert_eq!(fs::read_to_string(file(&spec, "gained")).unwrap_or_default(), "");
}

/// A program has the namespaces that it was given, and makes none in which it would be root.
///
/// Kills: system calls not filtered, or filtered for other dangers only.
pub async fn programs_make_no_namespaces(bench: &Bench<'_>) {
    if !is_isolated(bench) || bench.fixture().does_without("namespaces") {
        return;
    }
    let report = bench.run("unshare -r true || unshare -U true || unshare -m true || exit 5").await;
    assert_eq!(report.exit, Exit::Code(5));
}

/// A program can write to its own directory and to folders in memory, and to nothing else.
///
/// Kills: a root file system that can be written to; volumes of the image; the executable that watches over programs
/// protected by its permissions only.
pub async fn the_root_file_system_is_read_only(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let spec = bench.spec(&format!(
        r#"{NOT_AS_ROOT}
        find / \( -path /proc -o -path /sys \) -prune -o -type d -writable -print > writable 2> /dev/null
        for folder in / /etc /usr /var/tmp; do touch "$folder/ff-probe" && echo "$folder" >> written; done
        touch here /tmp/there && echo >> ready
        exec sleep 1000"#
    ));
    let (_execution, program) = bench.start_and_find(&spec).await;
    assert_eq!(lines(&spec, "written"), 0);
    let own = bench.inside(&spec, &spec.run_dir);
    for mount in mounts(program) {
        let is_own = Path::new(&mount.target).starts_with(&own);
        let is_of_a_disk = !MADE_UP.contains(&&*mount.kind);
        assert!(mount.is_read_only || is_own || !is_of_a_disk, "{mount:?}");
    }
    let writable = fs::read_to_string(file(&spec, "writable")).unwrap();
    let is_allowed =
        |folder: &str| [&*own, "/tmp", "/dev"].iter().any(|allowed| Path::new(folder).starts_with(allowed));
    for folder in writable.lines() {
        assert!(is_allowed(folder), "a program can write to {folder}");
    }
    let work = bench.inside(&spec, &spec.working_dir);
    assert!(writable.lines().any(|folder| folder == work), "nothing was found: {writable}");
}

/// The temporary folder is one's own, holds little, and runs no program; whoever fills it is alone with that.
///
/// Kills: the temporary folder of this machine; one without a size; one for all.
pub async fn tmp_is_small_and_not_executable(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let fills = bench.spec(&format!(
        r#"{NOT_AS_ROOT}
        cp "$(command -v id)" /tmp/program; /tmp/program; echo $? >> code
        head -c {MUCH} /dev/zero > /tmp/fill 2> error
        wc -c < /tmp/fill >> size; echo >> ready
        exec sleep 1000"#
    ));
    let (_execution, _) = bench.start_and_find(&fills).await;
    assert_eq!(fs::read_to_string(file(&fills, "code")).unwrap(), "126\n");
    let error = fs::read_to_string(file(&fills, "error")).unwrap();
    assert!(error.contains("No space left on device"), "{error}");
    let held: u64 = fs::read_to_string(file(&fills, "size")).unwrap().trim().parse().unwrap();
    assert!(held <= MUCH / 4, "{held} bytes");

    let uses = bench.spec("head -c 1000000 /dev/zero > /tmp/fill && ls -A /tmp > seen");
    assert_eq!(bench.run_spec(&uses).await.exit, Exit::Code(0));
    assert_eq!(fs::read_to_string(file(&uses, "seen")).unwrap(), "fill\n");
}

/// What a program may only read is afterwards what it was before, however hard the program has tried: the folders it
/// was given, the executable that watches over it, and the directories of other attempts.
///
/// Kills: mounts that can be written to; a directory that holds those of all attempts; permissions in place of mounts.
pub async fn what_is_mounted_read_only_stays_unchanged(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let other = bench.spec("echo mine > file");
    assert_eq!(bench.run_spec(&other).await.exit, Exit::Code(0));
    let folder = bench.folder();
    fs::create_dir(folder.join("sub")).unwrap();
    for name in ["file", "program", "sub/file"] {
        fs::write(folder.join(name), "#!/bin/sh\n").unwrap();
    }
    // Only the mount protects these.
    for path in tree(&folder).into_keys().chain(tree(&other.run_dir).into_keys()) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut spec = bench.spec(&format!(
        r#"{NOT_AS_ROOT}
        echo >> ready
        while [ ! -e go ]; do sleep 0.01; done
        cat "$1/file" > copy
        attack() {{
            mount -o remount,rw "$1"; unshare -Urm mount -o remount,rw "$1"; chmod 600 "$1"
            if [ -d "$1" ]; then echo attack > "$1/new"; else echo attack >> "$1"; fi
        }}
        for path in "$1" "$1/file" "$1/program" "$1/sub" "$1/sub/file" "$3" "$3/work" "$3/work/file"; do
            attack "$path"
        done
        mv "$1/file" "$1/moved"; rm -rf "$1/sub" "$3/work"; ln -s file "$1/link"
        attack "$(readlink /proc/1/exe)"; attack "$(dirname "$(readlink /proc/1/exe)")"
        while read -r _ _ _ _ target _; do
            case $target in / | /proc* | /sys* | /dev* | /tmp | "$2"*) ;; *) attack "$target" ;; esac
        done < /proc/self/mountinfo
        exit 0"#
    ));
    spec.read_only.push(folder.clone());
    let paths = [
        bench.inside(&spec, &folder),
        bench.inside(&spec, &spec.run_dir),
        bench.inside(&spec, &other.run_dir),
    ];
    spec.argv.extend(paths);
    let execution = bench.start(&spec).await;
    bench.until("the program runs", || lines(&spec, "ready") == 1).await;
    let mut watcher = watcher(&spec);
    let before = (tree(&folder), tree(&other.run_dir), Seen::in_file(&mut watcher));
    fs::write(file(&spec, "go"), "").unwrap();
    assert_eq!(exit(execution.wait().await), Exit::Code(0));
    assert_eq!(fs::read_to_string(file(&spec, "copy")).unwrap(), "#!/bin/sh\n");
    assert_eq!((tree(&folder), tree(&other.run_dir), Seen::in_file(&mut watcher)), before);
}

/// The executable that watches over an attempt's program.
fn watcher(spec: &AttemptSpec) -> File {
    let own: Vec<_> = processes(spec).iter().map(u32::to_string).collect();
    let mut parents = processes(spec).into_iter().map(|pid| status(pid)["PPid"].clone());
    let parent = parents.find(|parent| !own.contains(parent)).expect("somebody has started it");
    File::open(format!("/proc/{parent}/exe")).unwrap()
}

/// Attempts of one installation do not see each other's processes, files, arguments or variables, and cannot end
/// each other.
///
/// Kills: the processes of this machine shown; one sandbox for several attempts; run directories mounted as a whole.
pub async fn other_attempts_are_invisible(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let mut victim = bench.spec(r#"echo "$1" > file; while :; do echo >> beat; sleep 0.01; done"#);
    let secret = give(bench, &mut victim);
    let _execution = bench.start(&victim).await;
    bench.beats(&file(&victim, "beat")).await;
    for path in [&victim.run_dir, &victim.working_dir, &file(&victim, "file")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // The word itself is in no argument of this one, which it would find.
    let mut spec = bench.spec(&format!(
        r#"{NOT_AS_ROOT}
        cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2> /dev/null > seen
        grep -rlsF -D skip --exclude-dir=proc --exclude-dir=sys "$1$2" / > files
        ls "$3" "$4" && echo >> found
        shift 4
        kill -9 "$@"
        exit 0"#
    ));
    let (first, second) = secret.split_at(secret.len() / 2);
    spec.argv.extend([first, second].map(str::to_owned));
    spec.argv.push(victim.run_dir.to_str().expect("a path of ASCII").to_owned());
    spec.argv.push(bench.inside(&victim, &victim.working_dir.join("file")));
    spec.argv.extend(processes(&victim).iter().map(u32::to_string));
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(0));
    let seen = fs::read(file(&spec, "seen")).unwrap();
    assert!(has(&seen, &spec.id.to_string()), "it sees itself");
    assert!(!has(&seen, &secret), "it sees another");
    assert_eq!(fs::read_to_string(file(&spec, "files")).unwrap(), "");
    assert_eq!(lines(&spec, "found"), 0);
    bench.beats(&file(&victim, "beat")).await;
    assert!(size(&file(&victim, "file")) > 0);
}

/// Whoever has no network has nothing but itself.
///
/// Kills: network ignored; the network of this machine.
pub async fn without_a_network_nothing_is_reached(bench: &Bench<'_>) {
    if !bench.can("network", |can| can.network) {
        return;
    }
    let mut spec = bench.spec("echo >> ready; exec sleep 1000");
    spec.network = Network::None;
    let (_execution, program) = bench.start_and_find(&spec).await;
    let table = |name: &str| fs::read_to_string(format!("/proc/{program}/net/{name}")).unwrap_or_default();
    let devices = table("dev");
    let devices: Vec<_> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(devices, ["lo"]);
    assert_eq!(table("route").lines().skip(1).count(), 0);
    assert!(table("ipv6_route").lines().all(|route| route.trim_end().ends_with(" lo")));

    if !bench.finds("python3").await {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut spec = bench.spec(r#"exec python3 -c "$1" 127.0.0.1 "$2""#);
    spec.network = Network::None;
    spec.argv.extend([CONNECT.to_owned(), port]);
    assert_eq!(bench.run_spec(&spec).await.exit, Exit::Code(5));
    assert_eq!(listener.accept().map(|_| ()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Attempts that have a network do not find each other on it.
///
/// Kills: one network on which everybody reaches everybody.
pub async fn attempts_do_not_reach_each_other(bench: &Bench<'_>) {
    if !is_isolated(bench) || !bench.finds("python3").await {
        return;
    }
    if bench.fixture().does_without("separation") {
        return;
    }
    let mut listens = bench.spec(r#"exec python3 -c "$1""#);
    listens.argv.push(LISTEN.to_owned());
    let _execution = bench.start(&listens).await;
    bench.until("it listens", || file(&listens, "address").exists()).await;
    let address = fs::read_to_string(file(&listens, "address")).unwrap();
    let mut connects = bench.spec(r#"exec python3 -c "$@""#);
    connects.argv.push(CONNECT.to_owned());
    connects.argv.extend(address.lines().map(str::to_owned));
    assert_eq!(bench.run_spec(&connects).await.exit, Exit::Code(5));
    assert!(!file(&listens, "reached").exists());
    assert!(!processes(&listens).is_empty(), "nobody listened any more");
}

/// Where nobody asks for a limit on processes, there is one all the same.
///
/// Kills: no limit unless it is asked for.
pub async fn the_process_limit_holds_without_being_asked_for(bench: &Bench<'_>) {
    if !is_isolated(bench) {
        return;
    }
    let mut spec =
        bench.spec("i=0; while [ $i -lt 1100 ]; do sleep 1000 & echo >> forked; i=$((i + 1)); done; exit 0");
    spec.limits.timeout = Some(Duration::from_secs(15));
    spec.limits.stop_grace = Duration::from_millis(200);
    bench.run_spec(&spec).await;
    bench.is_silent(&spec).await;
    let forked = lines(&spec, "forked");
    assert!((16..1024).contains(&forked), "{forked} of 1100 could be forked");
}
