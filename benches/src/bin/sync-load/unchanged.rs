//! Syncs that find nothing new.

use std::time::Duration;

use clap::Args;
use fastflow_benches::{
    report::{Report, Row, Verdict, milliseconds, ratio, spread},
    sample::Samples,
};
use fastflow_core::{Clock, Result, Shutdown, SystemClock};

use crate::{
    Common,
    host::Host,
    place::{Place, Scheme},
};

const TARGET_MILLISECONDS: f64 = 50.0;
/// A small repository, for what does not depend on its size.
const FEW: u32 = 10;

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many pipelines the larger repository has.
    #[arg(long, default_value_t = 2000)]
    pipelines: u32,
    /// How many syncs of each kind.
    #[arg(long, default_value_t = 100)]
    syncs: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { pipelines: 2000, syncs: 100 }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("unchanged: a sync that finds nothing new");
    for pipelines in [FEW, arguments.pipelines] {
        let place = Place::new(pipelines);
        for scheme in Scheme::ALL {
            let taken = Taken::take(common, &place, scheme, arguments.syncs).await?;
            taken.report(&format!("{pipelines} pipelines, {}", scheme.name()), &mut report);
        }
    }
    report.note(
        "Floor of a sync: the same client asks the same server what there is, over a new connection, and does \
         nothing else. Floor of that: `git ls-remote`, with its start. The three take turns.",
    );
    Ok(report)
}

/// What was taken in turns.
#[derive(Default)]
struct Taken {
    ls_remote: Samples,
    exchange: Samples,
    sync: Samples,
    /// The part of a sync that is not its source's: reading the store, comparing, the line in the log.
    rest: Samples,
}

impl Taken {
    async fn take(common: &Common, place: &Place, scheme: Scheme, count: u32) -> Result<Self> {
        let dir = tempfile::tempdir_in(common.made()?)?;
        let host = Host::build(&dir.path().join("data"), place.config(scheme)).await?;
        host.flow.start().await?;
        let (clock, url) = (SystemClock::new(), place.url(scheme));
        let mut taken = Self::default();
        for _ in 0..count {
            taken.ls_remote.push(place.git(dir.path(), &["ls-remote", "--quiet", &url])?);
            let began = clock.elapsed();
            host.flow.source().probe().await?;
            taken.exchange.push(clock.elapsed().saturating_sub(began));
            let spent = host.sync_nothing().await?;
            taken.sync.push(spent.total);
            taken.rest.push(spent.total.saturating_sub(spent.source));
        }
        host.flow.shutdown(Shutdown::Detach).await?;
        Ok(taken)
    }

    fn report(&self, name: &str, report: &mut Report) {
        let beyond =
            |of: fn(&Samples) -> Duration| milliseconds(of(&self.sync)) - milliseconds(of(&self.exchange));
        let (median, p99) = (beyond(Samples::median), beyond(Samples::p99));
        report.row(
            Row::new(format!("{name}: sync"), spread(&self.sync))
                .against(spread(&self.exchange), format!("{median:+.1} ms (p99 {p99:+.1})"))
                .verdict(Verdict::at_most(median, TARGET_MILLISECONDS, " ms")),
        );
        let (rest, sync) = (milliseconds(self.rest.median()), milliseconds(self.sync.median()));
        report.row(
            Row::new("  of it after the source is done", spread(&self.rest))
                .against(spread(&self.sync), ratio(rest, sync)),
        );
        let (ours, git) = (self.exchange.median().as_secs_f64(), self.ls_remote.median().as_secs_f64());
        report.row(
            Row::new("  the exchange alone", spread(&self.exchange))
                .against(spread(&self.ls_remote), ratio(ours, git)),
        );
    }
}
