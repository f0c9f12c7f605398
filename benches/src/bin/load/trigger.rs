//! From the wish to the first line of user code.

use std::{fs, path::Path, time::Duration};

use clap::Args;
use fastflow_benches::{
    engine::{self, Workplace},
    floor::Direct,
    process::monotonic,
    report::{Report, Row, Verdict, latency, ratio},
    sample::Samples,
};
use fastflow_core::{Error, ErrorKind, Orchestrator, Result, Shutdown};

use crate::Common;

const TARGET: f64 = 1.5;
/// The first line asks the clock that the load program asks.
const PROGRAM: &str = "import time; first = time.monotonic_ns()
with open('first', 'w') as out: out.write(str(first))
";
/// A package that people really use, small enough to install anywhere.
const PACKAGE: &str = "requests==2.32.3";
const PACKAGE_PROGRAM: &str = "import time; first = time.monotonic_ns()
import requests
imported = time.monotonic_ns()
with open('first', 'w') as out: out.write(str(first))
with open('imported', 'w') as out: out.write(str(imported))
";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many runs are measured.
    #[arg(long, default_value_t = 100)]
    runs: u32,
    /// Measures only with the standard library, where no package index can be reached.
    #[arg(long)]
    no_packages: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { runs: 100, no_packages: false }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let place = common.workplace()?;
    let flow = place.start().await?;
    let mut report = Report::new("trigger: submit → first line of user code, environment known");
    let plain = Subject { name: "plain", program: PROGRAM, requirements: &[], marks: &["first"] };
    plain.measure(&place, &flow, arguments.runs, &mut report).await?;
    if !arguments.no_packages {
        let requirements: &[&str] = &[PACKAGE];
        let marks: &[&str] = &["first", "imported"];
        let packages = Subject { name: "packages", program: PACKAGE_PROGRAM, requirements, marks };
        packages.measure(&place, &flow, arguments.runs, &mut report).await?;
    }
    flow.shutdown(Shutdown::Detach).await?;
    Ok(report)
}

struct Subject {
    name: &'static str,
    program: &'static str,
    requirements: &'static [&'static str],
    /// The files into which the program writes when it came so far.
    marks: &'static [&'static str],
}

impl Subject {
    async fn measure(
        &self,
        place: &Workplace,
        flow: &Orchestrator,
        runs: u32,
        report: &mut Report,
    ) -> Result<()> {
        place.pipeline(self.name, self.program, self.requirements)?;
        let bare_dir = place.path().join(self.name);
        fs::create_dir(&bare_dir)?;
        let started = place.probe(flow, self.requirements).await?;
        fs::write(bare_dir.join("main.py"), self.program)?;
        let direct = Direct::new(started, "main.py", bare_dir);
        engine::succeed(flow, self.name).await?;
        direct.run(None)?;

        let mut through = vec![Samples::default(); self.marks.len()];
        let mut bare = through.clone();
        for _ in 0..runs {
            let began = monotonic();
            direct.run(None)?;
            self.read_marks(direct.dir(), began, &mut bare)?;
            let began = monotonic();
            let run = engine::succeed(flow, self.name).await?;
            self.read_marks(&engine::work_dir(flow, run.id).await?, began, &mut through)?;
        }
        for ((mark, through), bare) in self.marks.iter().zip(&through).zip(&bare) {
            let (value, floor) = (through.median().as_secs_f64(), bare.median().as_secs_f64());
            let packages = if self.requirements.is_empty() { "no packages" } else { self.requirements[0] };
            let verdict = match *mark {
                "first" => Verdict::at_most(value / floor, TARGET, "x"),
                _ => Verdict::None,
            };
            let measure =
                format!("{packages}, {}", if *mark == "first" { "first line" } else { "after its import" });
            let row = Row::new(measure, latency(through)).against(latency(bare), ratio(value, floor));
            report.row(row.verdict(verdict));
        }
        Ok(())
    }

    fn read_marks(&self, dir: &Path, began: Duration, samples: &mut [Samples]) -> Result<()> {
        for (mark, samples) in self.marks.iter().zip(samples) {
            let text = fs::read_to_string(dir.join(mark))?;
            let at = text
                .trim()
                .parse()
                .map_err(|error| Error::new(ErrorKind::Internal, "a mark holds no number").because(error))?;
            samples.push(Duration::from_nanos(at).saturating_sub(began));
        }
        Ok(())
    }
}
