//! Which state of a repository is published.

use std::fmt;

/// Which state of a repository is published.
///
/// ```
/// use fastflow_core::source::GitReference;
///
/// assert_eq!(GitReference::Branch("main".into()).to_string(), "branch main");
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum GitReference {
    /// The branch that the remote's `HEAD` names.
    #[default]
    Head,
    /// A branch, by its short name.
    Branch(String),
    /// A tag, by its short name.
    Tag(String),
}

impl fmt::Display for GitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("the default branch"),
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
        }
    }
}
