//! What executors can do, and what attempts need, in the same words.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// What an executor can do. To claim a capability is to pass its cases of the conformance suite.
///
/// ```
/// use fastflow_core::{ErrorKind, executor::{Capabilities, Limits}};
///
/// let mut limits = Limits::default();
/// limits.memory_bytes = Some(512 << 20);
/// let mut can = Capabilities::default();
/// assert_eq!(can.check(limits.requirements()).unwrap_err().kind(), ErrorKind::Unsupported);
/// can.memory_limit = true;
/// assert!(can.check(limits.requirements()).is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent facts, read by name")]
pub struct Capabilities {
    /// It runs programs in environments that were prepared on this machine.
    pub environments: bool,
    /// It keeps a limit on CPU.
    pub cpu_limit: bool,
    /// It keeps a limit on memory.
    pub memory_limit: bool,
    /// It keeps a limit on processes.
    pub process_limit: bool,
    /// It runs programs in images, which pipelines may choose.
    pub images: bool,
    /// It can take the network away from a program.
    pub network: bool,
    /// It confines programs: without privileges, as another user than root, with nothing to write to but their own
    /// run directory.
    pub isolation: bool,
    /// It can make sandboxes ahead of time.
    pub warm: bool,
    /// It writes logs and usage into the run directory, and its programs work in there: this machine sees their files.
    pub output: bool,
    /// It gives secrets to programs so that nobody else sees them, and masks them in logs.
    pub secrets: bool,
    /// An execution survives the host, and `reattach` finds it.
    pub reattach: bool,
}

/// What an attempt needs beyond being run. Derived from its spec.
///
/// ```
/// use fastflow_core::executor::{Limits, Requirements};
///
/// assert_eq!(Limits::default().requirements(), Requirements::default());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent facts, read by name")]
pub struct Requirements {
    /// A limit on CPU.
    pub cpu_limit: bool,
    /// A limit on memory.
    pub memory_limit: bool,
    /// A limit on processes.
    pub process_limit: bool,
    /// An image.
    pub images: bool,
    /// That the network is taken away.
    pub network: bool,
    /// That its use of the CPU is watched.
    pub soft_cpu: bool,
    /// That its use of memory is watched.
    pub soft_memory: bool,
    /// That it is watched whether it writes anything.
    pub no_output: bool,
    /// That its heartbeat is watched.
    pub heartbeat: bool,
    /// That it gets secrets.
    pub secrets: bool,
}

impl Capabilities {
    /// Checks that every need is met. Called before any effect on the runtime.
    ///
    /// # Errors
    ///
    /// `Unsupported`, naming the first thing that is missing by its field in `pipeline.json`.
    pub fn check(self, needs: Requirements) -> Result<()> {
        for (needed, there, field) in [
            (needs.cpu_limit, self.cpu_limit, "cpu_hard_limit"),
            (needs.memory_limit, self.memory_limit, "mem_hard_limit"),
            (needs.process_limit, self.process_limit, "max_processes"),
            (needs.images, self.images, "image"),
            (needs.network, self.network, "network"),
            (needs.soft_cpu, self.output, "cpu_soft_limit"),
            (needs.soft_memory, self.output, "mem_soft_limit"),
            (needs.no_output, self.output, "no_output_timeout"),
            (needs.heartbeat, self.output, "heartbeat_timeout"),
            (needs.secrets, self.secrets, "secrets"),
        ] {
            if needed && !there {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the executor cannot do this here; remove the field or choose another executor",
                )
                .with("field", field));
            }
        }
        Ok(())
    }
}
