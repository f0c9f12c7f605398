//! Set-up that fails is a reason of the run, in the tool's own words.

use fastflow_core::{
    environment::EnvironmentFailureKind,
    journal::LogStream,
    run::{AttemptEnd, Failure, Run, Status},
    testing::tool,
};

use crate::kit::{Place, attempts, lines, run, started};

fn uv_is_missing() -> bool {
    if tool::uv().is_none() {
        tool::require("uv", "there is none: run tools/setup-uv");
        return true;
    }
    false
}

fn environment_failure(run: &Run) -> &fastflow_core::environment::EnvironmentFailure {
    match run.failure() {
        Some(Failure::EnvironmentFailed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_nobody_has_is_named_in_the_reason_and_in_the_log() {
    if uv_is_missing() {
        return;
    }
    let place = Place::new();
    place
        .pipeline("needy", "import os; open(os.environ['TMP_DIR'] + '/started', 'w').write('x')")
        .file("needy/requirements.txt", "--no-index\nno-such-package-anywhere==1.2.3\n")
        .file(
            "needy/pipeline.json",
            r#"{"retry_attempts": 2, "retry_strategy": {"type": "fixed_delay", "delay": 0}}"#,
        );
    let flow = place.start().await;
    let done = run(&flow, place.ask("needy")).await;
    let failure = environment_failure(&done);
    assert_eq!(failure.kind, EnvironmentFailureKind::ResolutionFailed, "{failure:?}");
    assert!(failure.message.contains("no-such-package-anywhere"), "{failure:?}");
    assert_eq!(done.attempt, 1, "what cannot work is not tried again");
    let setup = lines(&flow, done.id, LogStream::Setup).await.join("\n");
    assert!(setup.contains("no-such-package-anywhere"), "{setup}");
    let attempt = attempts(&flow, done.id).await.remove(0);
    assert!(matches!(attempt.end, Some(AttemptEnd::Failed(Failure::EnvironmentFailed(_)))), "{attempt:?}");
    assert!(attempt.started_at.is_none() && attempt.setup.is_some());
    assert_eq!(place.said("started"), "", "its program never ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_out_of_reach_and_a_python_that_nobody_has_have_their_own_reasons() {
    if uv_is_missing() {
        return;
    }
    let place = Place::new();
    place
        .pipeline("offline", "pass")
        .file("offline/requirements.txt", "--index-url http://127.0.0.1:9/simple\nidna==3.10\n")
        .pipeline("ancient", "pass")
        .file("ancient/pipeline.json", r#"{"python_version": "3.99"}"#);
    let flow = place.start().await;
    let done = run(&flow, "ancient").await;
    assert_eq!(environment_failure(&done).kind, EnvironmentFailureKind::InterpreterMissing, "{done:?}");
    assert!(environment_failure(&done).message.contains("3.99"));
    let done = run(&flow, "offline").await;
    assert_eq!(environment_failure(&done).kind, EnvironmentFailureKind::DownloadFailed, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_uv_the_error_says_how_to_get_it() {
    let place = Place::new();
    place.pipeline("hello", "pass");
    let flow = started(place.bare_builder().uv("/nowhere/uv")).await;
    let done = run(&flow, "hello").await;
    assert_eq!(done.status(), Status::Failed);
    let failure = environment_failure(&done);
    assert_eq!(failure.kind, EnvironmentFailureKind::ToolMissing);
    assert!(
        failure.to_string().contains("/nowhere/uv") && failure.to_string().contains("install"),
        "{failure}"
    );
}
