//! What the writer is asked for, and what it answers.

use tokio::sync::oneshot;

use super::{
    fault::Fault,
    packages::{AuditRow, EnvironmentRows},
    schedules::ScheduleRows,
    secrets::SecretChange,
    specs::PreparedSpec,
    syncs::{PublicationRows, SyncRow},
};
use crate::{
    Result, RunId,
    run::{NewRun, Note, Run},
    source::SyncId,
    store::{Advanced, Claim, Created, Fire, Fired, Step},
};

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Command {
    Create {
        new: Box<NewRun>,
        spec: PreparedSpec,
        reply: Reply<Created>,
    },
    Claim {
        claim: Claim,
        reply: Reply<Vec<Run>>,
    },
    TakeOver {
        reply: Reply<Vec<Run>>,
    },
    /// `specs` are those of the runs among its follow-ups.
    Advance {
        step: Box<Step>,
        specs: Vec<PreparedSpec>,
        reply: Reply<Advanced>,
    },
    Note {
        run: RunId,
        epoch: u64,
        note: Box<Note>,
        reply: Reply<()>,
    },
    /// Each with the specs of its runs.
    Fire {
        fires: Vec<(Fire, Vec<PreparedSpec>)>,
        reply: Reply<Vec<Fired>>,
    },
    PutSchedules {
        rows: ScheduleRows,
        reply: Reply<()>,
    },
    Publish {
        rows: Box<PublicationRows>,
        reply: Reply<SyncId>,
    },
    RecordSync {
        row: SyncRow,
        reply: Reply<SyncId>,
    },
    PutEnvironment {
        rows: EnvironmentRows,
        reply: Reply<()>,
    },
    PutAudit {
        row: AuditRow,
        reply: Reply<()>,
    },
    /// Answered with whether it took effect.
    ChangeSecret {
        change: Box<SecretChange>,
        reply: Reply<bool>,
    },
    /// Looks whether another process has written.
    Look {
        reply: oneshot::Sender<()>,
    },
    Close {
        reply: Reply<()>,
    },
}

impl Command {
    pub(super) fn fail(self, fault: &Fault) {
        // Whoever does not wait any more does not need the answer.
        match self {
            Self::Create { reply, .. } => drop(reply.send(Err(fault.error()))),
            Self::Claim { reply, .. } | Self::TakeOver { reply } => drop(reply.send(Err(fault.error()))),
            Self::Advance { reply, .. } => drop(reply.send(Err(fault.error()))),
            Self::Fire { reply, .. } => drop(reply.send(Err(fault.error()))),
            Self::Note { reply, .. }
            | Self::PutSchedules { reply, .. }
            | Self::PutEnvironment { reply, .. }
            | Self::PutAudit { reply, .. }
            | Self::Close { reply } => drop(reply.send(Err(fault.error()))),
            Self::Look { reply } => {
                let _ = reply.send(());
            }
            Self::ChangeSecret { reply, .. } => drop(reply.send(Err(fault.error()))),
            Self::Publish { reply, .. } | Self::RecordSync { reply, .. } => {
                drop(reply.send(Err(fault.error())));
            }
        }
    }
}

/// An answer that waits for the commit.
#[derive(Debug)]
pub(super) enum Answer {
    Created(Reply<Created>, Result<Created>),
    Runs(Reply<Vec<Run>>, Result<Vec<Run>>),
    Advanced(Reply<Advanced>, Result<Advanced>),
    Noted(Reply<()>, Result<()>),
    Fired(Reply<Vec<Fired>>, Result<Vec<Fired>>),
}

impl Answer {
    /// Sends it; with a fault, that takes the place of every answer.
    pub(super) fn send(self, fault: Option<&Fault>) {
        match self {
            Self::Created(reply, answer) => {
                drop(reply.send(fault.map_or(answer, |fault| Err(fault.error()))));
            }
            Self::Runs(reply, answer) => drop(reply.send(fault.map_or(answer, |fault| Err(fault.error())))),
            Self::Advanced(reply, answer) => {
                drop(reply.send(fault.map_or(answer, |fault| Err(fault.error()))));
            }
            Self::Noted(reply, answer) => drop(reply.send(fault.map_or(answer, |fault| Err(fault.error())))),
            Self::Fired(reply, answer) => drop(reply.send(fault.map_or(answer, |fault| Err(fault.error())))),
        }
    }
}
