//! A store against a model of it: random operations, and the same answers.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::{at, exited, handle_of, id, many, new_run, spec_on};
use crate::{
    AttemptId, ErrorKind, OsEntropy, PipelineName, RunId, Timestamp,
    entropy::Entropy,
    run::{Exit, Failure, LostCause, Retry, RunEvent, RunSpec, RunState, StopCause},
    store::{Claim, Step, Store},
};

/// How many operations one case does.
const OPERATIONS: u32 = 1_500;
/// How many further attempts the model's runs get, and how far apart in seconds.
const RETRIES: u32 = 2;
const RETRY_SECONDS: i64 = 10;
/// Where they run, so that some can be left out.
const EXECUTORS: [&str; 2] = ["process", "docker"];

/// What the model knows of a run.
#[derive(Clone, Debug)]
struct Known {
    spec: Arc<RunSpec>,
    state: RunState,
    priority: i16,
    epoch: u64,
    attempt: u32,
    failed: u32,
    /// Its turn, while it is queued and its time has come.
    turn: Option<i64>,
}

#[derive(Debug, Default)]
struct Model {
    runs: BTreeMap<RunId, Known>,
    events: u64,
    /// By priority, the turn of the latest run that was claimed, and the latest of each pipeline.
    turn: BTreeMap<i16, i64>,
    turns: BTreeMap<(PipelineName, i16), i64>,
}

impl Model {
    /// Puts a run that is queued and due into the queue, behind those of its pipeline.
    fn stand(&mut self, id: RunId, at: Timestamp) {
        let Some(known) = self.runs.get_mut(&id) else { return };
        known.turn = None;
        if matches!(known.state, RunState::Queued { not_before } if not_before <= at) {
            let now = self.turn.get(&known.priority).copied().unwrap_or_default();
            let whose = (known.spec.pipeline.name.clone(), known.priority);
            let turn = self.turns.get(&whose).map_or(now, |last| now.max(last + 1));
            self.turns.insert(whose, turn);
            known.turn = Some(turn);
        }
    }
}

/// A small generator (splitmix64), so that a seed gives the same sequence again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Kills: everything that the other cases did not think of. The seed is part of every failure.
pub async fn random_operations_agree_with_a_model(store: Arc<dyn Store>) {
    let mut bytes = [0; 8];
    OsEntropy.fill(&mut bytes);
    let seed = u64::from_le_bytes(bytes);
    let outcome = tokio::spawn(compare(store, seed)).await;
    if let Err(failure) = outcome {
        let panic = failure.into_panic();
        let text = panic.downcast_ref::<String>().map_or("a failed assertion", String::as_str);
        panic!("with seed {seed:#x}: {text}");
    }
}

/// The same for one seed, to repeat a failure.
pub async fn compare(store: Arc<dyn Store>, seed: u64) {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let specs = [(0, "model"), (0, "other"), (1, "model")]
        .map(|(executor, pipeline)| spec_on(EXECUTORS[executor], pipeline, RETRIES));
    let mut now = 0;
    for operation in 0..OPERATIONS {
        now += i64::try_from(dice.below(4)).unwrap();
        match dice.below(10) {
            0..2 => {
                let spec = &specs[usize::try_from(dice.below(3)).unwrap()];
                create(&store, &mut model, spec, &mut dice, now).await;
            }
            2..4 => claim(&store, &mut model, &mut dice, now).await,
            4 if dice.below(8) == 0 => take_over(&store, &mut model).await,
            _ => advance(&store, &mut model, &mut dice, now).await,
        }
        assert_eq!(store.last_event().await.unwrap().0, model.events, "operation {operation}");
    }
    for (id, known) in &model.runs {
        let run = store.run(*id).await.unwrap();
        assert_eq!(run.state, known.state);
        assert_eq!((run.epoch, run.attempt, run.failed_attempts), (known.epoch, known.attempt, known.failed));
        let attempts = store.attempts(*id).await.unwrap();
        assert_eq!(attempts.len(), known.attempt as usize);
    }
}

