//! Commits, and where a run's files come from.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, Timestamp};

/// The most of a subject or an author that is kept, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// The name of a commit: 40 or 64 lowercase hexadecimal digits.
///
/// ```
/// use fastflow_core::source::CommitId;
///
/// let id: CommitId = "8a".repeat(20).parse().unwrap();
/// assert_eq!(id.short(), "8a8a8a8a8a");
/// assert!("HEAD".parse::<CommitId>().is_err());
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Box<str>);

impl CommitId {
    const SHA1_CHARS: usize = 40;
    const SHA256_CHARS: usize = 64;
    const SHORT_CHARS: usize = 10;

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning, for people.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT_CHARS]
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if matches!(text.len(), Self::SHA1_CHARS | Self::SHA256_CHARS) && text.bytes().all(hex) {
            return Ok(Self(text.into()));
        }
        Err(Error::new(ErrorKind::Invalid, "not a commit: 40 or 64 lowercase hexadecimal digits")
            .with("found", text.escape_debug().take(80).collect::<String>()))
    }
}

impl TryFrom<String> for CommitId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One commit of a repository, and where it was found.
///
/// ```
/// use fastflow_core::{Timestamp, source::Commit};
///
/// let id = "8a".repeat(20).parse().unwrap();
/// let commit = Commit::new(id, "refs/heads/main", "Ada", "Mend\u{1b}[31m it", Timestamp::UNIX_EPOCH);
/// assert_eq!((commit.branch(), commit.subject.as_str()), (Some("main"), "Mend\u{fffd}[31m it"));
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// The full name of the branch or tag it was found by, such as `refs/heads/main`.
    pub reference: String,
    /// Who wrote it, without an address.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// When it was committed, by its committer's clock.
    pub at: Timestamp,
}

impl Commit {
    /// A commit. What is not printable in its texts is replaced, and they are cut at 200 characters.
    pub fn new(
        id: CommitId,
        reference: impl Into<String>,
        author: &str,
        subject: &str,
        at: Timestamp,
    ) -> Self {
        Self { id, reference: reference.into(), author: clean(author), subject: clean(subject), at }
    }

    /// The branch's short name, if it was found by a branch.
    pub fn branch(&self) -> Option<&str> {
        self.reference.strip_prefix("refs/heads/")
    }
}

/// People's texts go to terminals and pages.
fn clean(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_TEXT_CHARS).collect()
}

/// Where exactly a run's files come from, so that they can be had again.
///
/// ```
/// use fastflow_core::source::Provenance;
///
/// fn line(provenance: &Provenance) -> String {
///     format!("{} at {}", provenance.path, provenance.commit.id.short())
/// }
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Provenance {
    /// The commit that was published when the run was made.
    pub commit: Commit,
    /// The pipeline's folder or file in the repository, such as `pipelines/etl`.
    pub path: String,
}
