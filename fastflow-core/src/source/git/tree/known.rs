//! What came of each pipeline at an earlier commit.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    sync::Arc,
};

use gix::ObjectId;

use super::mode::Mode;
use crate::{
    pipeline::{Diagnostic, Pipeline},
    source::Revision,
};

/// What came of each name at the top of an earlier commit, so that one whose object is the same costs nothing again.
#[derive(Clone, Debug, Default)]
pub(in crate::source::git) struct Known {
    pipelines: HashMap<OsString, Remembered>,
    /// Folders that hold nothing that makes a pipeline.
    plain: HashMap<OsString, ObjectId>,
}

#[derive(Clone, Debug)]
struct Remembered {
    id: ObjectId,
    mode: Mode,
    outcome: Outcome,
}

/// What came of a pipeline.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It breaks a rule, and has no snapshot.
    Refused(Vec<Diagnostic>),
    /// It has a snapshot, whatever its files say.
    Taken { revision: Revision, pipeline: Result<Arc<Pipeline>, Vec<Diagnostic>> },
}

impl Known {
    /// What came of this object under this name. The name is part of what a pipeline is, and of what its findings say.
    pub(super) fn get(&self, name: &OsStr, (id, mode): (ObjectId, Mode)) -> Option<&Outcome> {
        let remembered = self.pipelines.get(name)?;
        (remembered.id == id && remembered.mode == mode).then_some(&remembered.outcome)
    }

    /// Whether a folder was seen to be no pipeline.
    pub(super) fn is_plain(&self, name: &OsStr, id: ObjectId) -> bool {
        self.plain.get(name) == Some(&id)
    }

    pub(super) fn insert(&mut self, name: OsString, (id, mode): (ObjectId, Mode), outcome: Outcome) {
        self.pipelines.insert(name, Remembered { id, mode, outcome });
    }

    pub(super) fn insert_plain(&mut self, name: OsString, id: ObjectId) {
        self.plain.insert(name, id);
    }
}
