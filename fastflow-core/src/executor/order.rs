//! From an attempt to what its shim is told.

use std::time::Duration;

use fastflow_shim::{LogLimits, Order, UsagePolicy};

use super::AttemptSpec;

/// The order of an attempt whose shim sees the paths of this machine.
pub(super) fn order(spec: &AttemptSpec) -> Order {
    let limits = &spec.limits;
    let mut order = Order::new(spec.id.to_string(), &spec.argv, &spec.working_dir, &spec.run_dir);
    order.env.clone_from(&spec.env);
    order.timeout_ms = limits.timeout.map(millis);
    order.stop_grace_ms = millis(limits.stop_grace);
    order.log = LogLimits { max_bytes: limits.log_max_bytes, tail_bytes: limits.log_tail_bytes };
    order.usage = UsagePolicy {
        interval_ms: millis(limits.usage_interval),
        soft_cpu_millis: limits.soft_cpu_millis,
        soft_memory_bytes: limits.soft_memory_bytes,
    };
    order
}

/// A time as the shim takes it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
