//! From the instant of a schedule to the first line of user code, in a sandbox that was made ahead.

use std::time::Duration;

use fastflow_benches::report::{Report, Row, Verdict, latency, milliseconds};
use fastflow_core::Result;
use serde_json::json;

use super::{
    Subject,
    bench::{Bench, manifest},
};
use crate::{Common, schedule};

const TARGET_MILLISECONDS: f64 = 100.0;
/// As long as the host needs to make the next sandbox, and some more.
const APART: Duration = Duration::from_secs(1);

pub(super) async fn measure(common: &Common, subject: &Subject, runs: u32) -> Result<Report> {
    let bench = Bench::start(common, subject, 4).await?;
    let mut warm = manifest();
    warm["warm"] = json!(2);
    bench.place.configured("tick", schedule::PROGRAM, &warm)?;
    bench.run("tick").await?;
    let late = schedule::due(&bench.flow, runs, APART).await?;
    bench.end().await?;
    let mut report = Report::new(format!(
        "{}: instant → first line of user code, made ahead, {runs} schedules, {} ms apart",
        subject.name(),
        APART.as_millis()
    ));
    let value = milliseconds(late.p99());
    report.row(Row::new("99 of 100 begin within", format!("{value:.1} ms")).verdict(Verdict::at_most(
        value,
        TARGET_MILLISECONDS,
        " ms",
    )));
    report.row(Row::new("all", latency(&late)));
    report.note("The floor is that of the schedules of `load schedule`: the same program, started by hand.");
    Ok(report)
}
