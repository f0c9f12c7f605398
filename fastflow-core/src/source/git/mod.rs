//! A git repository as a source of pipelines: `git push` is the deployment.

mod config;
mod reference;

pub use self::{
    config::{GitConfig, GitLimits},
    reference::GitReference,
};
