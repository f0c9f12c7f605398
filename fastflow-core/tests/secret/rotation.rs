//! Hosts that are killed while they put secrets under another key: every value can be read all the time, and the next one
//! goes on.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Duration,
};

use fastflow_core::{
    Clock as _, Orchestrator, OsEntropy, Shutdown, SystemClock,
    secret::{MasterKeyId, MasterKeySource, Secret, SecretName, SecretScope, generate_key_file},
    store::SecretQuery,
    testing::torture::{HostProcess, Part},
};
use tempfile::TempDir;

use crate::kit::{until, variable};

/// How many secrets there are.
const SECRETS: usize = 90;
/// How often a host is killed, unless `FASTFLOW_KILLS` says otherwise.
const KILLS: u64 = 40;
/// A host is killed when it has written so many new values at most; meanwhile it puts about a quarter as many under
/// another key.
const MOST_WRITTEN: u64 = 120;
/// So many secrets are being replaced while all are put under another key.
const WRITERS: usize = 4;
/// So many read all of them meanwhile.
const READERS: usize = 2;

fn name(number: usize) -> SecretName {
    format!("SECRET_{number:03}").parse().unwrap()
}

fn key_file(stage: &Path, number: u64) -> MasterKeySource {
    MasterKeySource::File(stage.join(format!("keys/{number}")))
}

