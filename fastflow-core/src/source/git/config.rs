//! What a git source is told.

use std::time::Duration;

use super::GitReference;
use crate::source::TreeLimits;

/// Where the pipelines are, and how to get there.
///
/// ```
/// use fastflow_core::source::{GitConfig, GitReference};
///
/// let mut config = GitConfig::new("https://git.example.org/team/pipelines.git");
/// config.reference = GitReference::Branch("production".into());
/// config.subdirectory = Some("pipelines".into());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GitConfig {
    /// The address of the repository: `https://…`, `ssh://user@host/path` or `user@host:path`. Never with a password in
    /// it: that is refused.
    pub remote: String,
    /// What is published.
    pub reference: GitReference,
    /// The folder of pipelines in the repository, such as `pipelines`. None: its top.
    pub subdirectory: Option<String>,
    /// What is taken at most.
    pub limits: GitLimits,
}

impl GitConfig {
    /// The default branch of a repository, from its top, by nobody in particular.
    pub fn new(remote: impl Into<String>) -> Self {
        Self {
            remote: remote.into(),
            reference: GitReference::default(),
            subdirectory: None,
            limits: GitLimits::default(),
        }
    }
}

/// What is taken of a repository at most.
///
/// ```
/// use fastflow_core::source::GitLimits;
///
/// let small = GitLimits { max_fetch_bytes: 10 << 20, ..GitLimits::default() };
/// assert!(small.max_pipelines > 0);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GitLimits {
    /// Bytes that one fetch may bring over the network.
    pub max_fetch_bytes: u64,
    /// How long one fetch may take, all together.
    pub fetch_timeout: Duration,
    /// Entries at the top of the folder of pipelines.
    pub max_pipelines: usize,
    /// What each pipeline may hold.
    pub tree: TreeLimits,
}

impl Default for GitLimits {
    /// 4 GiB and ten minutes a fetch, 20,000 pipelines, and [`TreeLimits::default`] for each.
    fn default() -> Self {
        Self {
            max_fetch_bytes: 4 << 30,
            fetch_timeout: Duration::from_mins(10),
            max_pipelines: 20_000,
            tree: TreeLimits::default(),
        }
    }
}
