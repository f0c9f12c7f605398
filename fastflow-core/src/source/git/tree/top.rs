//! The names at the top of a commit's folder of pipelines.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path},
};

use gix::ObjectId;

use super::{known::Known, mode::Mode, objects::Objects};
use crate::{
    Result,
    pipeline::Diagnostic,
    source::{
        GitLimits, SyncFailure, SyncFailureKind,
        listing::{Found, Listing, MARKS, Top},
        names,
        tree::show,
    },
};

/// So many warnings of names tell enough.
const MAX_WARNINGS: usize = 100;
/// The longest target of a link that is looked at.
const MAX_TARGET_BYTES: u64 = 1024;

/// Where the folder of pipelines is in a commit.
pub(super) struct Base<'a> {
    /// The tree of the whole commit.
    pub(super) root: ObjectId,
    pub(super) path: Vec<&'a str>,
    /// The folder's own tree.
    pub(super) tree: ObjectId,
}

/// The folder of pipelines of a commit.
#[derive(Default)]
pub(super) struct Names {
    pub(super) listing: Listing,
    pub(super) marked: Marked,
    pub(super) entries: HashMap<OsString, (ObjectId, Mode)>,
    /// The folders that hold nothing that makes a pipeline.
    pub(super) plain: Vec<(OsString, ObjectId)>,
}

/// The names of folders that hold what makes a pipeline, and of links to such.
#[derive(Debug, Default)]
pub(super) struct Marked(HashSet<OsString>);

impl Top for Marked {
    fn is_marked(&self, name: &OsStr) -> bool {
        self.0.contains(name)
    }
}

impl<'a> Base<'a> {
    /// Finds the folder of pipelines.
    pub(super) fn find(
        objects: Objects<'_>,
        root: ObjectId,
        subdirectory: Option<&'a str>,
    ) -> Result<Self, SyncFailure> {
        let shown = subdirectory.unwrap_or_default();
        let refused = |why: &str| {
            SyncFailure::new(
                SyncFailureKind::Refused,
                format!("the folder of pipelines \"{}\" is not taken: {why}", shown.escape_debug()),
            )
        };
        let path: Vec<&str> = shown.split('/').filter(|name| !name.is_empty()).collect();
        for name in &path {
            names::check(name.as_bytes()).map_err(|rule| refused(&rule.to_string()))?;
        }
        match objects.at(root, &path)? {
            Ok(Some((tree, Mode::Folder))) => Ok(Self { root, path, tree }),
            Ok(Some((_, mode))) => Err(refused(&mode.refusal())),
            Err(misfit) => Err(refused(&misfit.message(gix::objs::Kind::Tree))),
            Ok(None) => Err(SyncFailure::new(
                SyncFailureKind::Missing,
                format!("the commit has no folder \"{}\"", shown.escape_debug()),
            )),
        }
    }
}

impl Base<'_> {
    /// The path of one of its names in the repository.
    pub(super) fn path_of(&self, name: &str) -> String {
        self.path.iter().copied().chain([name]).collect::<Vec<_>>().join("/")
    }
}

