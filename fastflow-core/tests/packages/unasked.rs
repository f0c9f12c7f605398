//! Audits that nobody asks for: each environment is audited until there is an answer, whoever recorded it, and whenever.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    AuditPolicy, Clock, Orchestrator, OrchestratorBuilder, SystemClock, Timestamp,
    environment::{AuditOutcome, PipAudit, PipAuditConfig},
};

use crate::{
    kit::{Place, count, environment_id, run, started, started_after, until},
    record::{Answer, Told},
};

/// Answers as `pip-audit` does where there is a file `works` beside it, and else fails.
const TOOL: &str = r#"#!/bin/sh
if ! test -e "${0%/*}/works"; then
    echo "the database is out of reach" >&2
    exit 1
fi
echo '{"dependencies": [{"name": "six", "version": "1.17.0", "vulns": []}], "fixes": []}'
"#;

/// The machine's clock, for somebody who cannot wait: who pauses for minutes, and not for whole ones, has slept at once.
#[derive(Debug)]
struct Leaping {
    clock: SystemClock,
    ahead: Mutex<Duration>,
}

impl Leaping {
    fn new() -> Self {
        Self { clock: SystemClock::new(), ahead: Mutex::default() }
    }
}

#[async_trait]
impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed() + *self.ahead.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        let minutes = Duration::from_secs(50)..Duration::from_mins(30);
        if minutes.contains(&duration) && duration.subsec_nanos() != 0 {
            tokio::task::yield_now().await;
            *self.ahead.lock().unwrap() += duration;
        } else {
            self.clock.sleep(duration).await;
        }
    }
}

/// Audits with a program `tool` of the test.
fn auditing(place: &Place) -> OrchestratorBuilder {
    let mut config = PipAuditConfig::new(place.root().join("audit"));
    config.program = place.tmp().join("tool");
    config.env.insert("PATH".into(), "/usr/bin:/bin".into());
    place
        .bare_builder()
        .environments(Told::new(Answer::Packages))
        .package_auditor(PipAudit::new(config, Arc::new(SystemClock::new())))
        .audits(AuditPolicy::NewEnvironments)
        .clock(Leaping::new())
}

fn bring_tool(place: &Place) {
    place.write("tool", TOOL);
    std::fs::set_permissions(place.tmp().join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What the audits came to, newest first.
async fn outcomes(flow: &Orchestrator) -> Vec<AuditOutcome> {
    let audits = flow.packages().audits(None, count(99)).await.unwrap();
    audits.into_iter().map(|audit| audit.outcome).collect()
}

async fn until_audited(flow: &Orchestrator, audits: usize) {
    until("an audit", || async { outcomes(flow).await.len() >= audits }).await;
}

fn clean() -> AuditOutcome {
    AuditOutcome::Clean { audited: 1, skipped: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_recorded_by_asking_is_audited() {
    let place = Place::new();
    place.pipeline("hello", "pass").write("works", "");
    bring_tool(&place);
    let told = Told::new(Answer::PackagesLater);
    let asked: Arc<AtomicUsize> = Arc::clone(&told.asked);
    let flow = started(auditing(&place).environments(told)).await;
    let done = run(&flow, "hello").await;
    until("the recorder to wait for an answer", || async { asked.load(Ordering::SeqCst) == 1 }).await;
    assert!(flow.packages().of_run(done.id).await.unwrap().packages.is_some());
    until_audited(&flow, 1).await;
    assert_eq!(outcomes(&flow).await, [clean()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_before_is_audited_once_by_the_next_host() {
    let place = Place::new();
    place.pipeline("hello", "pass").write("works", "");
    bring_tool(&place);
    let flow = started(auditing(&place).audits(AuditPolicy::OnRequest)).await;
    run(&flow, "hello").await;
    until("the environment to be recorded", || async {
        flow.packages().of_environment(&environment_id()).await.is_ok()
    })
    .await;
    assert!(outcomes(&flow).await.is_empty());
    drop(flow);

    let flow = started_after(|| auditing(&place)).await;
    until_audited(&flow, 1).await;
    assert_eq!(outcomes(&flow).await, [clean()], "without another run");
    drop(flow);

    let flow = started_after(|| auditing(&place)).await;
    run(&flow, "hello").await;
    run(&flow, "hello").await;
    assert_eq!(outcomes(&flow).await, [clean()], "there is an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_fails_is_tried_again_for_a_while_and_by_the_next_host() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    bring_tool(&place);
    let flow = started(auditing(&place)).await;
    run(&flow, "hello").await;
    until_audited(&flow, 5).await;
    for _ in 0..3 {
        // Each takes much longer than the pauses of this clock.
        run(&flow, "hello").await;
    }
    let failed = outcomes(&flow).await;
    let says = |outcome: &AuditOutcome| matches!(outcome, AuditOutcome::Failed { words } if words.contains("out of reach"));
    assert!(failed.len() == 5 && failed.iter().all(says), "{failed:?}");
    drop(flow);

    place.write("works", "");
    let flow = started_after(|| auditing(&place)).await;
    until_audited(&flow, 6).await;
    assert_eq!(outcomes(&flow).await[0], clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_audit_is_made_good_by_the_same_host() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let script = TOOL.replace("exit 1", "touch \"${0%/*}/works\"\n    exit 1");
    place.write("tool", &script);
    std::fs::set_permissions(place.tmp().join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let flow = started(auditing(&place)).await;
    run(&flow, "hello").await;
    until_audited(&flow, 2).await;
    assert_eq!(outcomes(&flow).await[0], clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_missing_is_looked_for_once_by_each_host() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    for host in 1..=2 {
        let flow = started_after(|| auditing(&place)).await;
        run(&flow, "hello").await;
        until_audited(&flow, host).await;
        run(&flow, "hello").await;
        let missing = outcomes(&flow).await;
        assert_eq!(missing.len(), host, "{missing:?}");
        assert!(matches!(missing[0], AuditOutcome::ToolMissing { .. }), "{missing:?}");
    }
    place.write("works", "");
    bring_tool(&place);
    let flow = started_after(|| auditing(&place)).await;
    until_audited(&flow, 3).await;
    assert_eq!(outcomes(&flow).await[0], clean());
}
