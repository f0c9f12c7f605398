//! A repository of pipelines behind real servers.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use fastflow_core::{
    Clock, Error, ErrorKind, Result, SystemClock,
    source::{GitConfig, InsecureScheme},
    testing::git::{DaemonServer, HttpServer, Repository},
};
use serde_json::json;

/// How the server is talked to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    /// `git http-backend` behind TLS. Each request is a connection of its own.
    Https,
    /// `git daemon`.
    Git,
}

impl Scheme {
    pub(crate) const ALL: [Self; 2] = [Self::Https, Self::Git];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Git => "git",
        }
    }
}

/// The files of each pipeline.
const FILES: [&str; 3] = ["main.py", "requirements.txt", "pipeline.json"];

/// A repository, and the servers that have it.
pub(crate) struct Place {
    pub(crate) repository: Repository,
    https: HttpServer,
    daemon: DaemonServer,
}

impl Place {
    /// One with so many pipelines in one commit.
    pub(crate) fn new(pipelines: u32) -> Self {
        let repository = Repository::new();
        let (https, daemon) = (HttpServer::start(repository.root()), DaemonServer::start(repository.root()));
        let place = Self { repository, https, daemon };
        (0..pipelines).for_each(|number| place.write(number, 0));
        place.repository.commit("Add all pipelines");
        place
    }

    /// Writes a pipeline: a program, its packages, and a configuration with a schedule. Each version is another content.
    pub(crate) fn write(&self, number: u32, version: u32) {
        for (path, content) in files(number, version) {
            self.repository.write(&path, content);
        }
    }

    pub(crate) fn url(&self, scheme: Scheme) -> String {
        match scheme {
            Scheme::Https => self.https.url(Repository::NAME),
            Scheme::Git => self.daemon.url(Repository::NAME),
        }
    }

    /// Whom a client of https has to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.https.authority()
    }

    pub(crate) fn config(&self, scheme: Scheme) -> GitConfig {
        config(self.url(scheme), self.authority())
    }

    /// How long the git program takes for this, in `dir`, as a client of these servers.
    pub(crate) fn git(&self, dir: &Path, arguments: &[&str]) -> Result<Duration> {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("HOME", self.repository.root()).env("GIT_SSL_CAINFO", self.authority());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let clock = SystemClock::new();
        let status = command.status()?;
        let took = clock.elapsed();
        if status.success() {
            return Ok(took);
        }
        Err(Error::new(ErrorKind::Internal, "git did not succeed").with("arguments", arguments.join(" ")))
    }
}

pub(crate) fn config(url: String, authority: PathBuf) -> GitConfig {
    let mut config = GitConfig::new(url);
    config.ca_certificates = Some(authority);
    config.insecure_schemes = vec![InsecureScheme::Git];
    config
}

/// The files of a pipeline by their paths.
pub(crate) fn files(number: u32, version: u32) -> [(String, String); FILES.len()] {
    let program = format!("print('pipeline {number}, version {version}')\n").repeat(20);
    let description = format!("Pipeline {number}");
    let configuration =
        json!({"description": description, "schedule_cron": "0 4 1 1 *", "timeout": 600, "tags": ["load"]});
    let contents = [program, "requests==2.32.3\n".to_owned(), configuration.to_string()];
    let mut contents = contents.into_iter();
    FILES.map(|name| (format!("pipeline-{number:04}/{name}"), contents.next().unwrap_or_default()))
}
