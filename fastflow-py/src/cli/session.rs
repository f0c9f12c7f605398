//! An orchestrator for as long as a command takes.

use std::time::Duration;

use fastflow_core::{Clock as _, Error, Orchestrator, OrchestratorBuilder, Shutdown, SystemClock};

use super::{command::Context, place::Place};

/// How long the end of a command waits for the last writes.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What a command needs of the orchestrator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// That runs go on while it waits for them.
    Host,
    /// That it can read and ask.
    Reader,
}

/// An orchestrator for as long as a command takes.
#[derive(Debug)]
pub(crate) struct Session {
    flow: Orchestrator,
}

impl Session {
    /// Opens the data directory.
    ///
    /// # Errors
    ///
    /// By the word of [`OrchestratorBuilder::build`] and [`Orchestrator::start`].
    pub(crate) async fn open(context: &Context, place: &Place, role: Role) -> Result<Self, Error> {
        let flow = builder(context, place).build().await?;
        if role == Role::Host {
            flow.start().await?;
        }
        Ok(Self { flow })
    }

    /// The orchestrator.
    pub(crate) fn flow(&self) -> &Orchestrator {
        &self.flow
    }

    /// Lets go of everything: programs run on.
    pub(crate) async fn close(self) {
        let clock = SystemClock::new();
        tokio::select! {
            // Whatever was not written is found by whoever hosts next, as after a crash.
            _ = self.flow.shutdown(Shutdown::Detach) => {}
            () = clock.sleep(CLOSE_LIMIT) => {}
        }
    }
}

fn builder(context: &Context, place: &Place) -> OrchestratorBuilder {
    let mut builder = Orchestrator::builder(&place.data_dir).pipelines(&place.pipelines);
    if let Some(uv) = context.global.uv.as_ref().or(context.surroundings.uv.as_ref()) {
        builder = builder.uv(uv);
    }
    builder
}
