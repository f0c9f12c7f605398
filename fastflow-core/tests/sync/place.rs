//! A repository behind a server that wants a token, and a host that has it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fastflow_core::{
    Orchestrator, OrchestratorBuilder,
    source::{ChangeKind, GitAccess, GitConfig, SyncOutcome, SyncRecord, SyncRequest},
    testing::{
        git::{HttpServer, Repository},
        tool,
    },
};
use tempfile::TempDir;

use crate::kit::{configured, started};

/// What the server wants.
pub(crate) const TOKEN: &str = "ghs_sixteenCharactersAndMore";

pub(crate) struct Place {
    pub(crate) repository: Repository,
    pub(crate) server: HttpServer,
    folder: TempDir,
}

impl Place {
    /// None where there is no git.
    pub(crate) fn new() -> Option<Self> {
        if tool::git().is_none() {
            tool::require("git", "git and its servers are not installed");
            return None;
        }
        let repository = Repository::new();
        let server = HttpServer::start(repository.root());
        server.require_token(TOKEN);
        let place = Self { repository, server, folder: TempDir::new().unwrap() };
        place.token(TOKEN);
        fs::write(place.root().join("url"), place.server.url(Repository::NAME)).unwrap();
        fs::copy(place.server.authority(), place.root().join("authority.pem")).unwrap();
        fs::create_dir(place.tmp()).unwrap();
        Some(place)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// Where programs leave files.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root().join("tmp")
    }

    /// Gives the host another token.
    pub(crate) fn token(&self, token: &str) {
        fs::write(self.root().join("token"), token).unwrap();
    }

    pub(crate) fn builder(&self) -> OrchestratorBuilder {
        builder(self.root())
    }

    pub(crate) async fn start(&self) -> Orchestrator {
        started(self.builder()).await
    }
}

/// The configuration of the host of a place, from what lies in its folder.
pub(crate) fn config(root: &Path) -> GitConfig {
    let mut config = GitConfig::new(fs::read_to_string(root.join("url")).unwrap());
    config.ca_certificates = Some(root.join("authority.pem"));
    config.access = GitAccess::token_file(root.join("token"));
    config
}

pub(crate) fn builder(root: &Path) -> OrchestratorBuilder {
    configured(Orchestrator::builder(root.join("data")).git(config(root)))
}

pub(crate) async fn sync(flow: &Orchestrator) -> SyncRecord {
    flow.source().sync(SyncRequest::default()).await.unwrap()
}

/// What a sync changed, by name.
pub(crate) fn changes(record: &SyncRecord) -> Vec<(String, ChangeKind)> {
    match &record.outcome {
        SyncOutcome::Published { changes } => {
            changes.iter().map(|change| (change.name.to_string(), change.kind)).collect()
        }
        other => panic!("nothing was published: {other}"),
    }
}
