//! What a build makes, how often, and what it leaves alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    Clock, SystemClock, Timestamp,
    environment::{EnvironmentBuilder, UvEnvironments},
    pipeline::DependencySource,
};

use crate::lab::{Lab, Said, environments, files, prepare, request, requirements, run_in};

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_callers_share_one_build_and_the_next_call_starts_nothing() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let builder = lab.environments();
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let calls = (0..16).map(|_| {
        let (builder, request) = (builder.clone(), requirements(&folder));
        tokio::spawn(async move {
            let said = Said::default();
            (builder.prepare(&request, &said).await.unwrap(), said.text())
        })
    });
    let mut built = 0;
    let mut ids = BTreeSet::new();
    for call in futures_of(calls).await {
        let (environment, said) = call;
        built += usize::from(environment.built);
        assert!(said.contains("is ready"), "every waiter hears the build: {said:?}");
        ids.insert(environment.id);
    }
    assert_eq!((built, ids.len()), (1, 1));
    assert_eq!(lab.calls("pip compile"), 1);
    assert_eq!(lab.calls(" venv "), 1);
    assert_eq!(lab.calls("pip sync"), 1);

    let before = lab.calls("");
    let environment = prepare(&builder, &requirements(&folder)).await.unwrap();
    assert!(!environment.built);
    assert_eq!(run_in(&environment, "import tiny; print(tiny.VERSION)"), "1.0");
    let fresh = prepare(&lab.environments(), &requirements(&folder)).await.unwrap();
    assert_eq!(fresh, environment);
    assert_eq!(lab.calls(""), before, "a known environment starts no uv, even in a new process");
}

async fn futures_of<T>(calls: impl Iterator<Item = tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut ended = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ended.push(call.await.unwrap());
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_leaves_does_not_stop_the_build_for_the_others() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let builder = lab.environments();
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    let join = |builder: UvEnvironments| {
        let request = requirements(&folder);
        tokio::spawn(async move { builder.prepare(&request, &Said::default()).await })
    };
    let leaves = join(builder.clone());
    let stays = join(builder.clone());
    let deadline = Duration::from_secs(30);
    wait_for(deadline, || lab.calls("pip compile") == 1).await;
    leaves.abort();
    assert!(leaves.await.is_err());
    stays.await.unwrap().unwrap();
    assert_eq!(lab.calls("pip sync"), 1);
}

