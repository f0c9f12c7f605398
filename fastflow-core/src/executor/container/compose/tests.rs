//! Whatever a pipeline and its caller say, its container has only what it may have.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    AttemptId,
    executor::container::{ContainerConfig, ContainerUser},
    secret::Secret,
};

const DATA: &str = "/srv/fastflow";
const CANARY: &str = "canary-5f1b";

fn spec_of(
    env: BTreeMap<String, String>,
    arguments: Vec<String>,
    limits: (Option<u32>, Option<u64>, Option<u32>),
    network: Network,
) -> AttemptSpec {
    let id: AttemptId = "019aa2f0-7c3c-7def-8000-000000000001-2".parse().unwrap();
    let mut argv = vec!["python".to_owned()];
    argv.extend(arguments);
    let run_dir = Path::new(DATA).join("runs/etl/1/2");
    let mut spec = AttemptSpec::new(id, "warehouse".parse().unwrap(), argv, run_dir.clone());
    spec.working_dir = run_dir.join("work");
    spec.env = env;
    spec.network = network;
    spec.read_only = vec![Path::new(DATA).join("environments/0f")];
    (spec.limits.cpu_millis, spec.limits.memory_bytes, spec.limits.max_processes) = limits;
    spec
}

fn container_of(spec: &AttemptSpec, config: &ContainerConfig) -> ContainerSpec {
    let facts = Facts {
        config,
        user: ContainerUser { uid: 65_532, gid: 65_532, keep_id: false },
        host_paths: &HostPaths::Same,
        order_root: Path::new("/dev/shm/fastflow-0"),
        shim: Path::new("/srv/fastflow/docker/fastflow-shim-1"),
    };
    let name = format!("fastflow-{}", spec.id);
    let blueprint = Blueprint {
        name: &name,
        kind: Kind::Attempt,
        owner: &spec.owner,
        labels: &attempt_labels(spec.id),
        image: &ImageInfo { id: "sha256:00".into(), volumes: vec!["/data".into()], ..ImageInfo::default() },
        run_dir: &spec.run_dir,
        network: spec.network,
        limits: &spec.limits,
        reads: &spec.read_only,
        writes: &[],
        order_wait: None,
    };
    blueprint.container(facts).unwrap()
}

proptest! {
    #[test]
    fn a_container_has_what_it_may_have_and_nothing_that_was_said(
        names in proptest::collection::btree_map("[A-Z_]{1,8}", ".{0,20}", 0..4),
        arguments in proptest::collection::vec(".{0,20}", 0..4),
        limits in (
            proptest::option::of(10_u32..64_000),
            proptest::option::of(6_u64 << 20..1 << 40),
            proptest::option::of(1_u32..u32::MAX),
        ),
        is_apart in any::<bool>(),
    ) {
        let mark = |text: String| format!("{CANARY}{text}");
        let env = names.into_iter().map(|(name, value)| (format!("{CANARY}_{name}"), mark(value))).collect();
        let network = if is_apart { Network::None } else { Network::Bridge };
        let mut attempt = spec_of(env, arguments.into_iter().map(mark).collect(), limits, network);
        attempt.secrets.env.insert("TOKEN".parse().unwrap(), Secret::new(mark("variable".to_owned())));
        attempt.secrets.files.insert("KEY".parse().unwrap(), Secret::new(mark("file".to_owned())));
        attempt.masked_files.push(attempt.working_dir.join("result.json"));
        let config = ContainerConfig::new("/srv/fastflow/docker");
        let container = container_of(&attempt, &config);

        // Nothing that the pipeline or its caller says is in what the engine gets.
        let said = format!("{container:?}");
        prop_assert!(!said.contains(CANARY));
        // Mounts are ours, and only the attempt's own can be written to.
        let writable: Vec<&Path> =
            container.mounts.iter().filter(|mount| mount.access == Access::ReadWrite).map(|mount| &*mount.source).collect();
prop_assert_eq!(writable, [&attempt.run_dir]);
        prop_assert!(container.mounts.iter().all(|mount| mount.source.starts_with(DATA) || mount.target == Path::new(ORDER)));
        prop_assert_eq!(container.mounts.len(), 4);
        // Everything has a limit.
        prop_assert!(container.max_processes >= 2 && container.max_open_files > 0);
        prop_assert_eq!(container.memory_bytes, limits.1.or(config.default_memory_bytes));
        prop_assert_eq!(container.cpu_millis, limits.0);
        prop_assert!(container.tmpfs.iter().all(|tmpfs| !tmpfs.allow_execution && tmpfs.size_bytes > 0));
        prop_assert_ne!(container.user.uid, 0);
        prop_assert_eq!(container.network == ContainerNetwork::None, is_apart);
        prop_assert_eq!(&container.entrypoint[0], SHIM);
        // The order says the rest, with the paths of the container.
        prop_assert!(attempt.requirements().secrets);
        let order = attempt_order(&mut attempt);
        prop_assert!(attempt.secrets.is_empty());
        prop_assert_eq!(order.secret_env["TOKEN"].expose(), mark("variable".to_owned()));
        let files = order.secret_files.unwrap();
        prop_assert_eq!(&*files.dir, Path::new(SECRETS));
        prop_assert_eq!(files.files["KEY"].expose(), mark("file".to_owned()));
        prop_assert_eq!(order.mask.files, [Path::new("/fastflow/run/work/result.json")]);
        prop_assert_eq!(order.working_dir, Path::new("/fastflow/run/work"));
        prop_assert_eq!(&order.env, &attempt.env);
    }
}

#[test]
fn folders_that_would_hide_the_container_are_refused() {
    for folder in
        ["/", "/etc", "relative/folder", "/srv/../etc/x", "/proc/1/root", "/dev/shm/x", "/fastflow/shim/x"]
    {
        assert!(check_folder(Path::new(folder)).is_err(), "{folder}");
    }
    assert!(check_folder(Path::new("/srv/fastflow/environments")).is_ok());
}

#[test]
fn only_the_run_directory_has_another_place_inside() {
    let run_dir = Path::new("/srv/fastflow/runs/a/1");
    for (outside, inside) in [
        ("/srv/fastflow/runs/a/1", "/fastflow/run"),
        ("/srv/fastflow/runs/a/1/work/main.py", "/fastflow/run/work/main.py"),
        ("/srv/fastflow/runs/a/10", "/srv/fastflow/runs/a/10"),
        ("/srv/fastflow/environments/0f/bin/python", "/srv/fastflow/environments/0f/bin/python"),
    ] {
        assert_eq!(path_inside(run_dir, Path::new(outside)), Path::new(inside));
    }
}
