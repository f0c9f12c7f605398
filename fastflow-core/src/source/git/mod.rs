//! A git repository as a source of pipelines: `git push` is the deployment.

mod access;
mod claim;
mod config;
mod github_app;
mod http;
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "tests reach it"))]
mod mirror;
mod pipe;
mod program;
mod reference;
mod remote;
mod source;
mod ssh;
mod tree;
mod watch;

#[cfg(feature = "testing")]
pub use self::mirror::{Arrived as GitArrived, Mirror as GitMirror};
pub use self::{
    access::{GitAccess, Token, TokenAccess, TokenProvider},
    config::{GitConfig, GitLimits},
    github_app::{AppKey, GitHubApp},
    reference::GitReference,
    remote::InsecureScheme,
    source::GitSource,
    ssh::{DeployKey, HostKeyPolicy},
};