pub(crate) async fn wait_for(limit: Duration, condition: impl Fn() -> bool) {
    let clock = SystemClock::new();
    while !condition() {
        assert!(clock.elapsed() < limit, "did not happen within {limit:?}");
        clock.sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_waits_any_more_uv_is_killed_and_the_next_build_works() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let builder = lab.environments();
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n")]);
    prepare(&builder, &request(&folder, DependencySource::None)).await.unwrap();
    let real = fs::read_to_string(lab.root.path().join("uv")).unwrap();
    let real = real.lines().last().unwrap().to_owned();
    let pid = lab.root.path().join("pid");
    lab.wrap(&format!("echo $$ > '{}.staged'; mv '{0}.staged' '{0}'; sleep 600 & wait", pid.display()));
    let (asked, request) = (builder.clone(), requirements(&folder));
    let waits = tokio::spawn(async move { asked.prepare(&request, &Said::default()).await });
    wait_for(Duration::from_secs(30), || pid.exists()).await;
    let pid = fs::read_to_string(&pid).unwrap().trim().to_owned();
    waits.abort();
    let alive = || {
        // A group that holds only what nobody has reaped yet is as good as gone.
        let groups = std::process::Command::new("ps").args(["-eo", "pgid=,stat="]).output().unwrap();
        String::from_utf8(groups.stdout).unwrap().lines().any(|line| {
            let mut fields = line.split_whitespace();
            fields.next() == Some(&pid) && fields.next().is_some_and(|state| !state.starts_with('Z'))
        })
    };
    wait_for(Duration::from_secs(30), || !alive()).await;
    lab.wrap(&real);
    let environment = prepare(&builder, &requirements(&folder)).await.unwrap();
    assert_eq!(run_in(&environment, "import tiny; print(tiny.VERSION)"), "1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_cannot_be_written_and_shares_nothing_with_the_cache() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let folder = lab.pipeline("a", &[("requirements.txt", "tiny\n"), ("main.py", "import tiny\n")]);
    let before: BTreeMap<_, _> = snapshot(&folder);
    let environment = prepare(&lab.environments(), &requirements(&folder)).await.unwrap();
    assert_eq!(snapshot(&folder), before, "the pipeline's folder is only read");

    let inside = files(&environment.directory);
    assert!(inside.iter().any(|path| path.ends_with("tiny.py")));
    assert!(inside.iter().any(|path| path.extension().is_some_and(|ending| ending == "pyc")), "no bytecode");
    for path in &inside {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o222, 0, "{} is writable", path.display());
        assert_eq!(metadata.nlink(), 1, "{} shares its inode", path.display());
    }
    let directory = environment.python.parent().unwrap();
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o555);
    let cache: BTreeSet<u64> =
        files(&lab.root.path().join("cache")).iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
    assert!(!cache.is_empty());
    assert!(inside.iter().all(|path| !cache.contains(&fs::metadata(path).unwrap().ino())));

    let record = fs::read_to_string(environment.directory.join("fastflow-environment.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["id"], environment.id.as_str());
    assert_eq!(record["packages"], 1);
    assert_eq!(record["uv_version"], environment.uv_version);
    assert!(environment.uv_version.starts_with(|c: char| c.is_ascii_digit()), "{}", environment.uv_version);
    let left: Vec<_> = fs::read_dir(lab.environments_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn snapshot(folder: &std::path::Path) -> BTreeMap<std::path::PathBuf, (Vec<u8>, (i64, i64))> {
    files(folder)
        .into_iter()
        .map(|path| {
            let metadata = fs::metadata(&path).unwrap();
            let content = fs::read(&path).unwrap();
            (path, (content, (metadata.mtime(), metadata.mtime_nsec())))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_requirements_make_one_environment_and_changed_ones_another() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let builder = lab.environments();
    let of = async |name: &str, text: &str| {
        let folder = lab.pipeline(name, &[("requirements.txt", text)]);
        prepare(&builder, &requirements(&folder)).await.unwrap()
    };
    let first = of("first", "tiny\n").await;
    let second = of("second", "# another file, the same packages\ntiny==1.0\n").await;
    assert_eq!(first.id, second.id);
    assert!(first.built && !second.built);

    lab.wheel("tiny", "2.0", &[]);
    assert_eq!(of("third", "tiny\n").await.id, first.id, "the same input keeps its lock");
    let changed = of("first", "tiny>=2\n").await;
    assert_ne!(changed.id, first.id, "a changed file is seen although its folder is remembered");
    assert_eq!(run_in(&changed, "import tiny; print(tiny.VERSION)"), "2.0");

    let none = request(&lab.pipeline("none", &[("main.py", "")]), DependencySource::None);
    let none = prepare(&builder, &none).await.unwrap();
    assert_eq!(of("empty", "# nothing\n").await.id, none.id);
    assert_eq!(run_in(&none, "import sys; print(sys.prefix != sys.base_prefix)"), "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbage_collection_spares_what_is_kept_and_what_was_used() {
    let Some(lab) = Lab::new() else { return };
    lab.wheel("tiny", "1.0", &[]);
    let clock = Arc::new(Shifted::default());
    let builder = UvEnvironments::new(lab.offline(), clock.clone()).unwrap();
    let tiny = requirements(&lab.pipeline("a", &[("requirements.txt", "tiny\n")]));
    let none = request(&lab.pipeline("b", &[("main.py", "")]), DependencySource::None);
    let first = prepare(&builder, &tiny).await.unwrap();
    let second = prepare(&builder, &none).await.unwrap();
    fs::create_dir(lab.environments_dir().join(format!(".building-{}", first.id))).unwrap();
    let day = Duration::from_hours(24);

    let nothing = builder.collect(&BTreeSet::new(), day, 10).await.unwrap();
    assert_eq!((nothing.removed.len(), nothing.leftovers), (0, 1));

    clock.advance(Duration::from_hours(25));
    assert_eq!(prepare(&builder, &none).await.unwrap().id, second.id);
    let kept = builder.collect(&BTreeSet::from([first.id.clone()]), day, 10).await.unwrap();
    assert!(kept.removed.is_empty(), "{kept:?}");
    let gone = builder.collect(&BTreeSet::new(), day, 10).await.unwrap();
    assert_eq!(gone.removed, std::slice::from_ref(&first.id));
    assert!(!first.directory.exists() && second.directory.exists());

    lab.wheel("tiny", "2.0", &[]);
    let again = prepare(&builder, &tiny).await.unwrap();
    assert!(again.built);
    assert_eq!(again.id, first.id, "the kept lock brings the same environment back");
}

/// A clock whose both kinds of time can be moved on.
#[derive(Debug)]
pub(crate) struct Shifted(SystemClock, AtomicU64);

impl Default for Shifted {
    fn default() -> Self {
        Self(SystemClock::new(), AtomicU64::new(0))
    }
}

impl Shifted {
    pub(crate) fn advance(&self, by: Duration) {
        self.1.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        self.0.now() + Duration::from_secs(self.1.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed() + Duration::from_secs(self.1.load(Ordering::Relaxed))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_the_index_with_code_in_c_work() {
    let Some(lab) = Lab::new() else { return };
    let folder = lab.pipeline("a", &[("requirements.txt", "six\nidna\nmarkupsafe\n")]);
    let said = Said::default();
    match environments(lab.online()).prepare(&requirements(&folder), &said).await {
        Ok(environment) => {
            let code = "import six, idna, markupsafe._speedups; print('ok')";
            assert_eq!(run_in(&environment, code), "ok");
            assert!(said.text().contains("Resolved 3 packages"), "{}", said.text());
        }
        Err(failure) if failure.kind.is_transient() => {
            fastflow_core::testing::tool::require("pypi", &failure.to_string());
        }
        Err(failure) => panic!("{failure}"),
    }
}
