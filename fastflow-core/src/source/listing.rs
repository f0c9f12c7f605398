//! Which names in the folder of pipelines may be pipelines.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType},
    io::Errno,
};

use super::{
    tree::{EXCLUDED, Stamp, failed, show},
    watch::Depth,
};
use crate::{Error, PipelineName, Result, pipeline::Diagnostic};

/// What makes a folder a pipeline.
pub(super) const MARKS: &[&str] = &["main.py", "main.ipynb", "pipeline.json"];

/// What is said of a link where a pipeline should be.
pub(super) const LINKED: &str =
    "found a link, expected a folder or a file: what runs must lie in the folder of pipelines";

/// What is said of a name that runs of code have.
pub(super) const RESERVED: &str = "this name cannot be a pipeline's: those that begin with `code.` are kept for code that is in no source; rename it";

/// The folder of pipelines, wherever it is.
pub(super) trait Top {
    /// Whether the folder of this name, or the one that a link of this name leads to, holds what makes a pipeline.
    fn is_marked(&self, name: &OsStr) -> bool;
}

impl Top for OwnedFd {
    fn is_marked(&self, name: &OsStr) -> bool {
        MARKS
            .iter()
            .any(|mark| fs::statat(self, Path::new(name).join(mark), AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }
}

/// What a name at the top stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Folder,
    File,
    Link,
    Other,
}

impl From<FileType> for Found {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Folder,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// The names at the top of the folder of pipelines.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) candidates: BTreeMap<PipelineName, Vec<Candidate>>,
    /// The same names by their lower case.
    lower: BTreeMap<String, Vec<PipelineName>>,
    pub(super) warnings: Vec<Diagnostic>,
    /// Of the folder itself, before it was read.
    pub(super) stamp: Stamp,
}

/// One folder or file that may be a pipeline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    /// Its name in the folder of pipelines.
    pub(super) name: OsString,
    pub(super) shape: Shape,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Folder,
    File,
    /// A link at the top; what it points to is not looked at.
    Link,
    /// A pipe, a socket or a device with the name of a script.
    Special,
}

impl Candidate {
    /// The name as diagnostics write it.
    pub(super) fn shown(&self) -> String {
        show(Path::new(&self.name))
    }

    /// Whether it is a pipeline, good or broken, and not just a folder.
    fn is_pipeline(&self, top: &dyn Top) -> bool {
        match self.shape {
            Shape::File | Shape::Special => true,
            Shape::Folder => top.is_marked(&self.name),
            // A linked pipeline is refused, and a link to something else is nobody's business.
            Shape::Link => top.is_marked(&self.name) || is_script(&self.name).is_some(),
        }
    }
}

/// The stem of a name that ends in `.py`.
fn is_script(name: &OsStr) -> Option<&[u8]> {
    name.as_bytes().strip_suffix(b".py").filter(|stem| !stem.is_empty())
}

/// Whether a name at the top is nobody's business.
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || EXCLUDED.iter().any(|excluded| excluded.as_bytes() == name)
}

impl Listing {
    /// The stamp of the folder as it is now.
    pub(super) fn stamp(root: &OwnedFd, shown: &Path) -> Result<Stamp> {
        fs::fstat(root).map(|stat| Stamp::of(&stat)).map_err(|error| failed(error, shown))
    }

