//! Looks at everything that can be seen only while something runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    CanaryFixture,
    forms::Forms,
    processes::{self, Look},
    trouble::Troubles,
};
use crate::{Clock as _, OwnerId, SystemClock};

/// Between two looks at all processes.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two questions to the runtime.
const ASK_EVERY: Duration = Duration::from_millis(150);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What nobody should have seen.
    pub(super) leaks: BTreeSet<String>,
    /// Programs, and whether they had secrets as variables.
    pub(super) programs: BTreeMap<u32, bool>,
    /// Those whose dumps, and the dumps of what watched over them, were looked after.
    pub(super) dumps: u64,
    /// What the runtime has told, by the answers that are not the same.
    pub(super) views: BTreeSet<String>,
}

/// Looks at all processes until it is dropped, and makes trouble for those that are to have some.
pub(super) async fn processes(
    fixture: &dyn CanaryFixture,
    forms: &Arc<Forms>,
    troubles: &mut Troubles,
    seen: &mut Seen,
) {
    let clock = SystemClock::new();
    loop {
        let with = Arc::clone(forms);
        let look = tokio::task::spawn_blocking(move || processes::look(&with)).await.unwrap();
        let runs = troubles.runs();
        note(&look, &runs, seen);
        troubles.make(fixture, &look.members).await;
        clock.sleep(LOOK_EVERY).await;
    }
}

fn note(look: &Look, runs: &BTreeSet<String>, seen: &mut Seen) {
    seen.leaks.extend(look.leaks.iter().cloned());
    for member in look.members.iter().filter(|member| runs.contains(&member.run)) {
        *seen.programs.entry(member.pid).or_default() |= member.is_given;
        let is_program = look.members.iter().all(|other| other.pid != member.parent);
        let watched = [member.pid].into_iter().chain(is_program.then_some(member.parent));
        for settings in watched.map(processes::dump_settings) {
            seen.dumps += 1;
            seen.leaks.extend(settings);
        }
    }
}

/// Asks the runtime until it is dropped.
pub(super) async fn sandboxes(
    fixture: &dyn CanaryFixture,
    stage: &Path,
    forms: &Forms,
    views: &mut BTreeSet<String>,
    leaks: &mut BTreeSet<String>,
) {
    let clock = SystemClock::new();
    let file: PathBuf = stage.join("data/owner");
    loop {
        // The first host makes it.
        let owner = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<OwnerId>().ok());
        if let Some(owner) = owner {
            for view in fixture.views(&owner).await {
                for sight in forms.find(view.as_bytes()) {
                    leaks.insert(format!("the runtime tells {} as {}", sight.value, sight.form));
                }
                views.insert(view);
            }
        }
        clock.sleep(ASK_EVERY).await;
    }
}
