//! The test itself, which is never killed: it makes the values, starts hosts, kills them, and searches.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastflow_shim::layout;
use futures::future;
use tempfile::TempDir;

use super::{
    CanaryFixture, Chance, check,
    forms::Forms,
    host::{CALM, WORK},
    memory,
    plan::{self, Planned},
    search::{self, Found},
    trouble::Troubles,
    values::{Values, Vault},
    watch::{self, Seen},
};
use crate::{
    Clock as _, SystemClock,
    layout::OUTPUT_FILE,
    testing::{
        tool,
        torture::{Books, HostProcess, Monitor, check_runtime, seed},
    },
};

/// How often a host is killed.
const KILLS: u32 = 3;

/// What the search knows, and where it looks.
struct Scene<'a> {
    stage: &'a Path,
    vault: PathBuf,
    values: Values,
    seed: u64,
    secrets: Arc<Forms>,
    control: Forms,
}

/// Gives secrets to programs that do everything to let them out, and searches for them wherever others could look. `host`
/// is the path of the ignored test that calls [`play`](super::play), with the name of its crate.
///
/// # Panics
///
/// When a secret is found, or when one that is none is not found, or when a run ends otherwise than planned, or when the
/// executor is missing where it is required.
pub async fn search_everywhere(fixture: &dyn CanaryFixture, host: &str) {
    let place = TempDir::new().unwrap();
    let stage = place.path().canonicalize().unwrap();
    if fixture.builder(&stage).await.is_none() {
        tool::require(fixture.name(), "there is no such executor here");
        return;
    }
    let seed = seed();
    let vault = Vault::of(&stage);
    let values = vault.fill();
    let secrets = Arc::new(Forms::new(&vault.canaries(&values)));
    let control = Forms::new(&[("control".to_owned(), values.control.clone().into_bytes())].into());
    plan::write_pipelines(fixture, &stage, &values).await;
    let scene = Scene { stage: &stage, vault: stage.join(Vault::NAME), values, seed, secrets, control };
    let mut watched = Seen::default();
    {
        let mut troubles = Troubles::new(&stage, seed);
        let (mut views, mut told) = (BTreeSet::new(), BTreeSet::new());
        let watching = future::join(
            watch::processes(fixture, &scene.secrets, &mut troubles, &mut watched),
            watch::sandboxes(fixture, &stage, &scene.secrets, &mut views, &mut told),
        );
        tokio::select! {
            () = scene.drive(fixture, host) => {}
            _ = watching => unreachable!("it looks until it is dropped"),
        }
        watched.views = views;
        watched.leaks.extend(told);
    }
    let books = Books::open(&stage).await;
    check_runtime(fixture, &stage).await;
    books.check_machine(&stage);
    check::ends(&stage, &Planned::all(seed), &scene.values, &books);
    scene.check_found();
    scene.check_left(&books);
    scene.check_seen(fixture, &watched, &books);
}

impl Scene<'_> {
    /// Kills hosts in the middle, and lets the last one come to its end.
    async fn drive(&self, fixture: &dyn CanaryFixture, host: &str) {
        let clock = SystemClock::new();
        let mut chance = Chance::new(self.seed);
        let (from, to) = fixture.lives();
        for _ in 0..KILLS {
            let host = HostProcess::start(host, WORK, self.stage, self.seed);
            clock.sleep(chance.moment(from, to)).await;
            host.kill(chance.below(2) == 0);
            // What a host has just written may be in the store's log alone.
            self.check_files();
        }
        HostProcess::start(host, CALM, self.stage, self.seed).ended(fixture.storm().calm).await;
    }

    fn find(&self, forms: &Forms) -> Vec<Found> {
        search::search(self.stage, &self.vault, forms)
    }

    /// No secret is in any file.
    fn check_files(&self) {
        let found = self.find(&self.secrets);
        let describe = |found: &Found| {
            let how = if found.decoded { " when its lines are put together" } else { "" };
            format!("{} has {} as {}{how}", found.path.display(), found.sight.value, found.sight.form)
        };
        let found: BTreeSet<String> = found.iter().map(describe).collect();
        assert!(found.is_empty(), "{} secrets in files: {found:#?}", found.len());
        let dumps = search::dumps(self.stage, &self.vault);
        assert!(dumps.is_empty(), "dumps of memory: {dumps:?}");
    }

    /// Secrets are nowhere, and what is none is wherever it should be.
    fn check_found(&self) {
        self.check_files();
        let found = self.find(&self.control);
        for (place, file) in [
            ("the store", "fastflow.db"),
            ("a log", layout::LOG),
            ("the outputs of a program", OUTPUT_FILE),
            ("what a host shows", "shown"),
            ("what a host says", "host.err"),
            ("what a host traces", "trace-"),
        ] {
            let is_there = |found: &Found| {
                found.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(file))
            };
            assert!(found.iter().any(is_there), "the search finds nothing in {place}: it is blind there");
        }
    }

    /// Nothing is left in memory, and none of what the store has to tell holds a secret.
    fn check_left(&self, books: &Books) {
        let runs = books.runs.iter().map(|run| run.id.to_string()).collect();
        let left = memory::left(self.stage, &self.secrets, &runs);
        assert!(left.is_empty(), "left in memory: {left:#?}");
        let told = format!("{books:?} {}", serde_json::to_string(&books.events).unwrap());
        let sights = self.secrets.find(told.as_bytes());
        assert!(sights.is_empty(), "the store tells {sights:?}");
        assert!(self.control.is_in(told.as_bytes()), "the store does not tell what runs are given");
    }

    /// Nobody but programs has shown a secret, and enough was seen to say so.
    #[expect(clippy::print_stdout, reason = "what was seen belongs to the answer of the test")]
    fn check_seen(&self, fixture: &dyn CanaryFixture, seen: &Seen, books: &Books) {
        assert!(seen.leaks.is_empty(), "seen from outside: {:#?}", seen.leaks);
        let given = seen.programs.values().filter(|is_given| **is_given).count();
        println!(
            "{} forms were looked for; {given} of {} processes of programs had secrets as variables; {} settings of dumps \
             and {} views of sandboxes were looked at",
            self.secrets.len(),
            seen.programs.len(),
            seen.dumps,
            seen.views.len(),
        );
        assert!(given >= books.runs.len() / 4, "too few programs were seen to prove anything");
        assert!(seen.dumps > 0, "no program was looked at");
        if fixture.monitor() == Monitor::FirstProcess {
            let names = |view: &String| books.runs.iter().any(|run| view.contains(&run.id.to_string()));
            assert!(seen.views.iter().any(names), "no sandbox of a run was seen: {} views", seen.views.len());
        }
    }
}
