//! The secrets: set, removed, listed, put under a new key.

use std::{num::NonZeroU32, path::PathBuf, sync::Arc};

use fastflow_core::{
    OsEntropy,
    orchestrator::{MasterKeyUse, SecretInfo, SetSecret, WantedSecret},
    secret::{Rotation, Secret, generate_key_file},
    store::{SecretQuery, SecretVersion},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    engine::Shared,
    error,
    operation::{Operation, Record},
    record::{Fields, Text},
};

/// The secrets of a flow. Scopes cross as their texts, such as `pipeline:etl`.
#[pyclass(frozen, module = "fastflow._fastflow")]
pub(crate) struct Secrets {
    shared: Arc<Shared>,
}

impl Secrets {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }
}

#[pymethods]
impl Secrets {
    /// Sets a secret.
    fn set(&self, scope: String, name: String, value: String) -> Operation {
        let secret = Secret::new(value);
        self.shared.call(move |flow| async move {
            flow.secrets().set(&scope.parse()?, &name.parse()?, secret).await
        })
    }

    /// Sets a value that anybody may see.
    fn set_parameter(&self, scope: String, name: String, value: String) -> Operation {
        self.shared.call(move |flow| async move {
            flow.secrets().set_parameter(&scope.parse()?, &name.parse()?, &value).await
        })
    }

    /// Removes a value.
    fn remove(&self, scope: String, name: String) -> Operation {
        self.shared
            .call(move |flow| async move { flow.secrets().remove(&scope.parse()?, &name.parse()?).await })
    }

    /// A page of what there is, by scope and name, after one of them.
    #[pyo3(signature = (scope, after, limit))]
    fn page(&self, scope: Option<String>, after: Option<(String, String)>, limit: NonZeroU32) -> Operation {
        self.shared.call(move |flow| async move {
            let scope = scope.map(|scope| scope.parse()).transpose()?;
            let after = match after {
                Some((scope, name)) => Some((scope.parse()?, name.parse()?)),
                None => None,
            };
            flow.secrets().list(&SecretQuery { scope, after, limit, not_under: None }).await
        })
    }

    /// The values that there are and were under a name.
    fn versions(&self, scope: String, name: String) -> Operation {
        self.shared
            .call(move |flow| async move { flow.secrets().versions(&scope.parse()?, &name.parse()?).await })
    }

    /// The value itself.
    fn reveal(&self, scope: String, name: String) -> Operation {
        self.shared.call(move |flow| async move {
            let secret = flow.secrets().reveal(&scope.parse()?, &name.parse()?).await?;
            Ok(Text(secret.expose().to_owned()))
        })
    }

    /// Puts everything under the key that seals now.
    fn rotate(&self) -> Operation {
        self.shared.call(|flow| async move { flow.secrets().rotate().await })
    }

    /// The master keys.
    fn keys(&self) -> Operation {
        self.shared.call(|flow| async move { flow.secrets().keys().await })
    }

    /// A sealed text for a pipeline's `encrypted_env`.
    fn seal_text(&self, pipeline: String, variable: String, value: String) -> Operation {
        let secret = Secret::new(value);
        self.shared.call(move |flow| async move {
            flow.secrets().seal_text(&pipeline.parse()?, &variable.parse()?, &secret).map(Text)
        })
    }

    /// What pipelines want.
    fn wanted(&self) -> Operation {
        self.shared.call(|flow| async move { flow.secrets().wanted().await })
    }
}

/// Writes a new master key to a file, and answers its id.
#[pyfunction]
pub(crate) fn generate_master_key(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let made = py.detach(|| generate_key_file(&path, &OsEntropy));
    made.map(|id| id.to_string()).map_err(|error| error::raised(py, &error))
}

impl Record for SetSecret {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let fields = Fields::new(py).with("version", self.version.get())?;
        Ok(fields.with("is_masked", self.is_masked)?.done())
    }
}

impl Record for SecretInfo {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("scope", self.scope.to_string())?
            .with("name", self.name.as_str())?
            .with("version", self.version.get())?
            .with("parameter", self.parameter)?
            .with("key", self.key.map(|key| key.to_string()))?
            .with("set_at", self.set_at)?
            .with("last_used_at", self.last_use.map(|last| last.at))?
            .with("last_used_by", self.last_use.map(|last| last.run.to_string()))?
            .with("is_newest", self.is_newest)?
            .done())
    }
}

impl Record for SecretVersion {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("version", self.version.get())?
            .with("is_sealed", self.is_sealed)?
            .with("set_at", self.put_at)?
            .with("ended_at", self.ended_at)?
            .done())
    }
}

impl Record for Rotation {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let values = PyDict::new(py);
        for (key, number) in self.values_by_key {
            values.set_item(key.to_string(), number)?;
        }
        let unreadable: Vec<_> = self
            .unreadable
            .into_iter()
            .map(|(scope, name, why)| (scope.to_string(), name.to_string(), why))
            .collect();
        let fields = Fields::new(py).with("resealed", self.resealed)?;
        Ok(fields.with("values_by_key", values)?.with("unreadable", unreadable)?.done())
    }
}

impl Record for MasterKeyUse {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Fields::new(py)
            .with("key", self.key.to_string())?
            .with("values", self.values)?
            .with("is_there", self.is_there)?
            .with("seals", self.seals)?
            .done())
    }
}

impl Record for WantedSecret {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stored: Vec<_> = self.stored.iter().map(ToString::to_string).collect();
        Ok(Fields::new(py)
            .with("pipeline", self.pipeline.as_str())?
            .with("variable", self.variable.as_str())?
            .with("is_brought", self.is_brought)?
            .with("stored", stored)?
            .done())
    }
}
