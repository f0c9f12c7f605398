//! Whether a value may be put, and which ones an attempt got. Pure, and the same for every store.

use std::num::NonZeroU32;

use super::{PutSecret, SecretRecord, Step};
use crate::{
    Error, ErrorKind, Result,
    run::RunEvent,
    secret::{SecretName, SecretScope},
};

/// Refuses a value whose version is not the one after the newest that there ever was; 0 for none.
pub(crate) fn check_version(put: &PutSecret, newest: u32) -> Result<()> {
    if newest.checked_add(1) == Some(put.version.get()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "somebody put this secret meanwhile; read its versions again")
        .with("scope", &put.scope)
        .with("name", &put.name)
        .with("version", put.version)
        .with("newest", newest))
}

pub(crate) fn no_such_secret(scope: &SecretScope, name: &SecretName) -> Error {
    Error::new(ErrorKind::NotFound, "no such secret").with("scope", scope).with("name", name)
}

/// Refuses a value that is not in force.
pub(crate) fn check_newest(record: SecretRecord) -> Result<SecretRecord> {
    if record.is_newest {
        return Ok(record);
    }
    let message = "the stored value is not the newest that there was: somebody has put an older row in its place; put the \
                   value anew, or remove it";
    Err(Error::new(ErrorKind::Invalid, message)
        .with("scope", &record.scope)
        .with("name", &record.name)
        .with("version", record.version))
}

/// The values of stores that an attempt gets whose start a step records.
pub(crate) fn given(step: &Step) -> impl Iterator<Item = (&SecretScope, &SecretName, NonZeroU32)> {
    let setup = step.setup.as_ref().filter(|_| matches!(step.event, RunEvent::Started(_)));
    let secrets = setup.into_iter().flat_map(|setup| &setup.secrets);
    secrets.filter_map(|used| Some((used.scope.as_ref()?, &used.name, used.version?)))
}
