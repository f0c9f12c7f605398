//! Secrets are in memory, so memory must not get out.

use std::fs;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Keeps memory out of every crash dump of this process and of all that it starts: none of its mappings is written, also
/// where the kernel hands dumps to a program and heeds no limit of their size. Where `/proc` is not writable, the limit is
/// all there is.
pub(crate) fn keep_memory_out() {
    let _ = fs::write("/proc/self/coredump_filter", "0");
    let maximum = rustix::process::getrlimit(Resource::Core).maximum;
    // The hard limit stays: an order may give the program a higher one.
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// From here on the kernel neither dumps this process nor lets another one of the same user read its memory. The files of
/// its own that it may no longer write to are those that are written before the program starts.
pub(crate) fn hide_memory() {
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
