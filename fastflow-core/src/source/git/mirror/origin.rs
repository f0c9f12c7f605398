//! Which repository a copy is of.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::place;
use crate::{
    Error, ErrorKind, Result,
    source::{GitConfig, git::remote::Remote},
};

/// Its name in the repository, so that the one is replaced with the other.
const NAME: &str = "fast-flow.origin";

/// Which repository a copy is of, and which folder of it is published. It is written once a fetch is through: a copy
/// without it may hold nothing.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Origin {
    /// As it can be shown.
    remote: String,
    subdirectory: Option<String>,
}

impl Origin {
    pub(super) fn of(remote: &Remote, config: &GitConfig) -> Self {
        Self { remote: remote.to_string(), subdirectory: config.subdirectory.clone() }
    }

    /// What the copy in this folder says. None where it says nothing that makes sense.
    pub(super) fn read(repository: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(repository.join(NAME)).ok()?).ok()
    }

    pub(super) fn write(&self, repository: &Path) -> Result<()> {
        let path = repository.join(NAME);
        let text = serde_json::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot write which repository this is").because(error)
        })?;
        place::write_if_other(&path, &text).map_err(|error| place::failed(error, &path))
    }

    pub(super) fn is_same_repository(&self, other: &Self) -> bool {
        self.remote == other.remote
    }
}
