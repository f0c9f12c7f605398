//! Where pipelines come from: a folder, or a git repository.

use std::path::PathBuf;

use fastflow_core::{
    Error, ErrorKind, OrchestratorBuilder, Result,
    source::{
        AppKey, DeployKey, GitAccess, GitConfig, GitHubApp, GitLimits, GitReference, HostKeyPolicy,
        InsecureScheme, Token,
    },
};
use pyo3::prelude::*;

use super::{
    data_dir::said,
    options::{Options, Size, duration, put, put_read},
};

/// Where pipelines come from.
pub(super) enum Source {
    Folder(PathBuf),
    Git(Box<GitConfig>),
}

/// A repository, as the package gives it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenGit {
    url: String,
    branch: Option<String>,
    tag: Option<String>,
    subfolder: Option<String>,
    access: Option<GivenAccess>,
    known_hosts: Option<String>,
    known_hosts_file: Option<PathBuf>,
    ca_certificates: Option<PathBuf>,
    insecure: Vec<String>,
    limits: Option<GivenLimits>,
}

/// Who asks for a repository, by what is there.
#[derive(FromPyObject)]
enum GivenAccess {
    #[pyo3(from_item_all)]
    Token { token: String, username: Option<String> },
    #[pyo3(from_item_all)]
    TokenFile { token_file: PathBuf, username: Option<String> },
    #[pyo3(from_item_all)]
    DeployKey { deploy_key: PathBuf },
    #[pyo3(from_item_all)]
    App {
        app: String,
        installation: u64,
        key: GivenAppKey,
        api: Option<String>,
        ca_certificates: Option<PathBuf>,
    },
}

/// The private key of a GitHub App, by what is there.
#[derive(FromPyObject)]
enum GivenAppKey {
    #[pyo3(from_item_all)]
    Text { text: String },
    #[pyo3(from_item_all)]
    File { file: PathBuf },
}

/// What is taken of a repository at most. Times are in seconds.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenLimits {
    max_fetch: Option<Size>,
    fetch_timeout: Option<f64>,
    silence_timeout: Option<f64>,
    max_pipelines: Option<usize>,
    max_pipeline_files: Option<usize>,
    max_pipeline_size: Option<Size>,
    max_pipeline_depth: Option<usize>,
    max_total_files: Option<u64>,
    max_total_size: Option<Size>,
}

impl Source {
    pub(super) fn read(options: &Options<'_, '_>) -> PyResult<Self> {
        match options.get::<Option<GivenGit>>("git")? {
            Some(given) => Ok(Self::Git(Box::new(options.checked("git", git(given))?))),
            None => Ok(Self::Folder(options.checked("pipelines", said(options.get("pipelines")?))?)),
        }
    }

    pub(super) fn apply(&self, builder: OrchestratorBuilder) -> OrchestratorBuilder {
        match self {
            Self::Folder(folder) => builder.pipelines(folder),
            Self::Git(config) => builder.git(GitConfig::clone(config)),
        }
    }
}

fn git(given: GivenGit) -> Result<GitConfig> {
    let mut config = GitConfig::new(given.url);
    config.reference = match (given.branch, given.tag) {
        (Some(branch), _) => GitReference::Branch(branch),
        (None, Some(tag)) => GitReference::Tag(tag),
        (None, None) => GitReference::Head,
    };
    config.subdirectory = given.subfolder;
    config.access = given.access.map_or(GitAccess::Anonymous, access);
    config.host_keys = match (given.known_hosts, given.known_hosts_file) {
        (Some(lines), _) => HostKeyPolicy::Known(lines),
        (None, Some(file)) => HostKeyPolicy::KnownFile(file),
        (None, None) => HostKeyPolicy::TrustFirst,
    };
    config.ca_certificates = given.ca_certificates;
    config.insecure_schemes = given.insecure.iter().map(|scheme| insecure(scheme)).collect::<Result<_>>()?;
    if let Some(given) = given.limits {
        config.limits = limits(given)?;
    }
    Ok(config)
}

fn access(given: GivenAccess) -> GitAccess {
    let (mut access, username) = match given {
        GivenAccess::Token { token, username } => (GitAccess::token(Token::new(token)), username),
        GivenAccess::TokenFile { token_file, username } => (GitAccess::token_file(token_file), username),
        GivenAccess::DeployKey { deploy_key } => (GitAccess::DeployKey(DeployKey::at(deploy_key)), None),
        GivenAccess::App { app, installation, key, api, ca_certificates } => {
            let key = match key {
                GivenAppKey::Text { text } => AppKey::text(text),
                GivenAppKey::File { file } => AppKey::file(file),
            };
            let mut app = GitHubApp::new(app, installation, key);
            if let Some(api) = api {
                app = app.api(api);
            }
            if let Some(file) = ca_certificates {
                app = app.ca_certificates(file);
            }
            (GitAccess::tokens(app), None)
        }
    };
    if let (GitAccess::Token(token), Some(username)) = (&mut access, username) {
        token.username = username;
    }
    access
}

fn insecure(scheme: &str) -> Result<InsecureScheme> {
    match scheme {
        "http" => Ok(InsecureScheme::Http),
        "git" => Ok(InsecureScheme::Git),
        "file" => Ok(InsecureScheme::File),
        _ => Err(Error::new(ErrorKind::Invalid, "not a scheme that can be allowed").with("found", scheme)),
    }
}

fn limits(given: GivenLimits) -> Result<GitLimits> {
    let bytes = |size: Size| Ok(size.read()?.bytes());
    let mut limits = GitLimits::default();
    put_read(&mut limits.max_fetch_bytes, given.max_fetch, bytes)?;
    put_read(&mut limits.fetch_timeout, given.fetch_timeout, duration)?;
    put_read(&mut limits.silence_timeout, given.silence_timeout, duration)?;
    put(&mut limits.max_pipelines, given.max_pipelines);
    put(&mut limits.tree.max_files, given.max_pipeline_files);
    put_read(&mut limits.tree.max_bytes, given.max_pipeline_size, bytes)?;
    put(&mut limits.tree.max_depth, given.max_pipeline_depth);
    put(&mut limits.max_total_files, given.max_total_files);
    put_read(&mut limits.max_total_bytes, given.max_total_size, bytes)?;
    Ok(limits)
}
