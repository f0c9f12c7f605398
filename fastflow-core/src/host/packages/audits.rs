//! Audits what is recorded and has no answer yet: one environment after the other, behind everything else.
//!
//! The store says what is left to do, so nothing is lost with a host, or by whoever recorded an environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff};

use super::{AuditPolicy, audit};
use crate::{
    Clock, Result,
    environment::{AuditOutcome, EnvironmentId},
    host::{
        Ports,
        backoff::{self, Backoff},
    },
};

/// Environments looked at in one round, those recorded last first.
const ROUND_MAX: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not 0");
/// How often a host tries to audit one environment before it is left to the next host.
const TRIES_MAX: usize = 5;
/// Between the first try and the second; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// The longest wait between two tries, without its jitter.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Works until it is dropped, where that is wanted.
pub(super) async fn run(ports: &Ports) {
    if ports.settings.audits != AuditPolicy::NewEnvironments {
        return;
    }
    let mut tries = BTreeMap::new();
    let mut backoff = Backoff::new();
    loop {
        if let Err(error) = round(ports, &mut tries).await {
            tracing::warn!(%error, "what is to be audited is not known yet");
            backoff.wait(&*ports.clock).await;
            continue;
        }
        backoff = Backoff::new();
        tokio::select! {
            () = ports.signals.environment_recorded() => {}
            () = until_next(&*ports.clock, &tries) => {}
        }
    }
}

/// When an environment without an answer is audited next.
struct Tries {
    waits: ExponentialBackoff,
    /// On the clock that never jumps; never by this host when `None`.
    next: Option<Duration>,
}

impl Tries {
    fn new(clock: &dyn Clock) -> Self {
        let waits = backoff::exponential(clock).with_min_delay(FIRST_WAIT).with_max_delay(LONGEST_WAIT);
        Self { waits: waits.with_max_times(TRIES_MAX - 1).build(), next: Some(clock.elapsed()) }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    fn failed(&mut self, now: Duration) {
        self.next = self.waits.next().map(|wait| now + wait);
    }
}

/// Audits all that are due.
async fn round(ports: &Ports, tries: &mut BTreeMap<EnvironmentId, Tries>) -> Result<()> {
    let clock = &*ports.clock;
    let unaudited = ports.store.unaudited_environments(ROUND_MAX).await?;
    let present: BTreeSet<&EnvironmentId> = unaudited.iter().collect();
    tries.retain(|id, _| present.contains(id));
    for environment in &unaudited {
        let tried = tries.entry(environment.clone()).or_insert_with(|| Tries::new(clock));
        if !tried.is_due(clock.elapsed()) {
            continue;
        }
        match audit(ports, environment).await {
            Ok(audit) => {
                tracing::info!(%environment, outcome = %audit.outcome, "audited an environment");
                match audit.outcome {
                    AuditOutcome::Failed { .. } => tried.failed(clock.elapsed()),
                    // A tool does not appear while a host works, as a rule.
                    AuditOutcome::ToolMissing { .. } => tried.next = None,
                    AuditOutcome::Clean { .. } | AuditOutcome::Vulnerable { .. } => {
                        tries.remove(environment);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%environment, %error, "an audit could not be kept");
                tried.failed(clock.elapsed());
            }
        }
    }
    Ok(())
}

async fn until_next(clock: &dyn Clock, tries: &BTreeMap<EnvironmentId, Tries>) {
    match tries.values().filter_map(|tried| tried.next).min() {
        Some(next) => clock.sleep(next.saturating_sub(clock.elapsed())).await,
        None => std::future::pending().await,
    }
}
