//! The executor of one host: it asks the engine, and has what may go wrong on the way.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{
    Bug,
    engine::Sandbox,
    host::{Host, sleep, unavailable},
    plan::EXECUTOR,
};
use crate::{
    AttemptId, Error, ErrorKind, OwnerId, Result,
    executor::{
        AttemptRef, AttemptSpec, Capabilities, Ended, Execution, ExecutionHandle, Executor, Reattached, Start,
    },
    run::{LostCause, StopCause},
};

/// How much later than it was sent a request may come to the engine.
const LATEST: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct SimExecutor(pub(super) Arc<Host>);

#[derive(Debug)]
struct SimExecution {
    host: Arc<Host>,
    handle: ExecutionHandle,
}

impl SimExecutor {
    fn execution(&self, attempt: AttemptId) -> Box<dyn Execution> {
        let handle =
            ExecutionHandle { attempt, native_id: "simulated".into(), detail: serde_json::Value::Null };
        Box::new(SimExecution { host: Arc::clone(&self.0), handle })
    }

    /// A request that is on its way for long, and arrives even if nobody waits for it any more.
    async fn start_late(&self, spec: &AttemptSpec) -> Result<bool> {
        let host = Arc::clone(&self.0);
        let (late, forgotten) = {
            let dice = &mut host.stage.inner().dice;
            (dice.below_time(LATEST), dice.one_in(2))
        };
        host.stage.trace(host.number, spec.id, "its start is late");
        let (reply, answer) = oneshot::channel();
        let (stage, number) = (Arc::clone(&host.stage), host.number);
        let (attempt, limits) = (spec.id, spec.limits.clone());
        tokio::spawn(async move {
            sleep(late).await;
            // Nobody may be waiting any more.
            let _ = reply.send(stage.start_program(number, attempt, limits.timeout, limits.stop_grace));
        });
        if forgotten {
            return Err(unavailable());
        }
        let started = answer.await.map_err(|_| unavailable());
        host.gate().await;
        started
    }
}

#[async_trait]
impl Executor for SimExecutor {
    fn kind(&self) -> &'static str {
        EXECUTOR
    }

    fn capabilities(&self) -> Capabilities {
        // Neither environments nor output: it needs nothing of a disk.
        Capabilities { reattach: true, ..Capabilities::default() }
    }

    async fn probe(&self) -> Result<()> {
        self.0.call("probe", || Ok(())).await
    }

    async fn start(&self, spec: AttemptSpec) -> Result<Start> {
        let host = &self.0;
        host.gate().await;
        let late = host.stage.is_stormy() && host.stage.inner().dice.one_in(15);
        let started = if late {
            self.start_late(&spec).await?
        } else {
            let (limit, grace) = (spec.limits.timeout, spec.limits.stop_grace);
            host.call("start", || Ok(host.stage.start_program(host.number, spec.id, limit, grace))).await?
        };
        if !started {
            return Err(Error::new(ErrorKind::AlreadyExists, "the attempt was started before"));
        }
        Ok(Start::Started(self.execution(spec.id)))
    }

    async fn list(&self, _: &OwnerId) -> Result<Vec<ExecutionHandle>> {
        let host = &self.0;
        host.call("list", || {
            let inner = host.stage.inner();
            let there = inner
                .engine
                .sandboxes
                .iter()
                .filter(|(_, sandbox)| matches!(sandbox, Sandbox::Started(program) if !program.removed));
            Ok(there.map(|(attempt, _)| self.execution(*attempt).handle().clone()).collect())
        })
        .await
    }

    async fn reattach(&self, attempt: &AttemptRef) -> Result<Reattached> {
        let host = &self.0;
        host.call("reattach", || {
            let now = host.stage.now();
            let forgetful = host.stage.has(Bug::UnsettledStart);
            let mut inner = host.stage.inner();
            let sandboxes = &mut inner.engine.sandboxes;
            Ok(match sandboxes.get(&attempt.id) {
                Some(Sandbox::Started(program)) if program.removed => Reattached::Lost(LostCause::Removed),
                Some(Sandbox::Started(program)) => match program.end(now) {
                    Some(Ended::Lost(cause)) => Reattached::Lost(cause),
                    _ => Reattached::Found(self.execution(attempt.id)),
                },
                Some(Sandbox::Settled) => Reattached::NeverStarted,
                None => {
                    if !forgetful {
                        sandboxes.insert(attempt.id, Sandbox::Settled);
                    }
                    Reattached::NeverStarted
                }
            })
        })
        .await
    }
}

#[async_trait]
impl Execution for SimExecution {
    fn handle(&self) -> &ExecutionHandle {
        &self.handle
    }

    async fn wait(&self) -> Result<Ended> {
        let stage = &self.host.stage;
        loop {
            let now = stage.now();
            let program = stage.inner().engine.program(self.handle.attempt).cloned();
            let program = program.ok_or_else(unavailable)?;
            let changed = program.changed.notified();
            if let Some(ended) = program.end(now) {
                return self.host.call("wait", || Ok(ended)).await;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep(program.ends.saturating_sub(now)) => {}
            }
        }
    }

    async fn stop(&self, grace: Duration, cause: StopCause) -> Result<()> {
        let host = &self.host;
        host.call("stop", || {
            host.stage.stop_program(self.handle.attempt, grace, cause);
            Ok(())
        })
        .await
    }

    async fn remove(&self) -> Result<()> {
        let host = &self.host;
        host.call("remove", || {
            host.stage.remove_program(self.handle.attempt);
            Ok(())
        })
        .await
    }
}
