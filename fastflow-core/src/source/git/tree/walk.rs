//! From a tree object to what a pipeline's folder would hold, by the rules for trees of strangers.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use gix::{ObjectId, objs::Kind as ObjectKind};

use super::{mode::Mode, objects::Objects};
use crate::{
    Result,
    pipeline::Diagnostic,
    source::{
        TreeLimits,
        names::{self, MAX_PATH_BYTES},
        tree::{Entry, Kind, Refusal, Stamp, Tree, is_excluded, show, too_much},
    },
};

/// The longest target of a link.
const MAX_TARGET_BYTES: u64 = 1024;
/// So many findings of one pipeline tell enough.
const MAX_FINDINGS: usize = 50;

/// A tree that keeps the rules.
pub(super) struct Walked {
    pub(super) tree: Tree,
    /// The objects of its entries, in their order.
    pub(super) ids: Vec<ObjectId>,
}

/// Lists everything below a pipeline's tree.
pub(super) fn folder(objects: Objects<'_>, root: ObjectId, limits: TreeLimits) -> Result<Walked, Refusal> {
    let mut walk = Walk { objects, limits, entries: Vec::new(), findings: Vec::new() };
    let mut folders = vec![(PathBuf::new(), root, 0)];
    while let Some((path, id, depth)) = folders.pop() {
        walk.folder(&path, id, depth, &mut folders)?;
        if walk.findings.len() >= MAX_FINDINGS {
            let message = format!("found {MAX_FINDINGS} things wrong here, and did not look further");
            walk.findings.push(Diagnostic::error(".", "", message));
            break;
        }
    }
    if !walk.findings.is_empty() {
        return Err(Refusal::Content(walk.findings));
    }
    walk.entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    walk.finish()
}

/// The tree of a pipeline that is one file.
pub(super) fn file(
    objects: Objects<'_>,
    name: &str,
    (id, mode): (ObjectId, Mode),
    limits: TreeLimits,
) -> Result<Walked, Refusal> {
    let entries = vec![Listed { path: PathBuf::from(name), id, mode }];
    objects.budget.take_entry()?;
    Walk { objects, limits, entries, findings: Vec::new() }.finish()
}

/// One entry whose object was not looked at yet.
struct Listed {
    path: PathBuf,
    id: ObjectId,
    mode: Mode,
}

struct Walk<'a> {
    objects: Objects<'a>,
    limits: TreeLimits,
    entries: Vec<Listed>,
    findings: Vec<Diagnostic>,
}

