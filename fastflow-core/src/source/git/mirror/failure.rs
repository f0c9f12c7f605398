//! Why git failed, by kind.

use std::{error::Error as StdError, io};

use gix::{
    error::{Class, classify},
    protocol::transport::packetline::read::Error as ServerError,
};

use crate::source::{SyncFailure, SyncFailureKind as Kind, git::watch::Watch};

/// How far an exchange had come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// It was asked what there is.
    Asking,
    /// A pack was wanted.
    Fetching,
    /// Only what is here was looked at.
    Here,
}

/// Why git failed. What was seen at the wire comes first: git knows only what followed from it.
pub(super) fn failure(error: &gix::Error, stage: Stage, watch: &Watch) -> SyncFailure {
    if let Some(cause) = watch.cause() {
        return cause;
    }
    let words = words(error);
    if let Some(said) = error.downcast_any_ref::<ServerError>() {
        // A server that has not such a repository says so in words, and in no other way.
        let kind = if stage == Stage::Asking { Kind::Missing } else { Kind::Unreachable };
        return SyncFailure::new(kind, format!("the server refused: {}", said.message));
    }
    let by_system = error.iter_errors().find_map(by_system);
    let classes: Vec<_> = classify(error.error()).map(|found| found.class()).collect();
    let has = |class| classes.contains(&class);
    let kind = match by_system {
        Some(kind) => kind,
        None if classes.iter().any(|class| matches!(class, Class::ResourceExhaustion(_))) => Kind::TooLarge,
        None if has(Class::Cancelled) => Kind::TimedOut,
        // It answers, and not as a server of git does.
        None if stage == Stage::Asking => Kind::Refused,
        None if has(Class::Unsupported) => Kind::Refused,
        // What is here or what came cannot be read, or is not all that was promised.
        None => Kind::Corrupt,
    };
    SyncFailure::new(kind, words)
}

fn by_system(error: &(dyn StdError + 'static)) -> Option<Kind> {
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Kind::StorageFull),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Kind::Denied),
        io::ErrorKind::UnexpectedEof => Some(Kind::Unreachable),
        _ => None,
    }
}

/// All that it says, on one line.
pub(super) fn words(error: &gix::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    for error in error.iter_errors() {
        let text = error.to_string();
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}
