//! Cases on what environments hold, and who used it.

use std::{sync::Arc, time::Duration};

use super::{at, claimed, end, exited, handle, id, many, spec};
use crate::{
    ErrorKind, RunId,
    environment::{
        AuditOutcome, EnvironmentId, Finding, Package, PackageName, PackageOrigin, SkippedPackage,
    },
    run::{Exit, Run, RunEvent, Setup, SetupEnvironment},
    store::{Audit, Claim, EnvironmentPackages, PackageQuery, PackageUse, Step, Store},
};

fn environment(number: u8) -> EnvironmentId {
    format!("{number:064x}").parse().unwrap()
}

fn used(number: u8) -> SetupEnvironment {
    SetupEnvironment {
        id: environment(number),
        lock_hash: format!("{number:063x}f"),
        python_version: "3.12.4".into(),
        uv_version: "0.9.1".into(),
        built: number == 1,
    }
}

fn package(name: &str, version: &str, hashes: &[&str]) -> Package {
    Package {
        name: name.parse().unwrap(),
        version: version.into(),
        hashes: hashes.iter().map(|hash| hash.parse().unwrap()).collect(),
        origin: PackageOrigin::Index { url: "https://pypi.org/simple".into() },
    }
}

fn recorded(number: u8, packages: &[Package], second: i64) -> EnvironmentPackages {
    EnvironmentPackages::new(&used(number), Some(packages.to_vec()), at(second))
}

async fn put(store: &Arc<dyn Store>, number: u8, packages: &[Package]) {
    store.put_environment(recorded(number, packages, 1)).await.unwrap();
}

/// Says that the newest attempt of a claimed run has started in an environment.
async fn start_in(store: &Arc<dyn Store>, run: &Run, number: u8) {
    let mut step = Step::new(run.id, Some(run.epoch), RunEvent::Started(handle(run)), at(2));
    step.setup = Some(Setup {
        duration: Duration::from_millis(5),
        environment: Some(used(number)),
        image: None,
        secrets: Vec::new(),
    });
    store.advance(step).await.unwrap();
}

/// A run of `pipeline` that is over, in an environment.
async fn ran(store: &Arc<dyn Store>, number: u64, pipeline: &str, environment: u8) {
    let run = claimed(store, number, &spec(pipeline, 0)).await;
    start_in(store, &run, environment).await;
    end(store, &run, Exit::Code(0), 3).await;
}

fn query(name: &str, versions: &str) -> PackageQuery {
    let mut query = PackageQuery::new(name.parse().unwrap());
    query.versions = Some(versions.parse().unwrap());
    query
}

fn environments(found: &PackageUse) -> Vec<EnvironmentId> {
    found.environments.iter().map(|found| found.environment.clone()).collect()
}