    /// Reads the folder of pipelines.
    pub(super) fn read(root: &OwnedFd, shown: &Path) -> Result<Self> {
        let mut listing = Self { stamp: Self::stamp(root, shown)?, ..Self::default() };
        let read = |error: Errno| -> Error { failed(error, shown) };
        let mut dir = Dir::read_from(root).map_err(read)?;
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            if is_hidden(name.to_bytes()) {
                continue;
            }
            let stat = match fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(read)?,
            };
            let name = OsString::from_vec(name.to_bytes().to_vec());
            listing.add(root, name, FileType::from_raw_mode(stat.st_mode).into());
        }
        listing.finish();
        Ok(listing)
    }

    /// The folders that may be pipelines, and how each is watched.
    pub(super) fn folders(&self, root: &OwnedFd) -> BTreeMap<PathBuf, Depth> {
        let folders = self.candidates.values().flatten().filter(|one| one.shape == Shape::Folder);
        folders
            .map(|folder| {
                let depth = if folder.is_pipeline(root) { Depth::All } else { Depth::Marks };
                (PathBuf::from(&folder.name), depth)
            })
            .collect()
    }

    /// Adds one name, unless it is hidden.
    pub(super) fn add(&mut self, top: &dyn Top, name: OsString, found: Found) {
        if is_hidden(name.as_bytes()) {
            return;
        }
        let script = is_script(&name).map(<[u8]>::to_vec);
        let shape = match found {
            Found::Folder => Shape::Folder,
            Found::Link => Shape::Link,
            Found::File if script.is_some() => Shape::File,
            Found::Other if script.is_some() => Shape::Special,
            _ => return,
        };
        // A folder is named as it is, even when that ends in `.py`.
        let stem = match (shape, script) {
            (Shape::Folder, _) | (_, None) => name.as_bytes().to_vec(),
            (_, Some(stem)) => stem,
        };
        let candidate = Candidate { name, shape };
        let parsed = std::str::from_utf8(&stem).ok().and_then(|stem| stem.parse::<PipelineName>().ok());
        if let Some(name) = &parsed
            && name.is_code()
        {
            if candidate.is_pipeline(top) {
                self.warnings.push(Diagnostic::warning(candidate.shown(), "", RESERVED));
            }
        } else if let Some(name) = parsed {
            self.candidates.entry(name).or_default().push(candidate);
        } else if candidate.is_pipeline(top) {
            let message = format!(
                "this name cannot be a pipeline's: it begins with a letter or digit, holds only a-z, A-Z, 0-9, \
                 `_`, `-` and `.`, and has at most {} characters; rename it",
                PipelineName::MAX_CHARS
            );
            self.warnings.push(Diagnostic::warning(candidate.shown(), "", message));
        }
    }

    /// Puts all that was added in order.
    pub(super) fn finish(&mut self) {
        self.warnings.sort_by(|one, other| one.file.cmp(&other.file));
        for (name, candidates) in &mut self.candidates {
            self.lower.entry(name.as_str().to_ascii_lowercase()).or_default().push(name.clone());
            candidates.sort_by(|one, other| one.name.cmp(&other.name));
        }
    }

    /// What the pipeline of this name is read from, or why that cannot be told. None: nothing there is a pipeline.
    pub(super) fn pick(&self, top: &dyn Top, name: &PipelineName) -> Option<Result<&Candidate, Diagnostic>> {
        let candidates = self.candidates.get(name)?;
        let mut pipelines = candidates.iter().filter(|one| one.is_pipeline(top));
        let candidate = pipelines.next()?;
        let mut same: Vec<String> = pipelines.map(Candidate::shown).collect();
        same.extend(self.case_rivals(top, name));
        if same.is_empty() {
            return Some(Ok(candidate));
        }
        let message = format!(
            "{} would be the same pipeline where case does not count; rename one of them",
            same.join(" and ")
        );
        Some(Err(Diagnostic::error(candidate.shown(), "", message)))
    }

    /// The other names that differ from `name` only by upper and lower case.
    fn case_rivals(&self, top: &dyn Top, name: &PipelineName) -> Vec<String> {
        let same = self.lower.get(&name.as_str().to_ascii_lowercase());
        let rivals = same.into_iter().flatten().filter(|other| *other != name);
        let candidates = rivals.filter_map(|rival| self.candidates.get(rival)).flatten();
        candidates.filter(|rival| rival.is_pipeline(top)).map(Candidate::shown).collect()
    }
}