impl Names {
    /// Reads the folder of pipelines, and looks into each folder there that is not known.
    pub(super) fn read(
        objects: Objects<'_>,
        base: &Base<'_>,
        limits: &GitLimits,
        known: &Known,
    ) -> Result<Self, SyncFailure> {
        let refused = |why: String| {
            SyncFailure::new(SyncFailureKind::Refused, format!("the folder of pipelines is not taken: {why}"))
        };
        let bytes =
            objects.tree(base.tree)?.map_err(|misfit| refused(misfit.message(gix::objs::Kind::Tree)))?;
        let mut found = Vec::new();
        let mut warnings = Vec::new();
        for entry in objects.entries(&bytes) {
            let entry = entry
                .map_err(|_| refused("its list of names cannot be decoded; commit it anew".to_owned()))?;
            if found.len() + warnings.len() >= limits.max_pipelines {
                let message =
                    format!("the folder of pipelines holds more than {} names", limits.max_pipelines);
                return Err(SyncFailure::new(SyncFailureKind::TooLarge, message));
            }
            let name = OsString::from_vec(entry.filename.to_vec());
            let mode = Mode::of(entry.mode);
            match refusal(&name, mode) {
                Some(message) => {
                    warnings.push(Diagnostic::warning(show(Path::new(&name)), "", message));
                }
                None => found.push((name, entry.oid.to_owned(), mode)),
            }
        }
        let mut names = Self::default();
        for (name, id, mode) in &found {
            if is_marked(objects, base, (name, *id, *mode), known)? {
                names.marked.0.insert(name.clone());
            } else if *mode == Mode::Folder {
                names.plain.push((name.clone(), *id));
            }
        }
        for (name, id, mode) in found {
            names.listing.add(&names.marked, name.clone(), mode.into());
            names.entries.insert(name, (id, mode));
        }
        names.listing.warnings.append(&mut warnings);
        names.listing.finish();
        let count = names.listing.warnings.len();
        if count > MAX_WARNINGS {
            names.listing.warnings.truncate(MAX_WARNINGS);
            let message = format!("found {} more names to warn of", count - MAX_WARNINGS);
            names.listing.warnings.push(Diagnostic::warning(".", "", message));
        }
        Ok(names)
    }
}

impl From<Mode> for Found {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Folder => Self::Folder,
            Mode::File | Mode::Program => Self::File,
            Mode::Link => Self::Link,
            Mode::Submodule | Mode::Other(_) => Self::Other,
        }
    }
}

/// Why an entry at the top cannot be a pipeline at all.
fn refusal(name: &OsStr, mode: Mode) -> Option<String> {
    if let Err(rule) = names::check(name.as_bytes()) {
        return Some(format!("{rule}; rename it"));
    }
    // With the name of a script it is a pipeline, and a broken one.
    let is_other =
        mode == Mode::Submodule || (matches!(mode, Mode::Other(_)) && !name.as_bytes().ends_with(b".py"));
    is_other.then(|| mode.refusal())
}

/// Whether an entry holds what makes a pipeline. One that cannot be read does: it is a broken one.
fn is_marked(
    objects: Objects<'_>,
    base: &Base<'_>,
    (name, id, mode): (&OsStr, ObjectId, Mode),
    known: &Known,
) -> Result<bool> {
    let tree = match mode {
        Mode::Folder if known.is_plain(name, id) => return Ok(false),
        Mode::Folder if known.get(name, (id, mode)).is_some() => return Ok(true),
        Mode::Folder => id,
        Mode::Link => match linked(objects, base, id)? {
            Some(tree) => tree,
            None => return Ok(false),
        },
        _ => return Ok(false),
    };
    let Ok(bytes) = objects.tree(tree)? else { return Ok(true) };
    let mut entries = objects.entries(&bytes);
    Ok(entries
        .any(|entry| entry.map_or(true, |entry| MARKS.iter().any(|mark| entry.filename == mark.as_bytes()))))
}

/// The folder that a link at the top leads to, if it is one of the same commit and no other link lies on the way.
fn linked(objects: Objects<'_>, base: &Base<'_>, id: ObjectId) -> Result<Option<ObjectId>> {
    match objects.blob_bytes(id)? {
        Ok(bytes) if bytes <= MAX_TARGET_BYTES => {}
        _ => return Ok(None),
    }
    let mut buffer = Vec::new();
    objects.read(id, &mut buffer)?;
    let mut path = base.path.clone();
    for component in Path::new(OsStr::from_bytes(&buffer)).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if path.pop().is_some() => {}
            Component::Normal(name) => match name.to_str() {
                Some(name) => path.push(name),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    let found = objects.at(base.root, &path)?;
    Ok(found.ok().flatten().and_then(|(id, mode)| (mode == Mode::Folder).then_some(id)))
}
