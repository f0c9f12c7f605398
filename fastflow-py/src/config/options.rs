//! Options as Python gives them, and how one that is wrong is named.

use std::{str::FromStr, time::Duration};

use fastflow_core::{Error, ErrorKind, Result, pipeline::ByteSize};
use pyo3::{conversion::FromPyObjectOwned, exceptions::PyTypeError, prelude::*, types::PyDict};

use crate::error;

/// The options of `fastflow.open`, by name.
pub(super) struct Options<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'a, 'py> Options<'a, 'py> {
    pub(super) fn new(options: &'a Bound<'py, PyDict>) -> Self {
        Self(options)
    }

    /// One that is there, as what it has to be.
    pub(super) fn get<T: FromPyObjectOwned<'py>>(&self, name: &'static str) -> PyResult<T> {
        let value = self.0.as_any().get_item(name)?;
        value.extract::<T>().map_err(|error| self.refused(name, error.into()))
    }

    /// What the core says of the value of one, with its name.
    pub(super) fn checked<T>(&self, name: &'static str, value: Result<T>) -> PyResult<T> {
        value.map_err(|refused| error::raised(self.0.py(), &refused.with("option", name)))
    }

    fn refused(&self, name: &'static str, error: PyErr) -> PyErr {
        let py = self.0.py();
        let mut causes: Vec<_> = std::iter::successors(Some(error), |error| error.cause(py)).collect();
        // Of what it is a part of, the innermost has a name that the caller knows.
        causes.drain(..causes.len().saturating_sub(2));
        let said = causes.iter().map(|error| error.value(py).to_string()).collect::<Vec<_>>().join(": ");
        if causes.last().is_some_and(|cause| cause.is_instance_of::<PyTypeError>(py)) {
            return PyTypeError::new_err(format!("`{name}` of fastflow.open: {said}"));
        }
        error::raised(py, &Error::new(ErrorKind::Invalid, said).with("option", name))
    }
}

/// An amount of bytes: a number, or a text such as `2g`.
#[derive(FromPyObject)]
pub(super) enum Size {
    #[pyo3(annotation = "int")]
    Bytes(u64),
    #[pyo3(annotation = "str")]
    Text(String),
}

impl Size {
    pub(super) fn read(&self) -> Result<ByteSize> {
        match self {
            Self::Bytes(bytes) if *bytes <= ByteSize::MAX.bytes() => Ok(ByteSize(*bytes)),
            Self::Bytes(bytes) => Err(Error::new(ErrorKind::Invalid, "not a byte size")
                .with("found", bytes)
                .with("expected", format!("at most {}", ByteSize::MAX.bytes()))),
            Self::Text(text) => text.parse(),
        }
    }
}

/// A length of time that was given in seconds.
pub(super) fn duration(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        Error::new(ErrorKind::Invalid, "not a length of time").with("found", format!("{seconds} s"))
    })
}

/// Texts that are all of one kind.
pub(super) fn parsed<T: FromStr<Err = Error>, C: FromIterator<T>>(texts: &[String]) -> Result<C> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Takes the place of a default where something was said.
pub(super) fn put<T>(place: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *place = said;
    }
}

/// The same for what has to be read first.
pub(super) fn put_read<T, S>(
    place: &mut T,
    said: Option<S>,
    read: impl FnOnce(S) -> Result<T>,
) -> Result<()> {
    put(place, said.map(read).transpose()?);
    Ok(())
}