async fn create(store: &Arc<dyn Store>, model: &mut Model, spec: &Arc<RunSpec>, dice: &mut Dice, now: i64) {
    let mut new = new_run(dice.below(300), spec);
    new.priority = i16::try_from(dice.below(3)).unwrap();
    new.not_before = at(now + i64::try_from(dice.below(20)).unwrap());
    let known = Known {
        spec: Arc::clone(spec),
        state: RunState::Queued { not_before: new.not_before },
        priority: new.priority,
        epoch: 0,
        attempt: 0,
        failed: 0,
        turn: None,
    };
    let (id, submitted) = (new.id, new.at);
    let created = store.create_run(new).await;
    if let Entry::Vacant(free) = model.runs.entry(id) {
        free.insert(known);
        model.events += 1;
        model.stand(id, submitted);
        assert_eq!(created.unwrap().event.0, model.events);
    } else {
        assert_eq!(created.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

async fn claim(store: &Arc<dyn Store>, model: &mut Model, dice: &mut Dice, now: i64) {
    let mut claim = Claim::new(at(now), many(u32::try_from(1 + dice.below(3)).unwrap()));
    if dice.below(2) == 0 {
        claim.without.insert(EXECUTORS[usize::try_from(dice.below(2)).unwrap()].parse().unwrap());
    }
    let mut come: Vec<_> = model
        .runs
        .iter()
        .filter_map(|(id, known)| match known.state {
            RunState::Queued { not_before } if known.turn.is_none() => Some((not_before, *id)),
            _ => None,
        })
        .collect();
    come.sort_unstable();
    for (_, id) in come {
        model.stand(id, claim.at);
    }
    let mut due: Vec<_> = model
        .runs
        .iter()
        .filter(|(_, known)| !claim.without.contains(&known.spec.executor))
        .filter_map(|(id, known)| Some((std::cmp::Reverse(known.priority), known.turn?, *id)))
        .collect();
    due.sort_unstable();
    due.truncate(usize::try_from(claim.limit.get()).unwrap());
    let claimed = store.claim(claim).await.unwrap();
    assert_eq!(
        claimed.iter().map(|run| run.id).collect::<Vec<_>>(),
        due.iter().map(|(.., id)| *id).collect::<Vec<_>>()
    );
    for run in claimed {
        let known = model.runs.get_mut(&run.id).unwrap();
        known.state = RunState::Starting;
        let turn = model.turn.entry(known.priority).or_default();
        *turn = (*turn).max(known.turn.take().unwrap());
        known.epoch += 1;
        known.attempt += 1;
        model.events += 1;
        assert_eq!((run.epoch, run.attempt), (known.epoch, known.attempt));
    }
}

async fn take_over(store: &Arc<dyn Store>, model: &mut Model) {
    let mut expected = Vec::new();
    for (id, known) in &mut model.runs {
        if !known.state.is_terminal() && !matches!(known.state, RunState::Queued { .. }) {
            known.epoch += 1;
            expected.push((*id, known.epoch));
        }
    }
    let taken = store.take_over().await.unwrap();
    assert_eq!(taken.iter().map(|run| (run.id, run.epoch)).collect::<Vec<_>>(), expected);
}

async fn advance(store: &Arc<dyn Store>, model: &mut Model, dice: &mut Dice, now: i64) {
    let target = id(dice.below(300));
    let epoch = match (dice.below(10), model.runs.get(&target)) {
        (0, _) | (_, None) => Some(dice.below(4)),
        (1, _) => None,
        (_, Some(known)) => Some(known.epoch),
    };
    let attempt = model.runs.get(&target).map_or(0, |known| known.attempt).max(1);
    let event = random_event(dice, AttemptId { run: target, number: attempt.try_into().unwrap() }, now);
    let advanced = store.advance(Step::new(target, epoch, event.clone(), at(now))).await;
    let Some(known) = model.runs.get_mut(&target) else {
        assert_eq!(advanced.unwrap_err().kind(), ErrorKind::NotFound);
        return;
    };
    let stale = epoch.is_some_and(|epoch| epoch != known.epoch);
    let Some(last) = known.state.apply(&event, Retry::Exhausted).ok().filter(|_| !stale) else {
        assert_eq!(advanced.unwrap_err().kind(), ErrorKind::Conflict, "{event:?} in {:?}", known.state);
        return;
    };
    let mut next = last;
    let again = known.state.apply(&event, Retry::At(Timestamp::MIN)).unwrap();
    if again == (RunState::Queued { not_before: Timestamp::MIN }) {
        known.failed += 1;
        if known.failed <= RETRIES {
            next = RunState::Queued { not_before: at(now + RETRY_SECONDS) };
        }
    }
    known.state = next.clone();
    model.events += 1;
    model.stand(target, at(now));
    let advanced = advanced.unwrap();
    assert_eq!((advanced.state, advanced.event.0), (next, model.events));
}

fn random_event(dice: &mut Dice, attempt: AttemptId, now: i64) -> RunEvent {
    match dice.below(11) {
        0..4 => RunEvent::Started(handle_of(attempt)),
        4 => RunEvent::StartFailed { failure: Failure::TimedOut, transient: dice.below(2) == 0 },
        5 => RunEvent::NeverStarted { not_before: at(now + 1) },
        6 => RunEvent::StopRequested(StopCause::Cancelled),
        7 => RunEvent::StopRequested(StopCause::TimedOut),
        8 => RunEvent::Lost(LostCause::MachineRestarted),
        code => exited(Exit::Code(i32::from(code == 9))),
    }
}
