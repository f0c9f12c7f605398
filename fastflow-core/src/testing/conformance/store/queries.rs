//! Cases on choosing, listing and counting.

use std::{collections::BTreeMap, sync::Arc};

use super::{at, claimed, exited, handle, id, many, new_run, publication, revision, spec, spec_on, step};
use crate::{
    ErrorKind, RunId,
    pipeline::Diagnostic,
    run::{Exit, RunEvent, Status, StopCause},
    store::{Claim, Counters, PipelineState, Publication, RunQuery, Step, Store},
};

async fn show(store: &Arc<dyn Store>, pipelines: Vec<PipelineState>, second: i64) {
    store.publish(Publication { pipelines, ..publication(second) }).await.unwrap();
}

/// Kills: a queue that forgets priorities, or goes by the order of arrival.
pub async fn claims_go_by_priority_then_by_age(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    for (number, priority, due) in
        [(1, 0, 5), (2, 9, 900), (3, 5, 3), (4, 5, 2), (5, 0, 5), (6, -7, 0), (7, 9, 4), (8, 0, 1)]
    {
        let mut new = new_run(number, &spec);
        (new.priority, new.not_before) = (priority, at(due));
        store.create_run(new).await.unwrap();
    }
    let order = drain(&store, &Claim::new(at(10), many(2))).await;
    assert_eq!(order, [7, 4, 3, 8, 1, 5, 6].map(id));
}

/// Kills: an early start.
pub async fn what_is_not_due_is_not_claimed(store: Arc<dyn Store>) {
    let mut new = new_run(1, &spec("etl", 0));
    new.not_before = at(10) + jiff::SignedDuration::from_micros(1);
    store.create_run(new).await.unwrap();
    assert!(store.claim(Claim::new(at(10), many(1))).await.unwrap().is_empty());
    assert_eq!(store.claim(Claim::new(at(11), many(1))).await.unwrap().len(), 1);
}

/// Kills: a queue that stands still behind an executor that does not answer, or forgets who waited for it.
pub async fn runs_that_are_left_out_stay_queued_in_their_order(store: Arc<dyn Store>) {
    // Revisions and pipelines differ where they run alike.
    let down = [spec_on("docker", "a", 0), spec_on("docker", "b", 1), spec_on("podman", "a", 0)];
    let up = [spec_on("process", "a", 0), spec_on("process", "b", 1)];
    for number in 0..60 {
        let spec = if number % 4 == 3 { &up[number % 2] } else { &down[number % 3] };
        let mut new = new_run(number as u64, spec);
        // In threes of one priority, so that both kinds are in every level; the newest are due first.
        new.priority = i16::try_from(number % 3).unwrap();
        new.not_before = at(100 - i64::try_from(number).unwrap());
        store.create_run(new).await.unwrap();
    }
    let order = |take: fn(u64) -> bool| {
        let mut numbers: Vec<u64> = (0..60).filter(|number| take(*number)).collect();
        numbers.sort_unstable_by_key(|number| (std::cmp::Reverse(number % 3), std::cmp::Reverse(*number)));
        numbers.into_iter().map(id).collect::<Vec<_>>()
    };
    let mut claim = Claim::new(at(100), many(2));
    claim.without = ["docker", "podman", "unheard-of"].map(|name| name.parse().unwrap()).into();
    let last = store.last_event().await.unwrap();
    let early = Claim { at: at(40), ..claim.clone() };
    assert!(store.claim(early).await.unwrap().is_empty(), "nothing of them is due yet");
    assert_eq!(drain(&store, &claim).await, order(|number| number % 4 == 3));
    assert_eq!(store.last_event().await.unwrap().0, last.0 + 15, "nothing happened to the others");
    for number in (0..60).filter(|number| number % 4 != 3) {
        let run = store.run(id(number)).await.unwrap();
        assert_eq!((run.status(), run.attempt, run.epoch), (Status::Pending, 0, 0));
    }
    claim.without.remove(&"docker".parse().unwrap());
    let back = order(|number| number % 4 != 3 && number % 3 != 2);
    assert_eq!(drain(&store, &claim).await, back, "those that are back come in their order");
    claim.without.clear();
    assert_eq!(drain(&store, &claim).await, order(|number| number % 4 != 3 && number % 3 == 2));
}

/// Claims until there is nothing left.
async fn drain(store: &Arc<dyn Store>, claim: &Claim) -> Vec<RunId> {
    let mut order = Vec::new();
    loop {
        let runs = store.claim(claim.clone()).await.unwrap();
        if runs.is_empty() {
            return order;
        }
        order.extend(runs.into_iter().map(|run| run.id));
    }
}