impl Walk<'_> {
    /// Lists one folder, and adds those inside it to `folders`. An error means that it makes no sense to look further.
    fn folder(
        &mut self,
        path: &Path,
        id: ObjectId,
        depth: usize,
        folders: &mut Vec<(PathBuf, ObjectId, usize)>,
    ) -> Result<(), Refusal> {
        if depth > self.limits.max_depth {
            return Err(self.stop(path, &format!("{} folders inside each other", self.limits.max_depth)));
        }
        let bytes = match self.objects.tree(id)? {
            Ok(bytes) => bytes,
            Err(misfit) => {
                self.find(path, misfit.message(ObjectKind::Tree));
                return Ok(());
            }
        };
        // By the name that case and accents do not change.
        let mut names: HashMap<String, String> = HashMap::new();
        for entry in self.objects.entries(&bytes) {
            let Ok(entry) = entry else {
                self.find(path, "this folder's list of names cannot be decoded; commit it anew".to_owned());
                break;
            };
            if is_left_out(entry.filename) {
                continue;
            }
            // Before anything else, so that no kind of entry goes on for ever.
            if self.entries.len() + self.findings.len() >= self.limits.max_files {
                return Err(self.stop(Path::new(""), &format!("{} files and folders", self.limits.max_files)));
            }
            self.objects.budget.take_entry()?;
            let Some(name) = self.name(path, entry.filename, &mut names) else { continue };
            let (path, mode, id) = (path.join(name), Mode::of(entry.mode), entry.oid.to_owned());
            if path.as_os_str().len() > MAX_PATH_BYTES {
                self.find(&path, format!("this path is longer than {MAX_PATH_BYTES} bytes; shorten it"));
                continue;
            }
            match mode {
                Mode::Folder => folders.push((path.clone(), id, depth + 1)),
                Mode::File | Mode::Program | Mode::Link => {}
                Mode::Submodule | Mode::Other(_) => {
                    self.find(&path, mode.refusal());
                    continue;
                }
            }
            self.entries.push(Listed { path, id, mode });
        }
        Ok(())
    }

    /// The name of an entry, if it keeps the rules.
    fn name<'b>(
        &mut self,
        path: &Path,
        name: &'b [u8],
        names: &mut HashMap<String, String>,
    ) -> Option<&'b str> {
        let shown = || Path::new(path).join(String::from_utf8_lossy(name).as_ref());
        let text = match names::check(name) {
            Ok(text) => text,
            Err(rule) => {
                // Joined by hand: a name that begins with a slash would take the folder's place.
                let shown = format!("{}/{}", path.display(), String::from_utf8_lossy(name));
                self.find(Path::new(shown.trim_start_matches('/')), format!("{rule}; rename it"));
                return None;
            }
        };
        let Some(first) = names.insert(names::folded(text), text.to_owned()) else { return Some(text) };
        let message = if first == text {
            "this name appears twice in its folder; commit the folder anew".to_owned()
        } else {
            format!(
                "this name and \"{}\" are the same where case or the form of accents does not count; rename one of \
                 them",
                first.escape_debug()
            )
        };
        self.find(&shown(), message);
        None
    }

    /// Looks at the objects of all entries, now that it is known that they are not too many.
    fn finish(mut self) -> Result<Walked, Refusal> {
        let mut total = 0_u64;
        let mut entries = Vec::with_capacity(self.entries.len());
        let mut ids = Vec::with_capacity(self.entries.len());
        for Listed { path, id, mode } in std::mem::take(&mut self.entries) {
            let kind = match mode {
                Mode::Folder => Kind::Folder,
                _ => match self.objects.blob_bytes(id)? {
                    Err(misfit) => {
                        self.find(&path, misfit.message(ObjectKind::Blob));
                        continue;
                    }
                    Ok(bytes) if mode == Mode::Link => {
                        let Some(target) = self.target(&path, id, bytes)? else { continue };
                        Kind::Link { target }
                    }
                    Ok(bytes) => {
                        total = total.saturating_add(bytes);
                        if total > self.limits.max_bytes {
                            return Err(self.stop(Path::new(""), &format!("{} bytes", self.limits.max_bytes)));
                        }
                        Kind::File { executable: mode == Mode::Program, bytes }
                    }
                },
            };
            entries.push(Entry { path, kind, stamp: Stamp::default() });
            ids.push(id);
        }
        self.objects.budget.take_bytes(total)?;
        let tree = Tree { entries, changed_ns: 0 };
        self.findings.extend(tree.check_links());
        if self.findings.is_empty() { Ok(Walked { tree, ids }) } else { Err(Refusal::Content(self.findings)) }
    }

    /// Where a link leads to.
    fn target(&mut self, path: &Path, id: ObjectId, bytes: u64) -> Result<Option<PathBuf>> {
        let mut buffer = Vec::new();
        let is_short = (1..=MAX_TARGET_BYTES).contains(&bytes);
        if is_short {
            self.objects.read(id, &mut buffer)?;
        }
        let target =
            String::from_utf8(buffer).ok().filter(|text| is_short && !text.chars().any(char::is_control));
        if target.is_none() {
            let message = format!(
                "this link's target is not 1 to {MAX_TARGET_BYTES} bytes of plain text; replace the link by what it \
                 points to"
            );
            self.find(path, message);
        }
        Ok(target.map(PathBuf::from))
    }

    fn find(&mut self, path: &Path, message: String) {
        self.findings.push(Diagnostic::error(show(path), "", message));
    }

    /// A finding after which it makes no sense to look further.
    fn stop(&mut self, path: &Path, limit: &str) -> Refusal {
        let mut findings = std::mem::take(&mut self.findings);
        findings.push(too_much(path, limit));
        Refusal::Content(findings)
    }
}

/// Whether a name is no part of a pipeline. One that git itself never writes into a tree is not left out but refused.
fn is_left_out(name: &[u8]) -> bool {
    is_excluded(name) && names::check(name).is_ok()
}
