//! What tools do not find of the environment of this process.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastflow_core::{
    SystemClock,
    environment::{HostWorkbench, ToolCall, Workbench as _},
    secret::SecretVariables,
};

use crate::lab::Said;

/// Which of its variables a tool finds here.
async fn found(hidden: SecretVariables) -> Vec<String> {
    let here = HostWorkbench::new(Arc::new(SystemClock::new())).hiding(hidden);
    let folder = tempfile::TempDir::new().unwrap();
    let call = ToolCall {
        program: "/usr/bin/env".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        directory: folder.path().to_owned(),
        reads: Vec::new(),
        writes: Vec::new(),
        timeout: Duration::from_mins(1),
        lock: None,
    };
    let ended = here.run(call, &Said::default()).await.unwrap();
    let text = String::from_utf8(ended.answer).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_does_not_find_variables_that_hold_secrets() {
    let all = found(SecretVariables::default()).await;
    let has = |found: &[String], name: &str| found.iter().any(|known| known == name);
    // Whoever runs tests gives these.
    assert!(has(&all, "CARGO_MANIFEST_DIR") && has(&all, "CARGO_PKG_NAME") && has(&all, "PATH"), "{all:?}");
    let named = SecretVariables { names: ["CARGO_PKG_NAME".to_owned()].into(), ..SecretVariables::default() };
    let left = found(named).await;
    assert!(!has(&left, "CARGO_PKG_NAME") && has(&left, "CARGO_MANIFEST_DIR") && has(&left, "PATH"));
    let begun = SecretVariables { prefixes: ["CARGO_".to_owned()].into(), ..SecretVariables::default() };
    let left = found(begun).await;
    assert!(!left.iter().any(|name| name.starts_with("CARGO_")) && has(&left, "PATH"), "{left:?}");
}
