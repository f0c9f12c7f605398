//! Pipelines that are meant to run always: started again after a failure, with growing pauses, up to a limit, as an
//! init system does; and replaced now and then where they ask for it.

use std::{collections::BTreeSet, time::Duration};

use super::{Ports, backoff::Backoff, follow_up, intake::Asked};
use crate::{
    ErrorKind, Result, RunId, Timestamp,
    pipeline::{DaemonPolicy, RestartInterval, SchedulePolicy, ScheduleRule, ScheduleWindow},
    run::{Decision, ExitReport, NewRun, Origin, Run},
    schedule::Calendar,
    store::{FollowOn, FollowUp, FollowUpAction},
};

/// The longest sleep towards an instant of the wall clock, in case it jumps.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The restart of a failed run, or that it is given up.
pub(super) async fn restart(
    ports: &Ports,
    run: &Run,
    report: Option<&ExitReport>,
    at: Timestamp,
) -> Option<FollowUp> {
    let policy = &run.spec.pipeline.definition.daemon;
    if !policy.restart_on_crash {
        return None;
    }
    let ran = report.map_or_else(
        || {
            run.started_at
                .and_then(|began| Duration::try_from(at.duration_since(began)).ok())
                .unwrap_or_default()
        },
        |report| report.duration,
    );
    let action = match next(policy, burst(run), ran) {
        Some((restarts, pause)) => match again(ports, run, restarts, pause, at).await {
            Ok(new) => FollowUpAction::Start(Box::new(new)),
            Err(error) => follow_up::not_followed(run.pipeline(), error.to_string()),
        },
        None => FollowUpAction::Note(Decision::GaveUp { restarts: burst(run) }),
    };
    Some(FollowUp { on: FollowOn::Failure, after: BTreeSet::new(), action })
}

/// How often the run's daemon was started again in the burst that it belongs to.
fn burst(run: &Run) -> u32 {
    match run.origin {
        Origin::Daemon { restarts, .. } => restarts,
        _ => 0,
    }
}

/// The number of the next restart in its burst, and the pause before it; none when there were enough.
fn next(policy: &DaemonPolicy, burst: u32, ran: Duration) -> Option<(u32, Duration)> {
    // A run that went well for long enough ends the burst.
    let burst = if ran >= policy.restart_healthy_after.duration() { 0 } else { burst };
    if policy.restart_limit > 0 && burst >= policy.restart_limit {
        return None;
    }
    let pause = policy.restart_cooldown.duration().saturating_mul(1 << burst.min(16));
    Some((burst + 1, pause.min(policy.restart_max_cooldown.duration())))
}

/// How long a run that began at `began` may go on before it is replaced; none where it never is.
fn replaced_at(run: &Run, began: Timestamp) -> Option<Timestamp> {
    match run.spec.pipeline.definition.daemon.restart_interval.as_ref()? {
        RestartInterval::Seconds(seconds) => {
            began.saturating_add(Duration::from_secs(seconds.get().into())).ok()
        }
        RestartInterval::Cron(text) => {
            let rule = ScheduleRule::Cron(text.clone()).into();
            let policy = SchedulePolicy {
                timezone: run.spec.pipeline.definition.schedule.policy.timezone.clone(),
                ..SchedulePolicy::default()
            };
            // A zone that is not known any more keeps it from being replaced, and from nothing else.
            let calendar = Calendar::new(&rule, &ScheduleWindow::default(), &policy, began).ok()?;
            calendar.next_after(began)
        }
    }
}

/// Has another run take the place of one that went well for long enough. The stop of that comes to its supervisor as a
/// wish, as every cancel does. Never returns.
pub(super) async fn replace_when_due(ports: &Ports, run: &Run) {
    let mut began = run.started_at.unwrap_or_else(|| ports.clock.now());
    while let Some(due) = replaced_at(run, began) {
        loop {
            let left = Duration::try_from(due.duration_since(ports.clock.now())).unwrap_or_default();
            if left.is_zero() {
                break;
            }
            // Not longer, in case the wall clock jumps.
            ports.clock.sleep(left.min(LONGEST_SLEEP)).await;
        }
        replace(ports, run).await;
        // If that was not possible, it may be at the next instant.
        began = ports.clock.now();
    }
    std::future::pending::<()>().await;
}

