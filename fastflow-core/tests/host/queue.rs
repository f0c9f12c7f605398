//! Waiting for a slot, for a turn, for a time.

use std::time::Duration;

use fastflow_core::{Hosting, run::Status};
use futures::future::join_all;

use crate::kit::{Place, attempts, count, ended, started};

/// Enters a room, looks who is there, leaves.
const ROOM: &str = r"
import os, pathlib, time
room = pathlib.Path(os.environ['TMP_DIR'])
me = room / ('in-' + os.environ['FASTFLOW_RUN_ID'])
me.touch()
time.sleep(0.05)
there = len(list(room.glob('in-*')))
with open(room / 'seen', 'a') as seen:
    seen.write(f'{there}\n')
me.unlink()
";

#[tokio::test(flavor = "multi_thread")]
async fn thirty_runs_share_two_slots_and_none_is_refused() {
    let place = Place::new();
    place.pipeline("room", ROOM);
    let flow = started(place.builder().max_concurrent_runs(count(2))).await;
    let accepted = join_all((0..30).map(|_| flow.submit(place.ask("room")))).await;
    let done = join_all(accepted.into_iter().map(|run| ended(&flow, run.unwrap().id))).await;
    assert!(done.iter().all(|run| run.status() == Status::Success), "{done:?}");
    let seen: Vec<u32> = place.said("seen").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(
        (seen.len(), seen.iter().max()),
        (30, Some(&2)),
        "both slots were used, and no third: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_priority_goes_first_and_equals_go_by_age() {
    let place = Place::new();
    place.pipeline(
        "turn",
        "import os\nwith open(os.environ['TMP_DIR'] + '/turns', 'a') as f: f.write(os.environ['ME'] + ' ')",
    );
    place.pipeline("gate", GATE);
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    flow.submit(place.ask("gate")).await.unwrap();
    place.until_said("waiting").await;
    let mut runs = Vec::new();
    for (me, priority) in [("c", 0), ("a", 5), ("e", -3), ("b", 5), ("d", 0)] {
        runs.push(flow.submit(place.ask("turn").parameter("ME", me).priority(priority)).await.unwrap().id);
    }
    place.write("go", "go");
    for run in runs {
        ended(&flow, run).await;
    }
    assert_eq!(place.said("turns"), "a b c d e ");
}

/// Waits until the test says go.
pub(crate) const GATE: &str = r"
import os, pathlib, time
tmp = pathlib.Path(os.environ['TMP_DIR'])
(tmp / 'waiting').write_text('yes')
while not (tmp / 'go').exists():
    assert tmp.exists(), 'the test has ended'
    time.sleep(0.01)
";

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_run_starts_when_its_time_has_come() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let flow = place.start().await;
    let delay = Duration::from_millis(1200);
    let late = flow.submit(place.ask("hello").delay(delay)).await.unwrap();
    // Something else to do meanwhile does not bring it forward.
    let soon = flow.submit("hello").await.unwrap();
    ended(&flow, soon.id).await;
    let late = ended(&flow, late.id).await;
    let waited = attempts(&flow, late.id).await[0].claimed_at.duration_since(late.created_at);
    let waited = Duration::try_from(waited).unwrap();
    assert!(waited >= delay && waited < delay + Duration::from_secs(5), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_an_accepted_run_is_what_is_read_of_it_later() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    // None that would change it is there.
    let flow = started(place.builder().hosting(Hosting::Never)).await;
    for delay in [Duration::ZERO, Duration::new(3600, 7)] {
        let accepted = flow.submit(place.ask("hello").delay(delay)).await.unwrap();
        assert_eq!(flow.runs().get(accepted.id).await.unwrap(), accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_run_gives_its_turn_to_others_whatever_its_priority() {
    let place = Place::new();
    place.pipeline("hello", "print('hello')");
    let flow = started(place.builder().max_concurrent_runs(count(1))).await;
    let far = flow.submit(place.ask("hello").delay(Duration::from_hours(1)).priority(100)).await.unwrap();
    let near = flow.submit(place.ask("hello").priority(-100)).await.unwrap();
    assert_eq!(ended(&flow, near.id).await.status(), Status::Success);
    assert_eq!(flow.runs().cancel(far.id).await.unwrap().status(), Status::Cancelled);
}
