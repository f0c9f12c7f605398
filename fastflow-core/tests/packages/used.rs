//! Who used a package, asked after runs in environments of uv.

use std::collections::BTreeSet;

use fastflow_core::{
    Orchestrator, PipelineName, RunId, Shutdown,
    environment::{Package, PackageOrigin},
    run::{Failure, Run, Status},
    store::PackageQuery,
    testing::tool,
};

use crate::{
    kit::{Place, run, started_after},
    shop::{environment_of, files, index, query, setup_of, used, uv_is_missing},
};

/// What no file of ours may hold.
const PASSWORD: &str = "s3cret-of-the-index";

fn found<'a>(packages: &'a [Package], name: &str) -> &'a Package {
    packages
        .iter()
        .find(|package| package.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name}: {packages:?}"))
}

/// Whether the index is out of reach, after having said so.
fn is_out_of_reach(run: &Run) -> bool {
    match run.failure() {
        Some(Failure::EnvironmentFailed(failure)) if failure.kind.is_transient() => {
            tool::require("pypi", &failure.to_string());
            true
        }
        _ => false,
    }
}

/// The hashes that the locks which uv wrote have for a package.
fn locked_hashes(place: &Place, requirement: &str) -> BTreeSet<String> {
    let mut hashes = BTreeSet::new();
    for lock in files(&place.data().join("environments/locks")) {
        let text = std::fs::read_to_string(lock).unwrap();
        let lines = text.lines().skip_while(|line| !line.starts_with(requirement)).skip(1);
        let lines = lines.take_while(|line| line.trim_start().starts_with("--hash="));
        let hash =
            |line: &str| line.trim().trim_end_matches([' ', '\\']).strip_prefix("--hash=").map(str::to_owned);
        hashes.extend(lines.filter_map(hash));
    }
    hashes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_urllib3_is_found_wherever_it_ran() {
    if uv_is_missing() {
        return;
    }
    let place = Place::new();
    let pipelines = [
        ("old", Some("urllib3==1.26.20\n")),
        ("middle", Some("idna==3.10\nurllib3==2.1.0\n")),
        ("new", Some("urllib3==2.2.3\n")),
        ("other", Some("idna==3.10\n")),
        ("none", None),
    ];
    for (name, requirements) in pipelines {
        place.pipeline(name, "pass");
        if let Some(text) = requirements {
            place.file(&format!("{name}/requirements.txt"), text);
        }
    }
    let flow = place.start().await;
    let mut runs: Vec<RunId> = Vec::new();
    for name in ["old", "middle", "new", "other", "none", "old"] {
        let done = run(&flow, name).await;
        if is_out_of_reach(&done) {
            return;
        }
        assert_eq!(done.status(), Status::Success, "{}", setup_of(&flow, done.id).await);
        runs.push(done.id);
    }
    let answer = used(&flow, &query("urllib3", "<2.2")).await;
    let names = ["middle", "old"].map(|name| name.parse::<PipelineName>().unwrap());
    assert_eq!(answer.pipelines, names);
    assert_eq!(answer.runs.items, [runs[5], runs[1], runs[0]]);
    assert_eq!(answer.environments.len(), 2);
    assert_eq!(used(&flow, &query("urllib3", ">=2.2")).await.runs.items, [runs[2]]);
    assert_eq!(used(&flow, &PackageQuery::new("idna".parse().unwrap())).await.runs.items, [runs[3], runs[1]]);

    let old = flow.packages().of_run(runs[0]).await.unwrap();
    let environment = environment_of(&flow, runs[0]).await;
    assert_eq!((&old.environment, &old.python_version), (&environment.id, &environment.python_version));
    assert_eq!(flow.packages().of_environment(&environment.id).await.unwrap(), old);
    let packages = old.packages.unwrap();
    let [urllib3] = &packages[..] else { panic!("{packages:?}") };
    assert_eq!((urllib3.name.as_str(), urllib3.version.as_str()), ("urllib3", "1.26.20"));
    let hashes: BTreeSet<String> = urllib3.hashes.iter().map(ToString::to_string).collect();
    assert!(hashes.len() == 2 && hashes.iter().all(|hash| hash.starts_with("sha256:")), "{hashes:?}");
    assert_eq!(hashes, locked_hashes(&place, "urllib3==1.26.20"));
    assert!(matches!(&urllib3.origin, PackageOrigin::Index { url } if url.contains("://")), "{urllib3:?}");
    assert_eq!(flow.packages().of_run(runs[4]).await.unwrap().packages, Some(Vec::new()), "it has none");

    // What is gone from the disk is not forgotten.
    flow.shutdown(Shutdown::Detach).await.unwrap();
    drop(flow);
    let moved = place.root().join("moved");
    std::fs::rename(place.data().join("environments"), moved).unwrap();
    let flow = started_after(|| place.builder()).await;
    assert_eq!(used(&flow, &query("urllib3", "<2.2")).await.runs.items, [runs[5], runs[1], runs[0]]);
    assert_eq!(flow.packages().of_run(runs[0]).await.unwrap().packages, Some(packages));
}

async fn packages_of(flow: &Orchestrator, pipeline: &str) -> Vec<Package> {
    let done = run(flow, pipeline).await;
    assert_eq!(done.status(), Status::Success, "{}", setup_of(flow, done.id).await);
    flow.packages().of_run(done.id).await.unwrap().packages.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_lock_says_hash_and_index_and_no_password_is_kept() {
    if uv_is_missing() {
        return;
    }
    let place = Place::new();
    let server = index(&place, &[("tiny", "1.0"), ("tiny", "2.0")]);
    let with_password = format!("http://user:{PASSWORD}@127.0.0.1:{}", server.port);
    let plain = format!("http://127.0.0.1:{}", server.port);
    let at_index = format!("--index-url {with_password}/\n");
    let wheel = format!("{with_password}/tiny/tiny-1.0-py3-none-any.whl?token={PASSWORD}");
    let script = format!(
        "# /// script\n# dependencies = ['tiny']\n# [[tool.uv.index]]\n# url = '{with_password}/'\n# default = true\n# ///\n"
    );
    place
        .pipeline("resolved", "import tiny")
        .file("resolved/requirements.txt", format!("{at_index}tiny<2\n"))
        .pipeline("script", &script)
        .pipeline("direct", "import tiny")
        .file("direct/requirements.txt", format!("--no-index\ntiny @ {wheel}\n"));
    let flow = place.start().await;
    let resolved = packages_of(&flow, "resolved").await;
    let tiny = found(&resolved, "tiny");
    assert_eq!((tiny.version.as_str(), &tiny.origin), ("1.0", &PackageOrigin::Index { url: plain.clone() }));
    assert_eq!(tiny.hashes.len(), 1, "{tiny:?}");
    let hash = tiny.hashes[0].clone();

    let script = packages_of(&flow, "script").await;
    let tiny = found(&script, "tiny");
    assert_eq!(tiny.version, "2.0");
    assert!(matches!(&tiny.origin, PackageOrigin::Index { url } if *url == plain), "{tiny:?}");

    let direct = packages_of(&flow, "direct").await;
    let tiny = found(&direct, "tiny");
    let url = format!("{plain}/tiny/tiny-1.0-py3-none-any.whl");
    assert_eq!((&tiny.origin, &tiny.hashes), (&PackageOrigin::Direct { url }, &vec![hash.clone()]));

    // A lock that the pipeline brings, with the comment that says the index.
    let lock = format!("tiny==1.0 \\\n    --hash={hash}\n    # from {with_password}/\n");
    place.pipeline("locked", "import tiny").file("locked/requirements.txt.lock", format!("{at_index}{lock}"));
    let locked = packages_of(&flow, "locked").await;
    assert_eq!(found(&locked, "tiny").hashes, [hash]);
    assert!(matches!(&found(&locked, "tiny").origin, PackageOrigin::Index { .. }), "{locked:?}");

    used(&flow, &PackageQuery::new("tiny".parse().unwrap())).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let lists = files(&place.data().join("environments"));
    let lists = lists.into_iter().filter(|path| path.ends_with("fastflow-packages.json"));
    let databases =
        files(&place.data()).into_iter().filter(|path| path.to_string_lossy().contains("fastflow.db"));
    let kept: Vec<_> = lists.chain(databases).collect();
    assert!(kept.len() > 3, "{kept:?}");
    for path in kept {
        let bytes = std::fs::read(&path).unwrap();
        let holds = bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!holds, "{} holds the password", path.display());
    }
}