/// Kills: a dispatcher that sleeps too long.
pub async fn the_next_due_run_is_found(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    for (number, priority, due) in [(1, 0, 30), (2, 7, 50), (3, -2, 20), (4, 3, 40)] {
        let mut new = new_run(number, &spec);
        (new.priority, new.not_before) = (priority, at(due));
        store.create_run(new).await.unwrap();
    }
    for (after, next) in [(0, Some(20)), (19, Some(20)), (20, Some(30)), (45, Some(50)), (50, None)] {
        assert_eq!(store.next_due(at(after)).await.unwrap(), next.map(at), "after {after}");
    }
    store.claim(Claim::new(at(20), many(1))).await.unwrap();
    assert_eq!(store.next_due(at(0)).await.unwrap(), Some(at(30)), "a claimed run is not due");
}

/// Walks all pages.
async fn walk(store: &Arc<dyn Store>, mut query: RunQuery) -> Vec<RunId> {
    let mut ids = Vec::new();
    loop {
        let page = store.runs(&query).await.unwrap();
        ids.extend(page.items.iter().map(|run| run.id));
        query.before = page.next;
        if page.next.is_none() {
            return ids;
        }
    }
}

/// Kills: pages that lose or repeat a run, and filters that do not filter.
pub async fn pages_hold_every_run_once(store: Arc<dyn Store>) {
    let specs = [spec("a", 0), spec("b", 0)];
    for number in 0..60 {
        let spec = &specs[usize::from(number % 3 == 0)];
        store.create_run(new_run(number, spec)).await.unwrap();
        if number % 4 == 3 {
            continue;
        }
        let run = store.claim(Claim::new(at(0), many(1))).await.unwrap().remove(0);
        if number % 4 > 0 {
            step(&store, &run, RunEvent::Started(handle(&run)), 1).await.unwrap();
        }
        if number % 4 > 1 {
            let code = i32::from(number % 8 > 4);
            step(&store, &run, exited(Exit::Code(code)), 2).await.unwrap();
        }
    }
    let all = walk(&store, RunQuery { limit: Some(many(7)), ..RunQuery::default() }).await;
    assert_eq!(all, (0..60).rev().map(id).collect::<Vec<_>>());
    let mut by_status = BTreeMap::new();
    for run in &all {
        let run = store.run(*run).await.unwrap();
        by_status.entry((run.pipeline().clone(), run.status())).or_insert_with(Vec::new).push(run.id);
    }
    for (pipeline, statuses) in [
        (None, vec![Status::Pending]),
        (None, vec![Status::Running, Status::Failed]),
        (Some("a"), vec![]),
        (Some("b"), vec![Status::Success, Status::Pending, Status::Cancelled]),
        (Some("nobody"), vec![]),
    ] {
        let pipeline = pipeline.map(|name| name.parse().unwrap());
        let mut expected: Vec<_> = by_status
            .iter()
            .filter(|((of, status), _)| {
                pipeline.as_ref().is_none_or(|p| p == of)
                    && (statuses.is_empty() || statuses.contains(status))
            })
            .flat_map(|(_, ids)| ids.clone())
            .collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let query = RunQuery { pipeline, statuses, limit: Some(many(4)), before: None };
        assert_eq!(walk(&store, query.clone()).await, expected, "{query:?}");
    }
    let exact = RunQuery { limit: Some(many(60)), ..RunQuery::default() };
    assert_eq!(store.runs(&exact).await.unwrap().next, None, "a full last page is the last one");
}

