//! What this machine can do.

use std::sync::Arc;

use fastflow_core::{
    Clock as _, Error, SystemClock,
    executor::{Capabilities, Executor as _, ProcessConfig, ProcessExecutor},
    layout::DataDir,
};
use jiff::tz::TimeZone;

use super::{
    super::{place::Place, show},
    check::Check,
};

const PROCESS: &str = "process executor";
const LIMITS: &str = "limits";
const SECRETS: &str = "secrets";

/// Whether local processes can be run, and which limits can be kept.
pub(super) async fn process_executor(place: &Place) -> Vec<Check> {
    match capabilities(place).await {
        Ok(can) => vec![Check::ok(PROCESS, "runs local processes"), limits(can), secrets(can)],
        Err(error) => {
            let help = "the data directory must be on a file system that allows to execute";
            vec![Check::broken(PROCESS, &error, help)]
        }
    }
}

/// Found out by trying, in a folder of its own where nothing was run yet.
async fn capabilities(place: &Place) -> Result<Capabilities, Error> {
    let data = DataDir::new(place.data_dir());
    let aside = if data.store_file().exists() { None } else { Some(tempfile::tempdir()?) };
    let folder = aside.as_ref().map_or_else(|| data.executor_dir(), |aside| aside.path().to_owned());
    let executor = ProcessExecutor::new(&ProcessConfig::new(folder), Arc::new(SystemClock::new()))?;
    executor.probe().await?;
    Ok(executor.capabilities())
}

fn limits(can: Capabilities) -> Check {
    let each = [
        (can.memory_limit, "mem_hard_limit"),
        (can.cpu_limit, "cpu_hard_limit"),
        (can.process_limit, "max_processes"),
    ];
    let (kept, missing): (Vec<_>, Vec<_>) = each.into_iter().partition(|(can, _)| *can);
    let names = |fields: &[(bool, &str)]| fields.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return Check::ok(LIMITS, format!("{} can be kept", names(&kept)));
    }
    Check::warn(
        LIMITS,
        format!("{} cannot be kept by the process executor here", names(&missing)),
        "control groups of version 2 are needed, delegated to this user (systemd: `Delegate=yes`); or use containers",
    )
}

fn secrets(can: Capabilities) -> Check {
    if can.secrets {
        return Check::ok(SECRETS, "can be given to programs, in memory");
    }
    Check::warn(
        SECRETS,
        "there is no folder in memory for them",
        "mount a tmpfs at /dev/shm that this user may write",
    )
}

/// The clock and the zone.
pub(super) fn clock() -> Check {
    const NAME: &str = "clock";
    let zone = TimeZone::system();
    let now = show::local(SystemClock::new().now());
    match zone.iana_name() {
        Some(name) => Check::ok(NAME, format!("{now} {name}")),
        None => Check::warn(
            NAME,
            format!("{now}, in a zone without a name"),
            "set TZ to a name such as Europe/Berlin; schedules name their own zones and do not mind",
        ),
    }
}
