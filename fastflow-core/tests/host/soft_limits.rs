//! What is noted of programs that use much, and when they are ended for it.

use std::{fs, path::Path};

use fastflow_core::{
    Shutdown,
    journal::{Journal, Offset, UsageSample},
    run::{Decision, SoftLimit, Status, Symptom},
};

use crate::{
    health::{assert_unhealthy, decisions, directory},
    kit::{Place, all_notes, ended, until},
};

/// Uses much memory and little by turns, one turn for each file that the test writes.
const BREATHING: &str = r"
import os, time
def turn(name):
    open(os.environ['TMP_DIR'] + '/at', 'w').write(name)
    while not os.path.exists(os.environ['TMP_DIR'] + '/' + name): time.sleep(0.01)
for n in (1, 2):
    block = bytearray(150 << 20)
    for i in range(0, len(block), 4096): block[i] = 1
    turn(f'much{n}')
    del block
    turn(f'little{n}')
";

/// Lets a breathing program go on, once a sample has seen it where it is.
async fn breathe(place: &Place, dir: &Path, turn: &str) {
    let much = turn.starts_with("much");
    until(turn, || async { place.said("at") == turn }).await;
    let journal = Journal::<UsageSample>::new(dir.join("usage.ndjson"));
    // Samples that were taken before the program came here count for nothing.
    let from = fs::metadata(dir.join("usage.ndjson")).map_or(0, |file| file.len());
    until("a sample", || async {
        let Ok(batch) = journal.read(Offset::from_bytes(from)).await else { return false };
        batch.records.iter().any(|(_, sample)| (sample.memory_bytes > 100 << 20) == much)
    })
    .await;
    if much {
        let noted = turn[4..].parse::<usize>().unwrap();
        until("a note", || async { crossings(place).await == noted }).await;
    }
    place.write(turn, "go");
}

/// How many crossings of memory were noted of any run.
async fn crossings(place: &Place) -> usize {
    let notes = all_notes(&place.data()).await;
    let is_memory = |decision: &Decision| {
        let Decision::SoftLimit { limit: SoftLimit::Memory, used, allowed } = decision else { return false };
        assert_eq!((*allowed, *used > *allowed), (100 << 20, true), "{decision:?}");
        true
    };
    notes.iter().filter(|note| is_memory(&note.1.decision)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_crossing_of_a_soft_limit_is_noted_once_whoever_looks() {
    let place = Place::new();
    place.pipeline("breathing", BREATHING).file("breathing/pipeline.json", r#"{"mem_soft_limit": "100m"}"#);
    let flow = place.start().await;
    let id = flow.submit(place.ask("breathing")).await.unwrap().id;
    until("it to run", || async { flow.runs().get(id).await.unwrap().status() == Status::Running }).await;
    let dir = directory(&flow, id).await;
    breathe(&place, &dir, "much1").await;
    breathe(&place, &dir, "little1").await;
    until("much2", || async { place.said("at") == "much2" }).await;
    until("the note", || async { crossings(&place).await == 2 }).await;
    flow.shutdown(Shutdown::Detach).await.unwrap();
    let flow = place.start().await;
    breathe(&place, &dir, "much2").await;
    breathe(&place, &dir, "little2").await;
    assert_eq!(ended(&flow, id).await.status(), Status::Success);
    assert_eq!(crossings(&place).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_ended_for_its_soft_limit_if_that_is_asked_for() {
    let place = Place::new();
    let stop = r#""soft_limit_action": "stop""#;
    place
        .pipeline("busy", "while True: pass")
        .file("busy/pipeline.json", format!(r#"{{"cpu_soft_limit": 0.05, {stop}}}"#))
        .pipeline("big", "import time\nblock = b'x' * (150 << 20)\ntime.sleep(600)")
        .file("big/pipeline.json", format!(r#"{{"mem_soft_limit": "100m", {stop}}}"#))
        .pipeline("short", "import time\nend = time.monotonic() + 0.3\nwhile time.monotonic() < end: pass")
        .file("short/pipeline.json", r#"{"cpu_soft_limit": 0.05}"#)
        .pipeline("small", "import time\ntime.sleep(4)")
        .file("small/pipeline.json", format!(r#"{{"mem_soft_limit": "2g", "cpu_soft_limit": 64, {stop}}}"#));
    let flow = place.start().await;
    let mut runs = Vec::new();
    for name in ["busy", "big", "small", "short"] {
        runs.push(flow.submit(name).await.unwrap().id);
    }
    for (id, symptom, limit) in
        [(runs[0], Symptom::SoftCpu, SoftLimit::Cpu), (runs[1], Symptom::SoftMemory, SoftLimit::Memory)]
    {
        assert_unhealthy(&ended(&flow, id).await, symptom);
        let noted = decisions(&place, id, 1).await;
        let [Decision::SoftLimit { limit: crossed, .. }, Decision::Unhealthy(found)] = noted.as_slice()
        else {
            panic!("{noted:?}")
        };
        assert_eq!((*crossed, *found), (limit, symptom));
    }
    let short = ended(&flow, runs[3]).await;
    let noted = decisions(&place, short.id, 1).await;
    assert!(matches!(noted[..], [Decision::SoftLimit { limit: SoftLimit::Cpu, .. }]), "{noted:?}");
    assert_eq!(short.status(), Status::Success);
    let small = ended(&flow, runs[2]).await;
    assert_eq!((small.status(), decisions(&place, small.id, 1).await), (Status::Success, vec![]));
}
