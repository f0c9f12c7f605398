//! A git repository as a source of pipelines: `git push` is the deployment.

mod access;
mod config;
mod github_app;
mod http;
mod mirror;
mod names;
mod pipe;
mod program;
mod reference;
mod remote;
mod source;
mod ssh;
mod tree;
mod watch;

pub use self::{
    access::{GitAccess, Token, TokenAccess, TokenProvider},
    config::{GitConfig, GitLimits},
    github_app::{AppKey, GitHubApp},
    mirror::{Arrived as GitArrived, Mirror as GitMirror},
    reference::GitReference,
    remote::InsecureScheme,
    source::GitSource,
    ssh::{DeployKey, HostKeyPolicy},
};
