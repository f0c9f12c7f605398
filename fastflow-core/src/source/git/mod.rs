//! A git repository as a source of pipelines: `git push` is the deployment.

mod access;
mod config;
mod github_app;
mod http;
mod mirror;
mod pipe;
mod program;
mod reference;
mod remote;
mod ssh;
mod watch;

pub use self::{
    access::{GitAccess, Token, TokenAccess, TokenProvider},
    config::{GitConfig, GitLimits},
    github_app::{AppKey, GitHubApp},
    mirror::{Arrived as GitArrived, Mirror as GitMirror},
    reference::GitReference,
    remote::InsecureScheme,
    ssh::{DeployKey, HostKeyPolicy},
};
