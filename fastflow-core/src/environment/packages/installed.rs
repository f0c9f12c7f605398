//! What lies in an environment, by the records that installers leave ([PEP 376](https://peps.python.org/pep-0376/)).
//!
//! Packages write these files themselves. They are read as data with limits, and only where they are regular files.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use fastflow_shim::regular;
use serde::Deserialize;

use super::{PACKAGES_MAX, PackageName, PackageOrigin, place};

/// How much of `METADATA` is read: the name and the version stand at its head.
const METADATA_MAX_BYTES: u64 = 64 * 1024;
/// The largest `direct_url.json`.
const DIRECT_MAX_BYTES: u64 = 64 * 1024;
/// The longest version, in characters.
const VERSION_MAX_CHARS: usize = 200;

/// One package that is installed.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Installed {
    pub(super) name: PackageName,
    pub(super) version: String,
    /// Where it came from, if that is no index.
    pub(super) direct: Option<PackageOrigin>,
}

/// Where a package came from ([PEP 610](https://peps.python.org/pep-0610/)).
#[derive(Deserialize)]
struct DirectUrl {
    url: String,
    vcs_info: Option<VcsInfo>,
}

#[derive(Deserialize)]
struct VcsInfo {
    vcs: String,
    commit_id: String,
}

/// The packages in `directory`, by name. Blocks.
pub(super) fn read(directory: &Path) -> io::Result<Vec<Installed>> {
    let mut found = Vec::new();
    for python in folders(&directory.join("lib"))? {
        let packages = directory.join("lib").join(python).join("site-packages");
        for name in folders(&packages)? {
            let Some(stem) = name.strip_suffix(".dist-info") else { continue };
            if found.len() == PACKAGES_MAX {
                tracing::warn!(directory = %directory.display(), limit = PACKAGES_MAX, "more packages than are listed");
                break;
            }
            let package = package(&packages.join(&name), stem);
            if package.is_none() {
                tracing::warn!(record = name, "a package that does not say its name and version");
            }
            found.extend(package);
        }
    }
    found.sort();
    Ok(found)
}

/// The names of the folders in a folder, of which links are none; nothing where there is no folder.
fn folders(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

fn package(record: &Path, stem: &str) -> Option<Installed> {
    let (name, version) = metadata(record).or_else(|| {
        // The folder's own name says the same, as far as it can be trusted.
        let (name, version) = stem.split_once('-')?;
        Some((name.parse().ok()?, checked(version)?))
    })?;
    Some(Installed { name, version, direct: direct(record) })
}

fn metadata(record: &Path) -> Option<(PackageName, String)> {
    let mut head = Vec::new();
    let file = regular::open(&record.join("METADATA")).ok()?;
    file.take(METADATA_MAX_BYTES).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    let field = |name: &str| {
        let lines = head.lines().take_while(|line| !line.trim().is_empty());
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    Some((field("name")?.parse().ok()?, checked(field("version")?)?))
}

/// A version that is worth keeping, whether or not it is one that Python knows.
fn checked(version: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_graphic();
    (!version.is_empty() && version.len() <= VERSION_MAX_CHARS && version.chars().all(is_plain))
        .then(|| version.to_owned())
}

fn direct(record: &Path) -> Option<PackageOrigin> {
    let text = regular::read(&record.join("direct_url.json"), DIRECT_MAX_BYTES).ok()?;
    let found: DirectUrl = serde_json::from_slice(&text).ok()?;
    Some(match found.vcs_info {
        Some(VcsInfo { vcs, commit_id }) => {
            place::direct(&format!("{vcs}+{}@{commit_id}", place::plain(&found.url)))
        }
        None => place::direct(&found.url),
    })
}