/// Kills: a store that loses a field, mixes up what two environments share, or overwrites what it knows.
pub async fn an_environment_is_read_as_it_was_recorded(store: Arc<dyn Store>) {
    let shared = package("idna", "3.10", &["sha256:aa", "sha256:bb"]);
    let direct = Package {
        origin: PackageOrigin::Direct { url: "git+https://e.example/x.git@cc".into() },
        ..package("ours", "0.1", &[])
    };
    let first = recorded(1, &[shared.clone(), package("urllib3", "1.26.20", &["sha256:cc"])], 1);
    let second = recorded(2, &[shared, direct, package("urllib3", "1.26.20", &["sha256:dd"])], 2);
    let empty = recorded(3, &[], 3);
    for environment in [&first, &second, &empty] {
        store.put_environment(environment.clone()).await.unwrap();
        store.put_environment(environment.clone()).await.unwrap();
        assert_eq!(store.environment(&environment.environment).await.unwrap(), *environment);
    }
    assert_eq!(store.environment(&environment(1)).await.unwrap(), first, "the others left it alone");
    store.put_environment(recorded(1, &[package("other", "1", &[])], 9)).await.unwrap();
    store.put_environment(EnvironmentPackages { packages: None, ..first.clone() }).await.unwrap();
    assert_eq!(store.environment(&environment(1)).await.unwrap(), first, "what is known stays known");

    let unknown = EnvironmentPackages::new(&used(4), None, at(4));
    store.put_environment(unknown.clone()).await.unwrap();
    assert_eq!(store.environment(&environment(4)).await.unwrap(), unknown);
    let known = recorded(4, &[package("late", "1", &[])], 5);
    store.put_environment(known.clone()).await.unwrap();
    assert_eq!(store.environment(&environment(4)).await.unwrap(), known, "it may become known");
    assert_eq!(store.environment(&environment(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Kills: versions that are compared as texts, a run that is found only by its last attempt, a pipeline or a run that is
/// named because it used something else.
pub async fn who_used_a_package_is_found(store: Arc<dyn Store>) {
    put(&store, 1, &[package("urllib3", "1.26.20", &["sha256:aa"]), package("idna", "3.10", &[])]).await;
    put(&store, 2, &[package("urllib3", "2.1.0", &["sha256:bb"])]).await;
    put(&store, 3, &[package("urllib3", "10.0", &[]), package("urllib3-ext", "1.0", &[])]).await;
    put(&store, 4, &[package("idna", "3.10", &[])]).await;
    put(&store, 5, &[package("urllib3", "of our own", &[])]).await;
    put(&store, 6, &[package("running", "1", &[])]).await;
    for (number, pipeline, environment) in
        [(1, "old", 1), (2, "new", 3), (3, "middle", 2), (4, "old", 1), (5, "other", 4), (6, "odd", 5)]
    {
        ran(&store, number, pipeline, environment).await;
    }
    // Its first attempt ran with the old one, and its second without.
    let moved = claimed(&store, 7, &spec("moved", 1)).await;
    start_in(&store, &moved, 1).await;
    store.advance(Step::new(moved.id, Some(moved.epoch), exited(Exit::Code(1)), at(3))).await.unwrap();
    let again = store.claim(Claim::new(at(100), many(1))).await.unwrap().remove(0);
    start_in(&store, &again, 4).await;
    let running = claimed(&store, 9, &spec("running", 0)).await;
    start_in(&store, &running, 6).await;
    // Submitted and never started: it used nothing.
    claimed(&store, 8, &spec("waiting", 0)).await;

    let found = store.package_use(&query("urllib3", "<2.2")).await.unwrap();
    assert_eq!(environments(&found), [environment(2), environment(1)], "those recorded last come first");
    assert_eq!(found.environments[1].package, package("urllib3", "1.26.20", &["sha256:aa"]));
    let pipelines: Vec<&str> = found.pipelines.iter().map(crate::PipelineName::as_str).collect();
    assert_eq!(pipelines, ["middle", "moved", "old"]);
    assert_eq!(found.runs.items, [7, 4, 3, 1].map(id));
    assert!(found.runs.next.is_none() && !found.more_environments);
    assert_eq!(found.unknown_environments, 0);

    let found = store.package_use(&query("urllib3", ">=2.2")).await.unwrap();
    assert_eq!((environments(&found), found.runs.items), (vec![environment(3)], vec![id(2)]));
    let found = store.package_use(&PackageQuery::new("urllib3".parse().unwrap())).await.unwrap();
    assert_eq!(found.runs.items, [7, 6, 4, 3, 2, 1].map(id), "without a range also what is no version");
    let found = store.package_use(&PackageQuery::new("idna".parse().unwrap())).await.unwrap();
    assert_eq!(found.runs.items, [7, 5, 4, 1].map(id), "a run with it in both attempts is one run");
    let found = store.package_use(&query("running", "==1")).await.unwrap();
    assert_eq!((found.pipelines.len(), found.runs.items), (1, vec![id(9)]), "it counts from its start on");
    let found = store.package_use(&query("nothing", "<2")).await.unwrap();
    assert!(found.environments.is_empty() && found.pipelines.is_empty() && found.runs.items.is_empty());
}

/// Kills: pages that lose or repeat a run, or look at one environment only.
pub async fn the_users_of_a_package_are_read_in_pages(store: Arc<dyn Store>) {
    for number in 1..=3 {
        put(&store, number, &[package("six", &format!("1.{number}"), &[])]).await;
    }
    for number in 1..=20 {
        ran(&store, number, "etl", u8::try_from(number % 4).unwrap()).await;
    }
    let mut query = query("six", "<2");
    query.limit = Some(many(4));
    let mut runs: Vec<RunId> = Vec::new();
    loop {
        let page = store.package_use(&query).await.unwrap().runs;
        assert!(page.items.len() == 4 || page.next.is_none());
        runs.extend(page.items);
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let expected: Vec<RunId> = (1..=20).rev().filter(|number| number % 4 != 0).map(id).collect();
    assert_eq!(runs, expected);
}

/// Kills: a host that believes that nobody used a package, because nobody ever looked.
pub async fn what_ran_and_is_not_recorded_is_known(store: Arc<dyn Store>) {
    for (number, environment) in [(1, 3), (2, 1), (3, 2), (4, 1)] {
        ran(&store, number, "etl", environment).await;
    }
    assert_eq!(store.unrecorded_environments(many(9)).await.unwrap(), [1, 2, 3].map(used));
    assert_eq!(store.unrecorded_environments(many(2)).await.unwrap(), [1, 2].map(used));
    put(&store, 1, &[package("six", "1", &[])]).await;
    store.put_environment(EnvironmentPackages::new(&used(2), None, at(1))).await.unwrap();
    assert_eq!(store.unrecorded_environments(many(9)).await.unwrap(), [used(3)]);
    let found = store.package_use(&PackageQuery::new("six".parse().unwrap())).await.unwrap();
    assert_eq!(found.unknown_environments, 2, "one not recorded, and one of which nobody knows");
}

fn outcome(number: u32) -> AuditOutcome {
    let name = |name: &str| name.parse::<PackageName>().unwrap();
    match number % 4 {
        0 => AuditOutcome::ToolMissing { program: "pip-audit".into() },
        1 => AuditOutcome::failed("no answer\n\"today\""),
        2 => AuditOutcome::Clean {
            audited: number,
            skipped: vec![SkippedPackage { package: name("ours"), reason: "not found".into() }],
        },
        _ => AuditOutcome::Vulnerable {
            audited: number,
            findings: vec![Finding {
                package: name("urllib3"),
                version: "1.26.4".into(),
                id: "PYSEC-2021-108".into(),
                aliases: vec!["CVE-2021-33503".into()],
                fixed_in: vec!["1.26.5".into()],
                description: "an URL that takes long".into(),
            }],
            skipped: Vec::new(),
        },
    }
}

/// Kills: an audit that loses a field, and a history that never ends or ends with another environment's.
pub async fn the_newest_audits_of_each_environment_are_kept(store: Arc<dyn Store>) {
    let kept = Audit::KEPT_MAX;
    let audit = |of: u8, number: u32| Audit {
        environment: environment(of),
        at: at(i64::from(number)),
        outcome: outcome(number),
    };
    store.put_audit(audit(2, 0)).await.unwrap();
    for number in 1..=kept + 3 {
        store.put_audit(audit(1, number)).await.unwrap();
    }
    store.put_audit(audit(2, 900)).await.unwrap();
    let of_one = store.audits(Some(&environment(1)), many(1000)).await.unwrap();
    assert_eq!(of_one, (4..=kept + 3).rev().map(|number| audit(1, number)).collect::<Vec<_>>());
    let all = store.audits(None, many(3)).await.unwrap();
    assert_eq!(all, [audit(2, 900), audit(1, kept + 3), audit(1, kept + 2)]);
    assert_eq!(store.audits(Some(&environment(2)), many(9)).await.unwrap(), [audit(2, 900), audit(2, 0)]);
    assert!(store.audits(Some(&environment(3)), many(9)).await.unwrap().is_empty());
}

/// Kills: an audit that failed and is taken for an answer, one environment's answer that is taken for another's, and one
/// that is forgotten for what came after it.
pub async fn an_environment_is_unaudited_until_there_is_an_answer(store: Arc<dyn Store>) {
    let unaudited = async |limit| store.unaudited_environments(many(limit)).await.unwrap();
    let audit = async |of: u8, number: u32| {
        let audit = Audit { environment: environment(of), at: at(1), outcome: outcome(number) };
        store.put_audit(audit).await.unwrap();
    };
    assert!(unaudited(9).await.is_empty());
    for number in [3, 1, 2] {
        put(&store, number, &[package("six", "1", &[])]).await;
    }
    store.put_environment(EnvironmentPackages::new(&used(4), None, at(1))).await.unwrap();
    assert_eq!(unaudited(9).await, [2, 1, 3].map(environment), "nobody can audit what nobody knows");
    assert_eq!(unaudited(2).await, [2, 1].map(environment));
    for (of, number) in [(1, 0), (1, 1), (2, 2), (2, 1), (4, 3)] {
        audit(of, number).await;
    }
    assert_eq!(unaudited(9).await, [1, 3].map(environment), "an answer stands whatever fails after it");
    audit(1, 3).await;
    put(&store, 4, &[]).await;
    put(&store, 5, &[]).await;
    assert_eq!(unaudited(9).await, [5, 3].map(environment));
}