/// A host with the first `keys` keys, of which the last one seals.
async fn host(stage: &Path, keys: u64) -> Orchestrator {
    let clock = SystemClock::new();
    loop {
        let builder = Orchestrator::builder(stage.join("data")).pipelines(stage.join("pipelines"));
        let builder = builder.master_key(key_file(stage, keys - 1));
        let older = (0..keys - 1).map(|number| key_file(stage, number));
        match older.fold(builder, fastflow_core::OrchestratorBuilder::older_master_key).build().await {
            Ok(flow) => return flow,
            // The kernel has not let go of the one that was killed.
            Err(error) if error.is_transient() || error.kind() == fastflow_core::ErrorKind::Conflict => {
                clock.sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn value(flow: &Orchestrator, number: usize) -> u64 {
    let secret = flow.secrets().reveal(&SecretScope::Global, &name(number)).await;
    let secret = secret.unwrap_or_else(|error| panic!("secret {number} cannot be read: {error:?}"));
    let (of, value) = secret.expose().split_once(':').unwrap();
    assert_eq!(of, name(number).as_str(), "it is another one's");
    value.parse().unwrap()
}

async fn set(flow: &Orchestrator, number: usize, value: u64) {
    let secret = Secret::new(format!("{}:{value}", name(number)));
    flow.secrets().set(&SecretScope::Global, &name(number), secret).await.unwrap();
}

/// Not a test of its own: the host that is killed. It puts all under its newest key, while others write and read.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host process of other tests"]
async fn as_another_host() {
    let Some(part) = Part::of_this_process() else { return };
    let flow = host(&part.stage, part.seed).await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (flow, stage) = (flow.clone(), part.stage.clone());
        tasks.spawn(async move {
            let mut acknowledged = File::options()
                .create(true)
                .append(true)
                .open(stage.join(format!("written.{writer}")))
                .unwrap();
            let mut values = BTreeMap::new();
            // Each has its own, and begins where the rotation ends: what that has read is replaced before it comes there.
            for number in (0..SECRETS).rev().skip(writer).step_by(WRITERS).cycle() {
                let next = match values.get(&number) {
                    Some(last) => last + 1,
                    None => value(&flow, number).await + 1,
                };
                set(&flow, number, next).await;
                values.insert(number, next);
                // In one piece, or not at all.
                acknowledged.write_all(format!("{number} {next}\n").as_bytes()).unwrap();
            }
        });
    }
    for _ in 0..READERS {
        let flow = flow.clone();
        tasks.spawn(async move {
            for number in (0..SECRETS).cycle() {
                value(&flow, number).await;
            }
        });
    }
    fs::write(part.stage.join("up"), "").unwrap();
    tasks.spawn(async move {
        let rotation = flow.secrets().rotate().await.unwrap();
        assert_eq!(rotation.unreadable, []);
        std::future::pending::<()>().await;
    });
    // Whatever ends has failed.
    tasks.join_next().await.unwrap().unwrap();
}

/// The newest values that somebody was told are written.
fn acknowledged(stage: &Path) -> BTreeMap<usize, u64> {
    let mut newest = BTreeMap::new();
    for writer in 0..WRITERS {
        let text = fs::read_to_string(stage.join(format!("written.{writer}"))).unwrap_or_default();
        for line in text.lines() {
            let (number, value) = line.split_once(' ').unwrap();
            newest.insert(number.parse().unwrap(), value.parse().unwrap());
        }
    }
    newest
}

/// How often somebody was told so.
fn lines(stage: &Path) -> u64 {
    let text = |writer| fs::read_to_string(stage.join(format!("written.{writer}"))).unwrap_or_default();
    (0..WRITERS).map(|writer| text(writer).lines().count() as u64).sum()
}

/// Whether the process waits for nothing but to be asked how it ended.
fn has_ended(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

async fn under(flow: &Orchestrator) -> BTreeMap<MasterKeyId, u64> {
    let keys = flow.secrets().keys().await.unwrap();
    keys.into_iter().filter(|key| key.values > 0).map(|key| (key.key, key.values)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_leaves_every_value_readable_and_is_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let stage = folder.path();
    fs::create_dir(stage.join("pipelines")).unwrap();
    let kills = variable("FASTFLOW_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    for number in 0..=kills + 1 {
        generate_key_file(&stage.join(format!("keys/{number}")), &OsEntropy).unwrap();
    }
    let flow = host(stage, 1).await;
    for number in 0..SECRETS {
        set(&flow, number, 0).await;
    }
    flow.shutdown(Shutdown::Detach).await.unwrap();

    let (mut keys, mut in_the_middle) = (2, 0);
    let mut last_found = BTreeMap::new();
    for kill in 0..kills {
        let up = stage.join("up");
        let _ = fs::remove_file(&up);
        let host_process =
            HostProcess::start(concat!(module_path!(), "::as_another_host"), "rotation", stage, keys);
        until("the host to be up", || async { up.exists() }).await;
        let enough = lines(stage) + kill * 37 % MOST_WRITTEN;
        // One that has found something wrong has ended, and says so when it is killed.
        let is_over = || has_ended(host_process.id());
        until("the host to write", || async { lines(stage) >= enough || is_over() }).await;
        host_process.kill(false);

        let flow = host(stage, keys).await;
        let written = acknowledged(stage);
        for number in 0..SECRETS {
            let found = value(&flow, number).await;
            let before = last_found.insert(number, found).unwrap_or(0);
            let known = written.get(&number).copied().unwrap_or(0).max(before);
            // One more may have been written whose writer was not told.
            assert!(
                found == known || found == known + 1,
                "secret {number} has {found}, and {known} was written"
            );
        }
        let under = under(&flow).await;
        in_the_middle += u64::from(under.len() > 1);
        if under.len() == 1 {
            keys += 1;
        }
        flow.shutdown(Shutdown::Detach).await.unwrap();
    }
    assert!(in_the_middle > kills / 4, "only {in_the_middle} of {kills} were killed in the middle");

    let flow = host(stage, keys).await;
    let rotation = flow.secrets().rotate().await.unwrap();
    assert_eq!(rotation.unreadable, []);
    let newest = flow.secrets().keys().await.unwrap().into_iter().find(|key| key.seals).unwrap().key;
    assert_eq!(rotation.values_by_key, [(newest, SECRETS as u64)].into());
    assert_eq!(under(&flow).await, rotation.values_by_key);
    flow.shutdown(Shutdown::Detach).await.unwrap();

    // All others can go.
    let newest = Orchestrator::builder(stage.join("data")).pipelines(stage.join("pipelines"));
    let flow = newest.master_key(key_file(stage, keys - 1)).build().await.unwrap();
    flow.start().await.unwrap();
    for number in 0..SECRETS {
        value(&flow, number).await;
    }
    let all = flow.secrets().list(&SecretQuery::default()).await.unwrap();
    assert_eq!(all.len(), SECRETS);
}
