//! Which process a flow belongs to. A fork copies the memory and none of the threads that work for it.

use pyo3::prelude::*;

use crate::error;

/// The process that something was made in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// This one.
    pub(crate) fn current() -> Self {
        Self { pid: std::process::id() }
    }

    /// Whether it is this one.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Refuses at once what would wait for ever in a forked child.
    pub(crate) fn check(self, py: Python<'_>) -> PyResult<()> {
        if self.is_current() { Ok(()) } else { Err(error::forked(py, self.pid)) }
    }
}