async fn replace(ports: &Ports, run: &Run) {
    let new = match replacement(ports, run, ports.clock.now()).await {
        Ok(new) => new,
        // What cannot be started must not take the place of what runs.
        Err(error) => return tracing::warn!(%error, "a daemon is not replaced"),
    };
    let mut backoff = Backoff::new();
    loop {
        match ports.store.create_run(new.clone()).await {
            Ok(created) => return ports.signals.created(&created, true),
            // An earlier try was written, and its answer lost.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                ports.signals.stop(run.id);
                return ports.signals.queued(true);
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return tracing::debug!(%error, "a daemon ended before it was replaced");
            }
            Err(error) => tracing::warn!(%error, "a daemon could not be replaced yet"),
        }
        backoff.wait(&*ports.clock).await;
    }
}

/// The run that goes on, once there is a host again, with what one does that is stopped because its host ends. None for
/// what is not meant to run always.
pub(super) async fn after_shutdown(ports: &Ports, run: RunId) -> Option<NewRun> {
    let run = ports.store.run(run).await.ok()?;
    if !run.spec.pipeline.definition.daemon.restart_on_crash {
        return None;
    }
    let at = ports.clock.now();
    match replacement(ports, &run, at).await {
        Ok(new) => Some(NewRun { not_before: at, ..new }),
        Err(error) => {
            tracing::warn!(run = %run.id, %error, "a daemon is stopped, and no other run will go on with it");
            None
        }
    }
}

/// The run that takes the place of a healthy one.
async fn replacement(ports: &Ports, run: &Run, at: Timestamp) -> Result<NewRun> {
    let pause = run.spec.pipeline.definition.daemon.restart_cooldown.duration();
    let new = again(ports, run, 0, pause, at).await?;
    Ok(NewRun { replaces: vec![run.id], ..new })
}

/// The next run of a daemon, of the newest revision that there is.
async fn again(ports: &Ports, run: &Run, restarts: u32, pause: Duration, at: Timestamp) -> Result<NewRun> {
    let executor = Some(run.spec.executor.clone());
    let asked = Asked { executor, config: run.spec.config.clone(), schedule_limit: None };
    let (spec, parameters) =
        follow_up::resolve(ports, run.pipeline(), &asked, run.parameters.clone()).await?;
    let id = RunId::new(&*ports.clock, &*ports.entropy);
    let new = NewRun::new(id, spec, Origin::Daemon { previous: run.id, restarts }, at);
    let not_before = at.saturating_add(pause).unwrap_or(at);
    Ok(NewRun { not_before, parameters, priority: run.priority, ..new })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Seconds;

    #[test]
    fn pauses_double_up_to_the_longest_until_it_is_given_up() {
        let policy = DaemonPolicy {
            restart_on_crash: true,
            restart_cooldown: Seconds(10),
            restart_max_cooldown: Seconds(60),
            restart_limit: 5,
            restart_healthy_after: Seconds(100),
            restart_interval: None,
        };
        let short = Duration::from_secs(3);
        let pauses: Vec<_> =
            (0..7).map(|burst| next(&policy, burst, short).map(|(_, pause)| pause.as_secs())).collect();
        assert_eq!(pauses, [Some(10), Some(20), Some(40), Some(60), Some(60), None, None]);
        let healthy = Duration::from_secs(100);
        assert_eq!(next(&policy, 5, healthy), Some((1, Duration::from_secs(10))), "the burst is over");
        let never = DaemonPolicy { restart_limit: 0, ..policy };
        assert_eq!(next(&never, u32::MAX - 1, short).unwrap().1, Duration::from_mins(1));
    }
}
