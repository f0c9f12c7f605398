//! What the engine adds to a program that does nothing.

use clap::Args;
use fastflow_benches::{
    engine,
    floor::Direct,
    report::{Report, Row, Verdict, latency, milliseconds},
    sample::Samples,
};
use fastflow_core::{Clock, Result, Shutdown, SystemClock};

use crate::{Common, fsync};

const TARGET_MS: f64 = 10.0;
const TARGET_TRANSACTIONS: f64 = 2.0;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many runs are measured.
    #[arg(long, default_value_t = 200)]
    runs: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { runs: 200 }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    place.pipeline("nothing", "pass\n", &[])?;
    let flow = place.start().await?;
    let started = place.probe(&flow, &[]).await?;
    let direct = Direct::new(started, "main.py", place.pipelines().join("nothing"));
    engine::succeed(&flow, "nothing").await?;
    direct.run(None)?;

    let clock = SystemClock::new();
    let (mut through, mut accepted, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..arguments.runs {
        bare.push(direct.run(None)?);
        let began = clock.elapsed();
        let run = flow.submit("nothing").await?;
        accepted.push(clock.elapsed().saturating_sub(began));
        let run = flow.runs().wait(run.id).await?;
        through.push(clock.elapsed().saturating_sub(began));
        engine::ended_well(run)?;
    }
    flow.shutdown(Shutdown::Detach).await?;

    let mut report = Report::new("overhead: submit → terminal of `main.py` with `pass`");
    let added = milliseconds(through.median()) - milliseconds(bare.median());
    report.row(
        Row::new("submit → terminal", latency(&through))
            .against(latency(&bare), format!("+{added:.2} ms"))
            .verdict(Verdict::at_most(added, TARGET_MS, " ms more")),
    );
    report.row(Row::new("of it: submit returns", latency(&accepted)));
    transactions(common, &mut report)?;
    Ok(report)
}

fn transactions(common: &Common, report: &mut Report) -> Result<()> {
    match fsync::count(common)? {
        Some(found) => {
            let (start, line) = (found.store_before_start, found.store_before_line);
            report.row(
                Row::new("store transactions submit → execve of Python", start.to_string())
                    .verdict(Verdict::at_most(f64::from(start), TARGET_TRANSACTIONS, "")),
            );
            report.row(Row::new("the same up to its first line", line.to_string()));
            report
                .note(format!("All flushes between submit and the first line: {}.", found.files.join(", ")));
        }
        None => report.note("Transactions were not counted: there is no usable strace here."),
    }
    Ok(())
}
