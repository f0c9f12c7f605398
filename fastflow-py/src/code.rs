//! Code that is in no source: scripts, snippets and functions, submitted with their files.

use std::sync::Arc;

use fastflow_core::Submission;
use pyo3::{prelude::*, pybacked::PyBackedBytes};

use crate::{
    engine::Shared,
    operation::{Operation, seconds},
};

/// Code that is in no source.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Code {
    shared: Arc<Shared>,
}

impl Code {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Code {
    /// Accepts a run of these files, one of which is a `main.py`; a `pipeline.json` among them holds the settings.
    #[pyo3(signature = (name, files, parameters, *, priority = None, key = None, delay = None, executor = None))]
    fn submit(
        &self,
        name: String,
        files: Vec<(String, PyBackedBytes)>,
        parameters: Vec<(String, String)>,
        priority: Option<i16>,
        key: Option<String>,
        delay: Option<f64>,
        executor: Option<String>,
    ) -> PyResult<Operation> {
        let delay = delay.map(seconds).transpose()?;
        // Bytes of Python's are let go here, in its thread, and not where the work is done.
        let files: Vec<(String, Vec<u8>)> =
            files.into_iter().map(|(path, content)| (path, content.to_vec())).collect();
        Ok(self.shared.call(move |flow| async move {
            let mut code = fastflow_core::Code::new(&name)?;
            for (path, content) in files {
                code = code.file(path, content);
            }
            let mut what = Submission::code(code);
            for (name, value) in parameters {
                what = what.parameter(name, value);
            }
            if let Some(priority) = priority {
                what = what.priority(priority);
            }
            if let Some(key) = key {
                what = what.key(key);
            }
            if let Some(delay) = delay {
                what = what.delay(delay);
            }
            if let Some(executor) = executor {
                what = what.executor(executor.parse()?);
            }
            flow.submit(what).await
        }))
    }
}
