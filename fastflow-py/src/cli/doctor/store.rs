//! What is stored.

use std::{num::NonZeroU32, path::Path};

use fastflow_core::{
    Clock as _, Orchestrator, Result, SystemClock, layout::DataDir, run::Run, store::RunQuery,
};

use super::{
    super::{command::Context, place::Place, session::Session, show},
    check::Check,
};

const NAME: &str = "store";
const HOST: &str = "host";
const CLOCK: &str = "clock of the store";
const SOURCE: &str = "source";

/// Whether it can be opened and read; and whether the clock has gone back since.
pub(super) async fn store(context: &Context, place: &Place) -> Vec<Check> {
    let file = DataDir::new(place.data_dir()).store_file();
    if !file.exists() {
        return vec![Check::ok(NAME, "not there yet")];
    }
    let session = match Session::reader(context, place).await {
        Ok(session) => session,
        Err(error) => {
            let help = "restore it from a backup, or move the data directory away to begin anew";
            return vec![Check::broken(NAME, &error, help)];
        }
    };
    let (newest, host) = (newest(session.flow()).await, session.flow().host().await);
    let source = session.flow().source().status().await;
    let shared = place.check_source(session.flow()).await;
    session.close().await;
    let mut checks = checks(newest, &file);
    // Where it cannot be read, the same was said of the runs.
    for warning in source.iter().flat_map(|source| &source.warnings) {
        checks.push(Check::warn(
            SOURCE,
            warning.to_string(),
            "until then no command and no schedule knows it",
        ));
    }
    match host {
        Ok(Some(_)) if let Err(error) = &shared => {
            checks.push(Check::broken(
                HOST,
                error,
                "give each folder of pipelines a data directory of its own",
            ));
        }
        Ok(Some(host)) => {
            let source = host.source.map(|source| format!(" for {source}")).unwrap_or_default();
            let said = format!("process {} since {}{source}", host.pid, show::local(host.since));
            checks.push(Check::ok(HOST, said));
        }
        Ok(None) => {
            checks.push(Check::ok(HOST, "nobody now: schedules wait for `fastflow host`, or an application"));
        }
        Err(error) => checks.push(Check::broken(HOST, &error, "look at the disk below the store")),
    }
    checks
}

fn checks(newest: Result<Option<Run>>, file: &Path) -> Vec<Check> {
    match newest {
        Err(error) => vec![Check::broken(NAME, &error, "look at the disk below it")],
        Ok(None) => vec![Check::ok(NAME, format!("{}, without runs", file.display()))],
        Ok(Some(run)) => {
            let last = show::local(run.created_at);
            let mut checks = vec![Check::ok(NAME, format!("{}, last run {last}", file.display()))];
            if run.created_at > SystemClock::new().now() {
                let said = format!("the last run was submitted in the future, at {last}");
                checks.push(Check::warn(CLOCK, said, "set the clock of this machine, and keep it so"));
            }
            checks
        }
    }
}

async fn newest(flow: &Orchestrator) -> Result<Option<Run>> {
    let mut query = RunQuery::default();
    query.limit = Some(NonZeroU32::MIN);
    Ok(flow.runs().list(&query).await?.items.pop())
}
