//! What a git source is told.

use std::{path::PathBuf, time::Duration};

use super::{GitAccess, GitReference, HostKeyPolicy, InsecureScheme};
use crate::source::TreeLimits;

/// Where the pipelines are, and how to get there.
///
/// ```
/// use fastflow_core::source::{GitAccess, GitConfig, GitReference};
///
/// let mut config = GitConfig::new("https://git.example.org/team/pipelines.git");
/// config.reference = GitReference::Branch("production".into());
/// config.subdirectory = Some("pipelines".into());
/// config.access = GitAccess::token_file("/run/secrets/git-token");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GitConfig {
    /// The address of the repository: `https://…`, `ssh://user@host/path` or `user@host:path`. Never with a user or a
    /// password for https in it: that is refused.
    pub remote: String,
    /// What is published.
    pub reference: GitReference,
    /// The folder of pipelines in the repository, such as `pipelines`. None: its top.
    pub subdirectory: Option<String>,
    /// Who asks for it.
    pub access: GitAccess,
    /// Which servers are believed to be who they are, with ssh.
    pub host_keys: HostKeyPolicy,
    /// A file in PEM with certificate authorities that are trusted beside those of the machine, with https.
    pub ca_certificates: Option<PathBuf>,
    /// What is allowed beside https and ssh. For tests, and for networks that need no protection.
    pub insecure_schemes: Vec<InsecureScheme>,
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
            access: GitAccess::default(),
            host_keys: HostKeyPolicy::default(),
            ca_certificates: None,
            insecure_schemes: Vec::new(),
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
    /// How long the server may say nothing at all.
    pub silence_timeout: Duration,
    /// Entries at the top of the folder of pipelines.
    pub max_pipelines: usize,
    /// What each pipeline may hold.
    pub tree: TreeLimits,
    /// Files, links and folders of all pipelines together that one commit may change.
    pub max_total_files: u64,
    /// Bytes of all pipelines together that one commit may change.
    pub max_total_bytes: u64,
}

impl Default for GitLimits {
    /// 4 GiB and ten minutes a fetch, one minute of silence, 20,000 pipelines with [`TreeLimits::default`] for each, and
    /// a million files and 16 GiB for all of them together.
    fn default() -> Self {
        Self {
            max_fetch_bytes: 4 << 30,
            fetch_timeout: Duration::from_mins(10),
            silence_timeout: Duration::from_mins(1),
            max_pipelines: 20_000,
            tree: TreeLimits::default(),
            max_total_files: 1_000_000,
            max_total_bytes: 16 << 30,
        }
    }
}
