//! The keys that secrets are sealed with, and who else has secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use fastflow_core::{
    OrchestratorBuilder, Result,
    secret::{
        CommandSecrets, DirectorySecrets, EnvironmentSecrets, FernetKey, MasterKey, MasterKeySource, Secret,
    },
};
use pyo3::prelude::*;

use super::options::{Options, duration};

/// The keys, and who else has secrets.
pub(super) struct Secrets {
    sealing: Option<MasterKeySource>,
    older: Vec<MasterKeySource>,
    fernet: Option<FernetKey>,
    stores: Vec<Store>,
}

/// Somebody who has secrets.
enum Store {
    Environment(EnvironmentSecrets),
    Directory(DirectorySecrets),
    Command(CommandSecrets),
}

/// Where a master key comes from, by what is there.
#[derive(FromPyObject)]
enum GivenKey {
    #[pyo3(from_item_all)]
    Key { key: String },
    #[pyo3(from_item_all)]
    File { path: PathBuf },
    #[pyo3(from_item_all)]
    Variable { variable: String },
    #[pyo3(from_item_all)]
    Command { program: PathBuf, args: Vec<String>, inherit: BTreeSet<String> },
}

/// Somebody who has secrets, by what is there.
#[derive(FromPyObject)]
enum GivenStore {
    #[pyo3(from_item_all)]
    Environment { prefix: String },
    #[pyo3(from_item_all)]
    Directory { folder: PathBuf },
    #[pyo3(from_item_all)]
    Command {
        program: PathBuf,
        args: Vec<String>,
        inherit: Vec<String>,
        env: BTreeMap<String, String>,
        missing_code: Option<i32>,
        timeout: Option<f64>,
    },
}

impl Secrets {
    pub(super) fn read(options: &Options<'_, '_>) -> PyResult<Self> {
        let sealing = options.get::<Option<GivenKey>>("master_key")?.map(key).transpose();
        let older = options.get::<Vec<GivenKey>>("older_master_keys")?.into_iter().map(key).collect();
        let fernet = options.get::<Option<String>>("fernet_key")?;
        let fernet = fernet.map(|text| FernetKey::parse(&text)).transpose();
        let stores = options.get::<Vec<GivenStore>>("secret_stores")?.into_iter().map(store).collect();
        Ok(Self {
            sealing: options.checked("master_key", sealing)?,
            older: options.checked("older_master_keys", older)?,
            fernet: options.checked("fernet_key", fernet)?,
            stores: options.checked("secret_stores", stores)?,
        })
    }

    pub(super) fn apply(&self, mut builder: OrchestratorBuilder) -> OrchestratorBuilder {
        if let Some(key) = &self.sealing {
            builder = builder.master_key(key.clone());
        }
        for key in &self.older {
            builder = builder.older_master_key(key.clone());
        }
        if let Some(key) = &self.fernet {
            builder = builder.fernet_key(key.clone());
        }
        for store in &self.stores {
            builder = match store {
                Store::Environment(store) => builder.secret_store(store.clone()),
                Store::Directory(store) => builder.secret_store(store.clone()),
                Store::Command(store) => builder.secret_store(store.clone()),
            };
        }
        builder
    }
}

fn key(given: GivenKey) -> Result<MasterKeySource> {
    Ok(match given {
        GivenKey::Key { key } => {
            // Wiped when it is dropped, which a text of ours would not be.
            let text = Secret::new(key);
            MasterKeySource::Key(MasterKey::parse(text.expose())?)
        }
        GivenKey::File { path } => MasterKeySource::File(path),
        GivenKey::Variable { variable } => MasterKeySource::Variable(variable),
        GivenKey::Command { program, args, inherit } => MasterKeySource::Command { program, args, inherit },
    })
}

fn store(given: GivenStore) -> Result<Store> {
    Ok(match given {
        GivenStore::Environment { prefix } => Store::Environment(EnvironmentSecrets::new(prefix)?),
        GivenStore::Directory { folder } => Store::Directory(DirectorySecrets::new(folder)),
        GivenStore::Command { program, args, inherit, env, missing_code, timeout } => {
            let mut store = CommandSecrets::new(program, args)?.inherit(inherit);
            for (name, value) in env {
                store = store.env(name, Secret::new(value));
            }
            if let Some(code) = missing_code {
                store = store.missing_code(code);
            }
            if let Some(seconds) = timeout {
                store = store.timeout(duration(seconds)?);
            }
            Store::Command(store)
        }
    })
}
