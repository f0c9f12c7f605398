//! The list of an environment's packages, as it is kept inside of it.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{Package, PackageOrigin, installed, locked::LockedPackages};
use crate::environment::{EnvironmentFailure, EnvironmentFailureKind, lock::Lock};

/// The name of the list inside an environment.
pub(in crate::environment) const PACKAGES: &str = "fastflow-packages.json";

#[derive(Deserialize, Serialize)]
struct Listed {
    format: u32,
    packages: Vec<Package>,
}

/// The list of what is installed in `directory`, joined with the lock that it was installed from. Blocks.
pub(in crate::environment) fn list(directory: &Path, lock: &Lock) -> io::Result<Vec<u8>> {
    let packages = joined(directory, &LockedPackages::of(lock))?;
    Ok(serde_json::to_vec_pretty(&Listed { format: 1, packages })?)
}

fn joined(directory: &Path, lock: &LockedPackages) -> io::Result<Vec<Package>> {
    let package = |found: installed::Installed| {
        let locked = lock.find(&found.name, &found.version);
        let origin = found.direct.or_else(|| locked?.origin.clone()).unwrap_or(PackageOrigin::Unknown);
        let hashes = locked.map(|locked| locked.hashes.clone()).unwrap_or_default();
        Package { name: found.name, version: found.version, hashes, origin }
    };
    Ok(installed::read(directory)?.into_iter().map(package).collect())
}

/// The packages of the environment in `directory`. One that was made without a list is looked through, and says
/// nothing of hashes and indexes. Blocks.
pub(in crate::environment) fn read(
    directory: &Path,
    has_list: bool,
) -> Result<Vec<Package>, EnvironmentFailure> {
    if !has_list {
        return joined(directory, &LockedPackages::default())
            .map_err(|error| EnvironmentFailure::io("look through", directory, &error));
    }
    let path = directory.join(PACKAGES);
    let text = fs::read(&path).map_err(|error| EnvironmentFailure::io("read", &path, &error))?;
    let listed: Listed = serde_json::from_slice(&text).map_err(|error| {
        let message = format!("{} is not what was written there: {error}", path.display());
        EnvironmentFailure::new(EnvironmentFailureKind::Internal, message)
            .with_help("remove this environment's directory; it will be built again")
    })?;
    Ok(listed.packages)
}
