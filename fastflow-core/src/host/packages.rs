//! Records what environments hold, and audits them.
//!
//! It works behind the runs: a start says that an environment is used, and is never kept waiting, nor failed, by what
//! becomes of that. What this host has no time for is found by the next one in the store.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use super::{Ports, backoff::Backoff};
use crate::{
    ErrorKind, Result,
    environment::EnvironmentId,
    run::SetupEnvironment,
    store::{Audit, EnvironmentPackages},
};

mod audits;

/// Environments that an earlier host left, looked at when this one begins.
const LEFT_MAX: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not 0");
/// Environments that are known to be recorded. The table is emptied when it is full.
const REMEMBERED_MAX: usize = 4096;
/// How often one is tried to be recorded before it is left to the next host.
const TRIES_MAX: u32 = 5;

/// When packages are audited.
///
/// ```
/// use fastflow_core::AuditPolicy;
///
/// assert_eq!(AuditPolicy::default(), AuditPolicy::OnRequest);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AuditPolicy {
    /// When the application asks for it.
    #[default]
    OnRequest,
    /// Also in the background, until there is one answer: what is recorded without one when a host begins, and what is
    /// recorded while it works.
    NewEnvironments,
}

/// Works until it is dropped.
pub(crate) async fn run(ports: Arc<Ports>) {
    tokio::join!(record_used(&ports), audits::run(&ports));
}

async fn record_used(ports: &Ports) {
    let mut known = BTreeSet::new();
    let mut used = match ports.store.unrecorded_environments(LEFT_MAX).await {
        Ok(left) => left,
        Err(error) => {
            tracing::warn!(%error, "what an earlier host left to record is not known");
            Vec::new()
        }
    };
    loop {
        for environment in used {
            if !known.contains(&environment.id) && record(ports, &environment).await {
                if known.len() >= REMEMBERED_MAX {
                    known.clear();
                }
                known.insert(environment.id);
            }
        }
        ports.signals.environment_used().await;
        used = ports.signals.take_environments_used();
    }
}

/// Records one, trying again for a while. Whether it is recorded now.
async fn record(ports: &Ports, used: &SetupEnvironment) -> bool {
    let mut backoff = Backoff::new();
    for _ in 0..TRIES_MAX {
        match packages_of(ports, used).await {
            Ok(_) => return true,
            Err(error) if error.is_transient() => {
                tracing::warn!(environment = %used.id, %error, "an environment could not be recorded yet");
            }
            Err(error) => {
                tracing::error!(environment = %used.id, %error, "an environment cannot be recorded");
                return false;
            }
        }
        backoff.wait(&*ports.clock).await;
    }
    false
}

/// What is known of an environment that an attempt used; it is recorded if it was not.
pub(crate) async fn packages_of(ports: &Ports, used: &SetupEnvironment) -> Result<EnvironmentPackages> {
    match ports.store.environment(&used.id).await {
        Ok(known) if known.packages.is_some() => return Ok(known),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // Nobody could say then; somebody may now.
        Ok(_) | Err(_) => {}
    }
    let packages = ports.environments.packages(&used.id).await.unwrap_or_else(|failure| {
        tracing::warn!(environment = %used.id, %failure, "the packages of an environment cannot be read");
        None
    });
    let environment = EnvironmentPackages::new(used, packages, ports.clock.now());
    let is_known = environment.packages.is_some();
    ports.store.put_environment(environment).await?;
    if is_known {
        ports.signals.record_environment();
    }
    // Another may have recorded it meanwhile, and all are to be told the same.
    ports.store.environment(&used.id).await
}

/// Audits an environment that is recorded, and keeps what is found.
pub(crate) async fn audit(ports: &Ports, id: &EnvironmentId) -> Result<Audit> {
    let environment = ports.store.environment(id).await?;
    let packages = environment.packages.ok_or_else(|| super::unknown_packages(id))?;
    let outcome = ports.auditor.audit(&packages).await;
    let audit = Audit { environment: id.clone(), at: crate::store::whole_micros(ports.clock.now()), outcome };
    ports.store.put_audit(audit.clone()).await?;
    Ok(audit)
}
