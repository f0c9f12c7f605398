//! What tests of applications and of executors need.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fastflow_core::{
    AttemptId, Clock as _, OwnerId, SystemClock, Timestamp,
    executor::{AttemptSpec, Executor},
    testing::{
        ManualClock as Manual,
        conformance::executor::{ExecutorFixture, NamedCase},
    },
};
use futures::FutureExt as _;
use pyo3::{
    exceptions::{PyAssertionError, PyRuntimeError, PyValueError},
    prelude::*,
};

use crate::{
    error,
    executor::{ExecutorPort, PythonExecutor},
    operation::{SIGNALS_EVERY, seconds},
};

/// Threads that run a case. Some of its tasks wait for each other.
const CASE_WORKERS: usize = 4;

/// A clock whose wall time stands still until it is moved.
#[pyclass(frozen, module = "fastflow._fastflow")]
#[derive(Debug)]
pub(crate) struct ManualClock {
    clock: Manual,
}

impl ManualClock {
    /// The same clock, for an orchestrator.
    pub(crate) fn clock(&self) -> Manual {
        self.clock.clone()
    }
}

#[pymethods]
impl ManualClock {
    #[new]
    fn new(now: Timestamp) -> Self {
        Self { clock: Manual::new(now) }
    }

    #[getter]
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, py: Python<'_>, by: f64) -> PyResult<()> {
        self.clock.advance(seconds(by)?).map_err(|error| error::raised(py, &error))
    }
}

/// The names of the cases of the conformance suite.
#[pyfunction]
pub(crate) fn executor_cases() -> Vec<&'static str> {
    NamedCase::all().iter().map(|case| case.name()).collect()
}

/// Runs a case on an executor and on another of the same runtime. Answers what the executor lacks for the case, or for
/// parts of it.
#[pyfunction]
pub(crate) fn run_executor_case(
    py: Python<'_>,
    name: &str,
    executor: &Bound<'_, ExecutorPort>,
    other: &Bound<'_, ExecutorPort>,
    case_timeout: f64,
) -> PyResult<Vec<String>> {
    let case = NamedCase::find(name).ok_or_else(|| PyValueError::new_err(format!("no such case: {name}")))?;
    let fixture = Arc::new(Fixture {
        executors: Mutex::new(vec![other.get().executor(), executor.get().executor()]),
        lacking: Mutex::default(),
        case_timeout: seconds(case_timeout)?,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CASE_WORKERS)
        .thread_name("fastflow-case")
        .enable_all()
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start the threads of a case: {error}")))?;
    let (under, clock) = (Arc::clone(&fixture), SystemClock::new());
    let mut running =
        runtime.spawn(async move { AssertUnwindSafe(case.check(&*under)).catch_unwind().await });
    let outcome = loop {
        let answer = py.detach(|| {
            runtime.block_on(async {
                tokio::select! {
                    outcome = &mut running => Some(outcome),
                    () = clock.sleep(SIGNALS_EVERY) => None,
                }
            })
        });
        if let Some(outcome) = answer {
            break outcome;
        }
        py.check_signals()?;
    };
    py.detach(|| runtime.shutdown_background());
    match outcome {
        Ok(Ok(())) => {
            let lacking = fixture.lacking.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(lacking.iter().cloned().collect())
        }
        Ok(Err(panic)) => Err(PyAssertionError::new_err(message(&*panic))),
        Err(error) => Err(PyRuntimeError::new_err(error.to_string())),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "the case has failed without a word".to_owned())
}

/// Python's executors, as the suite sees them.
struct Fixture {
    executors: Mutex<Vec<PythonExecutor>>,
    lacking: Mutex<BTreeSet<String>>,
    case_timeout: Duration,
}

#[async_trait]
impl ExecutorFixture for Fixture {
    fn name(&self) -> &'static str {
        "python"
    }

    async fn executor(&self) -> Option<Arc<dyn Executor>> {
        let next = self.executors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        next.map(|executor| Arc::new(executor) as Arc<dyn Executor>)
    }

    fn spec(&self, id: AttemptId, owner: OwnerId, script: &str, run_dir: PathBuf) -> AttemptSpec {
        let argv = ["/bin/sh", "-c", script, "sh"].map(String::from).to_vec();
        AttemptSpec::new(id, owner, argv, run_dir)
    }

    /// Whoever runs the case hears of it, and decides.
    fn does_without(&self, capability: &str) -> bool {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner).insert(capability.to_owned());
        true
    }

    fn case_timeout(&self) -> Duration {
        self.case_timeout
    }
}
