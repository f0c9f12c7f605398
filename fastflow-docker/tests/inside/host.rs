//! The host, as it runs in its container.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    AttemptId, Clock, Orchestrator, OsEntropy, Result, RunId, Shutdown, SystemClock,
    executor::{
        AttemptSpec, Executor as _, Network, Start,
        container::{ContainerConfig, ContainerExecutor, PullPolicy},
    },
};
use fastflow_docker::{DockerConfig, DockerHost};

/// Where its folders are, none of which is there outside.
pub(crate) const DATA: &str = "/data";
pub(crate) const PIPELINES: &str = "/pipelines";
pub(crate) const ORDERS: &str = "/orders";
pub(crate) const ENGINE: &str = "/engine.sock";
/// Where it leaves its answer, below [`DATA`].
pub(crate) const ANSWER: &str = "answer";
/// How long the end of a run may take to be tidied up after.
const PATIENCE: Duration = Duration::from_mins(1);
/// By which variables it is told what to do.
pub(crate) const CASE: &str = "FASTFLOW_TEST_CASE";
pub(crate) const OUTSIDE: &str = "FASTFLOW_TEST_OUTSIDE";
pub(crate) const ORDERS_OUTSIDE: &str = "FASTFLOW_TEST_ORDERS_OUTSIDE";
pub(crate) const IMAGE: &str = "FASTFLOW_TEST_IMAGE";

/// How it is set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Case {
    /// It asks its engine where its folders are.
    Found,
    /// It is told.
    Told,
    /// It is told where there is nothing.
    Misled,
    /// Its state is not mounted.
    StateInside,
    /// The folder of its orders is not mounted.
    OrdersInside,
}

impl Case {
    const ALL: [Self; 5] = [Self::Found, Self::Told, Self::Misled, Self::StateInside, Self::OrdersInside];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }
}

/// Whose the attempts of a host are that lies in `folder` outside.
pub(crate) fn owner(folder: &Path) -> String {
    let name = folder.file_name().unwrap().to_string_lossy();
    format!("test-{}", name.trim_start_matches('.').to_ascii_lowercase())
}

#[expect(clippy::disallowed_methods, reason = "the host is configured by the test that starts it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Not a test of its own: the host that others start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the host program of other tests"]
async fn as_a_host() {
    let Some(case) = variable(CASE) else { return };
    let case = Case::ALL.into_iter().find(|known| known.name() == case).unwrap();
    let answer = match case {
        Case::Found | Case::Told => run(case).await,
        Case::Misled | Case::StateInside | Case::OrdersInside => {
            start(case).await.map(|()| "started".to_owned())
        }
    };
    let answer = answer.unwrap_or_else(|error| format!("{error:?}"));
    fs::write(Path::new(DATA).join(ANSWER), answer).unwrap();
}

/// Runs a pipeline as an application would have it.
async fn run(case: Case) -> Result<String> {
    let data = Path::new(DATA).join("var");
    let flow =
        Orchestrator::builder(data).pipelines(PIPELINES).executor("docker", executor(case)?).build().await?;
    flow.start().await?;
    let run = flow.submit("hello").await?;
    let run = flow.runs().wait(run.id).await?;
    let answer = match run.failure() {
        Some(failure) => format!("{}: {failure:?}", run.status()),
        None => run.status().to_string(),
    };
    flow.shutdown(Shutdown::Drain { patience: PATIENCE, grace: PATIENCE }).await?;
    Ok(answer)
}

/// Starts an attempt that must not come to be.
async fn start(case: Case) -> Result<()> {
    let outside = variable(OUTSIDE).unwrap();
    let id = AttemptId { run: RunId::new(&SystemClock::new(), &OsEntropy), number: NonZeroU32::MIN };
    let run_dir = Path::new(DATA).join(id.to_string());
    fs::create_dir(&run_dir)?;
    let owner = owner(Path::new(&outside)).parse()?;
    let mut spec = AttemptSpec::new(id, owner, vec!["/bin/true".to_owned()], run_dir);
    spec.network = Network::None;
    match executor(case)?.start(spec).await? {
        Start::Started(execution) => execution.remove().await,
        Start::Failed(failure) => panic!("{failure:?}"),
    }
}

fn executor(case: Case) -> Result<ContainerExecutor> {
    let mut docker = DockerConfig::default();
    docker.host = Some(DockerHost::Unix(ENGINE.into()));
    let state = if case == Case::StateInside { "/inside/state" } else { "/data/state" };
    let mut config = ContainerConfig::new(state);
    config.image = variable(IMAGE).unwrap().parse()?;
    config.pull = PullPolicy::Never;
    if case != Case::OrdersInside {
        config.order_dir = Some(ORDERS.into());
    }
    let outside = PathBuf::from(variable(OUTSIDE).unwrap());
    let orders = PathBuf::from(variable(ORDERS_OUTSIDE).unwrap());
    match case {
        Case::Told => config.host_paths = vec![(DATA.into(), outside.join("data")), (ORDERS.into(), orders)],
        Case::Misled => {
            config.host_paths = vec![(DATA.into(), outside.join("elsewhere")), (ORDERS.into(), orders)];
        }
        Case::Found | Case::StateInside | Case::OrdersInside => {}
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    fastflow_docker::executor(docker, config, clock)
}
