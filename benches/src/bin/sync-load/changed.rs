//! Syncs of many pipelines that are new or changed, and the start of a host that has them.

use std::{fs, path::Path, sync::Arc, time::Duration};

use clap::Args;
use fastflow_benches::{
    floor::PlainSqlite,
    report::{Report, Row, Verdict, ratio, spread},
    sample::Samples,
};
use fastflow_core::{Clock, Result, Shutdown, SystemClock, source::GitMirror};

use crate::{
    Common, floor,
    host::{self, Host, Spent},
    place::{Place, Scheme},
};

const TARGET_SECONDS: f64 = 2.0;
/// Rows of a pipeline in the store: itself, its schedule, and the line of the ledger.
const ROWS: u32 = 3;

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many pipelines the repository has.
    #[arg(long, default_value_t = 2000)]
    pipelines: u32,
    /// How often each of it is done, with new data directories each time.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { pipelines: 2000, rounds: 5 }
    }
}

pub(crate) async fn measure(common: &Common, arguments: &Arguments) -> Result<Report> {
    let count = arguments.pipelines;
    let (place, small) = (Place::new(count), Place::new(1));
    let [mut first, mut one, mut all] = [Taken::default(), Taken::default(), Taken::default()];
    let (mut restored, mut bare) = (Samples::default(), Samples::default());
    // Removed in the end, so that no round pays for the removal of another.
    let rounds = tempfile::tempdir_in(common.made()?)?;
    for round in 0..arguments.rounds {
        let dir = rounds.path().join(round.to_string());
        fs::create_dir(&dir)?;
        let mut turn = Turn::new(&place, &dir, round * 3 + 1).await?;
        first.push(&turn.first(count).await?);
        one.push(&turn.change(1).await?);
        all.push(&turn.change(count).await?);
        turn.host.flow.shutdown(Shutdown::Detach).await?;
        restored.push(build(&dir.join("data"), &place).await?);
        let data = dir.join("small");
        let host = Host::build(&data, small.config(Scheme::Https)).await?;
        host.sync_changes(1).await?;
        host.flow.shutdown(Shutdown::Detach).await?;
        bare.push(build(&data, &small).await?);
    }
    let mut report = Report::new(format!("changed: syncs of {count} pipelines, 3 files each, over https"));
    first.report("first sync", &mut report);
    one.report("one of them changed", &mut report);
    all.report("all of them changed", &mut report);
    let (value, floor) = (restored.median().as_secs_f64(), bare.median().as_secs_f64());
    report.row(
        Row::new("build() with all of them, offline", spread(&restored))
            .against(spread(&bare), format!("{:+.0} ms", (value - floor) * 1000.0)),
    );
    report.note(
        "Floors: of a sync, `git clone --depth 1` with its checkout, or `git fetch` and `git reset --hard` in such a \
         clone, and one flush of the file system; of trees and snapshots, writing the same files with one flush; of the \
         store, one transaction of as many rows; of build(), the same with one pipeline. All pipelines have a schedule.",
    );
    Ok(report)
}

/// How long it takes to build a host on what an earlier one has left. The server is not asked.
async fn build(data: &Path, place: &Place) -> Result<Duration> {
    let clock = SystemClock::new();
    let host = Host::build(data, place.config(Scheme::Https)).await?;
    let took = clock.elapsed();
    host.flow.source().status().await?;
    host.flow.shutdown(Shutdown::Detach).await?;
    Ok(took)
}

/// One sync and its floors.
struct Lap {
    spent: Spent,
    fetch: Duration,
    by_git: Duration,
    written: Duration,
    stored: Duration,
}

/// A host with its floors beside it.
struct Turn<'a> {
    place: &'a Place,
    dir: &'a Path,
    host: Host,
    mirror: Arc<GitMirror>,
    plain: PlainSqlite,
    version: u32,
}

impl<'a> Turn<'a> {
    /// Nothing is fetched yet. The versions from `version` on must be new to the repository.
    async fn new(place: &'a Place, dir: &'a Path, version: u32) -> Result<Self> {
        let config = || place.config(Scheme::Https);
        let host = Host::build(&dir.join("data"), config()).await?;
        let mirror = GitMirror::new(dir.join("mirror"), config(), Arc::new(SystemClock::new()))?;
        let plain = PlainSqlite::create(&dir.join("plain.db")).await?;
        Ok(Self { place, dir, host, mirror: Arc::new(mirror), plain, version })
    }

    async fn first(&mut self, count: u32) -> Result<Lap> {
        let by_git = floor::clone(self.place, Scheme::Https, self.dir, "clone")?;
        self.lap(count, by_git).await
    }

    /// A commit that changes so many pipelines.
    async fn change(&mut self, count: u32) -> Result<Lap> {
        self.version += 1;
        (0..count).for_each(|number| self.place.write(number, self.version));
        self.place.repository.commit("Change pipelines");
        let by_git = floor::update(self.place, &self.dir.join("clone"))?;
        self.lap(count, by_git).await
    }

    async fn lap(&mut self, count: u32, by_git: Duration) -> Result<Lap> {
        let folder = self.dir.join(format!("files-{}", self.version));
        let written = floor::write(&folder, 0..count, self.version)?;
        let fetch = host::fetch(&self.mirror).await?;
        let spent = self.host.sync_changes(count).await?;
        let stored = self.plain.commit_rows(count * ROWS).await?;
        Ok(Lap { spent, fetch, by_git, written, stored })
    }
}

/// The laps of one kind.
#[derive(Default)]
struct Taken {
    total: Samples,
    fetch: Samples,
    read: Samples,
    rest: Samples,
    by_git: Samples,
    written: Samples,
    stored: Samples,
}

impl Taken {
    fn push(&mut self, lap: &Lap) {
        let Spent { total, source } = lap.spent;
        self.total.push(total);
        self.fetch.push(lap.fetch);
        self.read.push(source.saturating_sub(lap.fetch));
        self.rest.push(total.saturating_sub(source));
        self.by_git.push(lap.by_git);
        self.written.push(lap.written);
        self.stored.push(lap.stored);
    }

    fn report(&self, name: &str, report: &mut Report) {
        let row = |name: String, value: &Samples, floor: &Samples| {
            let times = ratio(value.median().as_secs_f64(), floor.median().as_secs_f64());
            Row::new(name, spread(value)).against(spread(floor), times)
        };
        let total = self.total.median().as_secs_f64();
        let verdict = Verdict::at_most(total, TARGET_SECONDS, " s");
        report.row(row(name.to_owned(), &self.total, &self.by_git).verdict(verdict));
        report.row(row("  of it fetching, by a mirror of its own".to_owned(), &self.fetch, &self.by_git));
        report.row(row("  of it reading trees, snapshots".to_owned(), &self.read, &self.written));
        report.row(row("  of it comparing, one transaction".to_owned(), &self.rest, &self.stored));
    }
}
