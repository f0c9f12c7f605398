//! Sealed values, as the store keeps them. It cannot open them.

use std::num::NonZeroU32;

use crate::{
    RunId, Timestamp,
    secret::{Envelope, MasterKeyId, SecretName, SecretScope},
};

/// A value that pipelines ask for by its name, as the store has it.
///
/// ```
/// use fastflow_core::store::{SecretContent, SecretRecord};
///
/// fn needs_key(record: &SecretRecord) -> bool {
///     matches!(record.content, SecretContent::Sealed(_))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretRecord {
    /// Whom it is for.
    pub scope: SecretScope,
    /// Its name.
    pub name: SecretName,
    /// Counts the values under this scope and name, those before a removal included.
    pub version: NonZeroU32,
    /// The value.
    pub content: SecretContent,
    /// When this value was put.
    pub put_at: Timestamp,
    /// When an attempt last got it, and of which run. None: not this value.
    pub last_use: Option<SecretLastUse>,
    /// Whether it is the newest that there ever was under its scope and name. Nobody gets one that is not: somebody has put
    /// an older row in its place.
    pub is_newest: bool,
}

/// The value of a [`SecretRecord`].
///
/// ```
/// use fastflow_core::store::SecretContent;
///
/// assert_ne!(SecretContent::Parameter("eu".into()), SecretContent::Parameter("us".into()));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SecretContent {
    /// A secret.
    Sealed(Envelope),
    /// A value that anybody may see.
    Parameter(String),
}

impl SecretContent {
    /// The key that it is sealed with, if it is.
    pub fn key(&self) -> Option<MasterKeyId> {
        match self {
            Self::Sealed(envelope) => Some(envelope.key()),
            Self::Parameter(_) => None,
        }
    }
}

/// When an attempt last got a value.
///
/// ```
/// use fastflow_core::{OsEntropy, RunId, SystemClock, Timestamp, store::SecretLastUse};
///
/// let run = RunId::new(&SystemClock::new(), &OsEntropy);
/// let last = SecretLastUse { at: Timestamp::UNIX_EPOCH, run };
/// assert_eq!(last.run, run);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecretLastUse {
    /// When its start was recorded.
    pub at: Timestamp,
    /// Of which run.
    pub run: RunId,
}

/// A new value.
///
/// ```
/// use std::num::NonZeroU32;
/// use fastflow_core::{Timestamp, secret::SecretScope, store::{PutSecret, SecretContent}};
///
/// let put = PutSecret {
///     scope: SecretScope::Global,
///     name: "REGION".parse().unwrap(),
///     version: NonZeroU32::MIN,
///     content: SecretContent::Parameter("eu".into()),
///     at: Timestamp::UNIX_EPOCH,
/// };
/// assert_eq!(put.version.get(), 1);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PutSecret {
    /// Whom it is for.
    pub scope: SecretScope,
    /// Its name.
    pub name: SecretName,
    /// The one after the newest that there ever was: a sealed value is bound to it.
    pub version: NonZeroU32,
    /// The value.
    pub content: SecretContent,
    /// When.
    pub at: Timestamp,
}

/// The same value under another key.
///
/// ```
/// use fastflow_core::store::{ResealSecret, SecretRecord};
/// use fastflow_core::secret::Envelope;
///
/// fn reseal(record: SecretRecord, from: Envelope, to: Envelope) -> ResealSecret {
///     ResealSecret { scope: record.scope, name: record.name, version: record.version, from, to }
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResealSecret {
    /// Whom it is for.
    pub scope: SecretScope,
    /// Its name.
    pub name: SecretName,
    /// Which of its values.
    pub version: NonZeroU32,
    /// What must be there still.
    pub from: Envelope,
    /// What takes its place.
    pub to: Envelope,
}

/// One value that there is or was.
///
/// ```
/// use fastflow_core::store::SecretVersion;
///
/// fn is_in_force(version: &SecretVersion) -> bool {
///     version.ended_at.is_none()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretVersion {
    /// Its number, from 1.
    pub version: NonZeroU32,
    /// Whether it was sealed.
    pub is_sealed: bool,
    /// When it was put.
    pub put_at: Timestamp,
    /// When it was replaced or removed. The value itself is kept no longer than that.
    pub ended_at: Option<Timestamp>,
}

/// Which values are listed: those after `after`, by scope and name as texts.
///
/// ```
/// use fastflow_core::{secret::SecretScope, store::SecretQuery};
///
/// let query = SecretQuery { scope: Some(SecretScope::Global), ..SecretQuery::default() };
/// assert_eq!(query.limit.get(), 100);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretQuery {
    /// Only those of this scope.
    pub scope: Option<SecretScope>,
    /// Only sealed ones, and not those that are sealed with this key.
    pub not_under: Option<MasterKeyId>,
    /// Only those that come after this one.
    pub after: Option<(SecretScope, SecretName)>,
    /// At most so many, and never more than [`MAX_LIMIT`](Self::MAX_LIMIT).
    pub limit: NonZeroU32,
}

impl SecretQuery {
    /// The most values of one page.
    pub const MAX_LIMIT: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");
}

impl Default for SecretQuery {
    fn default() -> Self {
        let limit = NonZeroU32::new(100).expect("it is not 0");
        Self { scope: None, not_under: None, after: None, limit }
    }
}
