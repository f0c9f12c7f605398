//! What is left of a process that crashes.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Error, Result};

/// Which parts of a process's memory the kernel writes into a dump, as a set of bits (core(5)).
const FILTER: &str = "/proc/self/coredump_filter";

/// Keeps the memory of this process, and of those that it starts, out of core dumps: master keys and secrets are in it for
/// moments. Call it first in `main`.
///
/// A host program decides this for itself, because it makes its own crashes harder to look into. Programs of pipelines and
/// the shim above them never leave any.
///
/// # Errors
///
/// By the kernel's word, where `/proc` is not there for example.
///
/// ```
/// fastflow_core::secret::leave_no_dumps().unwrap();
/// let filter = std::fs::read_to_string("/proc/self/coredump_filter").unwrap();
/// assert_eq!(filter.trim(), "00000000");
/// ```
pub fn leave_no_dumps() -> Result<()> {
    // A dump that is piped to a program is made whatever the limit is; with this, there is nothing in it.
    fs::write(FILTER, "0").map_err(|error| Error::from(error).with("path", FILTER))?;
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })
        .map_err(|error| Error::from(std::io::Error::from(error)))
}
