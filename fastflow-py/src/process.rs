//! Which process a flow belongs to. A fork copies the memory and none of the threads that work for it.

use std::{mem::ManuallyDrop, ops::Deref};

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

/// What is dropped by the process that made it, and is left alone in a forked child: what it holds may be half changed
/// there, or locked by a thread that was not copied.
pub(crate) struct Owned<T> {
    process: Process,
    value: ManuallyDrop<T>,
}

impl<T> Owned<T> {
    /// By this process.
    pub(crate) fn new(value: T) -> Self {
        Self { process: Process::current(), value: ManuallyDrop::new(value) }
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Owned<T> {
    #[expect(unsafe_code, reason = "dropped once, here, and only by the process that made it")]
    fn drop(&mut self) {
        if self.process.is_current() {
            // SAFETY: this is the only place that drops it, and nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}
