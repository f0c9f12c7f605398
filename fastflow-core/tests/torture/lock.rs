//! Two hosts that want one data directory.

use std::time::Duration;

use fastflow_core::{Clock, SystemClock, testing::torture::HostProcess};

use crate::{host, kit::Place};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_on_one_directory_the_second_is_refused_until_the_first_is_dead() {
    let place = Place::new();
    let answer = |host: &HostProcess| place.root().join(format!("answer-{}", host.id()));
    let mut first = host::start("idle", place.root());
    first.until_there(&answer(&first)).await;
    let mut second = host::start("idle", place.root());
    let refused = answer(&second);
    second.until_there(&refused).await;
    second.ended(Duration::from_secs(10)).await;
    let words = std::fs::read_to_string(refused).unwrap();
    assert!(words.contains(&first.id().to_string()), "the owner is named: {words}");
    first.kill(false);
    let mut third = host::start("idle", place.root());
    let started = answer(&third);
    third.until_there(&started).await;
    let clock = SystemClock::new();
    while std::fs::read_to_string(&started).unwrap().is_empty() {
        clock.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(std::fs::read_to_string(started).unwrap(), "started");
    third.kill(true);
}
