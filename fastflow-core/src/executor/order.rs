//! From an attempt to what its shim is told.

use std::{path::Path, time::Duration};

use fastflow_shim::{LogLimits, Order, SecretFiles, UsagePolicy};

use super::AttemptSpec;

/// The order of an attempt whose shim sees the paths of this machine. The secrets move into it, and the spec has none
/// afterwards; those that are files lie in `secrets_dir`.
pub(super) fn order(spec: &mut AttemptSpec, secrets_dir: &Path) -> Order {
    let secrets = std::mem::take(&mut spec.secrets);
    let limits = &spec.limits;
    let mut order = Order::new(spec.id.to_string(), &spec.argv, &spec.working_dir, &spec.run_dir);
    order.env.clone_from(&spec.env);
    order.secret_env = secrets.env.into_iter().map(|(name, secret)| (name.into(), secret)).collect();
    if !secrets.files.is_empty() {
        let mut files = SecretFiles::new(secrets_dir);
        files.files = secrets.files.into_iter().map(|(name, secret)| (name.into(), secret)).collect();
        order.secret_files = Some(files);
    }
    order.mask.files.clone_from(&spec.masked_files);
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