/// Kills: pages by offset.
pub async fn pages_are_complete_while_runs_arrive(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    for number in 0..200 {
        store.create_run(new_run(number, &spec)).await.unwrap();
    }
    let writer = {
        let (store, spec) = (Arc::clone(&store), Arc::clone(&spec));
        tokio::spawn(async move {
            for number in 200..500 {
                store.create_run(new_run(number, &spec)).await.unwrap();
            }
        })
    };
    let walked = walk(&store, RunQuery { limit: Some(many(5)), ..RunQuery::default() }).await;
    writer.await.unwrap();
    assert!(walked.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
    assert!((0..200).all(|number| walked.contains(&id(number))), "none lost");
}

/// Kills: a catalog that keeps what is gone, or forgets its history.
pub async fn the_catalog_is_replaced(store: Arc<dyn Store>) {
    let state = |name: &str| PipelineState {
        name: name.parse().unwrap(),
        revision: Some(revision()),
        diagnostics: Vec::new(),
    };
    let broken = PipelineState {
        revision: None,
        diagnostics: vec![Diagnostic::error("pipeline.json", "timeout", "found \"x\", expected seconds")],
        ..state("broken")
    };
    let run = claimed(&store, 1, &spec("a", 0)).await;
    assert!(store.pipelines().await.unwrap().is_empty(), "a run does not put its pipeline into the catalog");
    show(&store, vec![state("b"), state("a"), broken.clone()], 1).await;
    step(&store, &run, exited(Exit::Code(2)), 2).await.unwrap();
    let records = store.pipelines().await.unwrap();
    assert_eq!(records.iter().map(|r| r.state.name.as_str()).collect::<Vec<_>>(), ["a", "b", "broken"]);
    assert!(records.iter().all(|record| record.present));
    assert_eq!(records[2].state, broken);
    assert_eq!(records[0].counters, Counters { failed: 1, ..Counters::default() });
    assert_eq!((records[0].last_submitted_at, records[1].last_submitted_at), (Some(at(0)), None));

    show(&store, vec![state("broken")], 3).await;
    let records = store.pipelines().await.unwrap();
    assert_eq!(records.iter().map(|r| r.present).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(records[0].counters.total(), 1);
    assert_eq!(records[2].state, state("broken"));
    show(&store, Vec::new(), 4).await;
    assert!(store.pipelines().await.unwrap().iter().all(|record| !record.present));
}

/// Kills: counters that drift from the runs they count.
pub async fn counters_are_what_a_recount_gives(store: Arc<dyn Store>) {
    let specs = [spec("a", 0), spec("b", 1)];
    let states = ["a", "b"].map(|name| PipelineState {
        name: name.parse().unwrap(),
        revision: None,
        diagnostics: vec![],
    });
    show(&store, states.to_vec(), 0).await;
    for number in 0..40_i32 {
        let spec = &specs[usize::from(number % 2 == 1)];
        let number_u = u64::try_from(number).unwrap();
        store.create_run(new_run(number_u, spec)).await.unwrap();
        let now = i64::from(number) * 9_000;
        if number % 5 == 4 {
            let wish = Step::new(id(number_u), None, RunEvent::StopRequested(StopCause::Cancelled), at(now));
            store.advance(wish).await.unwrap();
            continue;
        }
        while let Some(run) = store.claim(Claim::new(at(now + 100), many(1))).await.unwrap().pop() {
            step(&store, &run, RunEvent::Started(handle(&run)), now + 101).await.unwrap();
            step(&store, &run, exited(Exit::Code(number % 3)), now + 101 + i64::from(number)).await.unwrap();
        }
    }
    while let Some(run) = store.claim(Claim::new(at(1_000_000), many(1))).await.unwrap().pop() {
        step(&store, &run, exited(Exit::Code(0)), 1_000_000).await.unwrap();
    }
    let records = store.pipelines().await.unwrap();
    for record in records {
        let name = &record.state.name;
        let query = RunQuery { pipeline: Some(name.clone()), limit: Some(many(1000)), ..RunQuery::default() };
        let runs = store.runs(&query).await.unwrap().items;
        let count = |status| runs.iter().filter(|run| run.status() == status).count() as u64;
        let recount = Counters {
            succeeded: count(Status::Success),
            failed: count(Status::Failed),
            cancelled: count(Status::Cancelled),
        };
        assert!(recount.total() == 20 && recount.cancelled > 0, "{recount:?}");
        assert_eq!(record.counters, recount);

        let mut days: BTreeMap<jiff::civil::Date, (u64, u64)> = BTreeMap::new();
        for run in &runs {
            let finished = run.finished_at.unwrap();
            let last = store.attempts(run.id).await.unwrap().pop();
            let ran = last.and_then(|attempt| {
                Some(attempt.finished_at?.as_microsecond() - attempt.started_at?.as_microsecond())
            });
            let day = days.entry(finished.to_zoned(jiff::tz::TimeZone::UTC).date()).or_default();
            day.0 += 1;
            day.1 += u64::try_from(ran.unwrap_or(0)).unwrap();
        }
        let stored = store.daily_statistics(name, 100).await.unwrap();
        let told: Vec<_> = stored.iter().map(|d| (d.day, (d.counters.total(), d.run_micros))).collect();
        assert!(told.len() > 3);
        assert_eq!(told, days.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(store.daily_statistics(name, 2).await.unwrap(), stored[..2]);
    }
}

/// Kills: a store that hangs, or answers, after its end.
pub async fn a_closed_store_says_so(store: Arc<dyn Store>) {
    let spec = spec("etl", 0);
    store.create_run(new_run(1, &spec)).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.create_run(new_run(2, &spec)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.claim(Claim::new(at(1), many(1))).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.run(id(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
