//! From paths and bytes to a tree, by the rules for trees of strangers.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    pipeline::Diagnostic,
    source::{
        TreeLimits,
        names::{self, MAX_PATH_BYTES},
        tree::{Entry, Kind, Stamp, Tree, is_excluded, show, too_much},
    },
};

/// So many findings tell enough.
const MAX_FINDINGS: usize = 50;

/// Files that were given, with the folders that they lie in.
#[derive(Debug)]
pub(crate) struct GivenTree {
    pub(in crate::source) tree: Tree,
    /// What the entries of the tree hold, in their order; none for folders.
    pub(in crate::source) bytes: Vec<Option<Bytes>>,
}

impl GivenTree {
    /// Puts files together, or says what is wrong with their paths.
    pub(crate) fn new(
        files: impl IntoIterator<Item = (String, Bytes)>,
        limits: TreeLimits,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut paths =
            Paths { limits, found: BTreeMap::new(), spellings: HashMap::new(), findings: Vec::new() };
        let mut total = 0_u64;
        for (path, bytes) in files {
            total = total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if total > limits.max_bytes {
                paths.findings.push(too_much(Path::new(""), &format!("{} bytes", limits.max_bytes)));
                break;
            }
            paths.add(&path, bytes);
            if paths.found.len() > limits.max_files {
                let limit = format!("{} files and folders", limits.max_files);
                paths.findings.push(too_much(Path::new(""), &limit));
                break;
            }
            if paths.findings.len() >= MAX_FINDINGS {
                break;
            }
        }
        if paths.findings.is_empty() { Ok(paths.finish()) } else { Err(paths.findings) }
    }
}

struct Paths {
    limits: TreeLimits,
    /// Everything by its path: bytes for files, none for folders.
    found: BTreeMap<PathBuf, Option<Bytes>>,
    /// How a name in a folder was first written, by the form that case and accents do not change.
    spellings: HashMap<(PathBuf, String), String>,
    findings: Vec<Diagnostic>,
}

impl Paths {
    fn add(&mut self, path: &str, bytes: Bytes) {
        if let Err(message) = self.try_add(path, bytes) {
            self.findings.push(Diagnostic::error(show(Path::new(path)), "", message));
        }
    }

    fn try_add(&mut self, path: &str, bytes: Bytes) -> Result<(), String> {
        if path.len() > MAX_PATH_BYTES {
            return Err(format!("this path is longer than {MAX_PATH_BYTES} bytes; shorten it"));
        }
        let mut at = PathBuf::new();
        let mut names = path.split('/').enumerate().peekable();
        while let Some((depth, name)) = names.next() {
            if depth > self.limits.max_depth {
                let max = self.limits.max_depth;
                return Err(format!(
                    "found more than {max} folders inside each other, expected at most that"
                ));
            }
            self.name(&at, name)?;
            at.push(name);
            let is_folder = names.peek().is_some();
            match self.found.get(&at) {
                None if is_folder => drop(self.found.insert(at.clone(), None)),
                None => {}
                Some(None) if is_folder => {}
                Some(Some(_)) if !is_folder => return Err("this file is given twice".to_owned()),
                Some(_) => return Err(format!("\"{}\" is a file and a folder; rename one", show(&at))),
            }
        }
        self.found.insert(at, Some(bytes));
        Ok(())
    }

    /// Checks one name in the folder `at`.
    fn name(&mut self, at: &Path, name: &str) -> Result<(), String> {
        let rule = names::check(name.as_bytes()).err();
        if let Some(rule) = rule {
            return Err(format!("{rule}; expected the path of a file inside, such as \"data/table.csv\""));
        }
        if is_excluded(name.as_bytes()) {
            return Err(format!(
                "\"{name}\" holds what tools make, and is no part of what is run; leave it out"
            ));
        }
        let key = (at.to_path_buf(), names::folded(name));
        let first = self.spellings.entry(key).or_insert_with(|| name.to_owned());
        if first == name {
            return Ok(());
        }
        Err(format!(
            "\"{name}\" and \"{first}\" are the same where case or the form of accents does not count; rename one of \
             them"
        ))
    }

    fn finish(self) -> GivenTree {
        let (mut entries, mut contents) = (Vec::new(), Vec::new());
        for (path, bytes) in self.found {
            let kind = bytes.as_ref().map_or(Kind::Folder, |bytes| Kind::File {
                executable: false,
                bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            });
            entries.push(Entry { path, kind, stamp: Stamp::default() });
            contents.push(bytes);
        }
        GivenTree { tree: Tree { entries, changed_ns: 0 }, bytes: contents }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str], limits: TreeLimits) -> Result<Vec<String>, Vec<String>> {
        let files = paths.iter().map(|path| ((*path).to_owned(), Bytes::from_static(b"0123456789")));
        match GivenTree::new(files, limits) {
            Ok(given) => Ok(given.tree.entries.iter().map(|entry| show(&entry.path)).collect()),
            Err(findings) => Err(findings.iter().map(ToString::to_string).collect()),
        }
    }

    #[track_caller]
    fn refused(paths: &[&str], word: &str) {
        let findings = tree(paths, TreeLimits::default()).unwrap_err();
        assert!(findings.len() == 1 && findings[0].contains(word), "{word:?} is missing in: {findings:?}");
    }

    #[test]
    fn folders_are_made_of_paths_and_come_before_what_they_hold() {
        let found = tree(&["a/b/c.csv", "main.py", "a.txt", "a/d"], TreeLimits::default()).unwrap();
        assert_eq!(found, ["a", "a/b", "a/b/c.csv", "a/d", "a.txt", "main.py"]);
    }

    #[test]
    fn no_path_leaves_the_folder_or_means_two_files() {
        for outside in
            ["../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "", "a/", "./a", "a\\..\\b", "a\0b"]
        {
            assert!(tree(&[outside], TreeLimits::default()).is_err(), "{outside:?}");
        }
        refused(&["main.py", "/etc/passwd"], "this name is empty");
        refused(&["main.py", "../main.py"], "stands for another folder");
        refused(&["main.py", "main.py"], "given twice");
        refused(&["main.py", "Main.py"], "where case");
        refused(&["a/x", "A/y"], "where case");
        refused(&["a", "a/b"], "is a file and a folder");
        refused(&["a/b", "a"], "is a file and a folder");
        refused(&["a/.git/config"], "git's own folder");
        refused(&["lib/__pycache__/x.pyc"], "__pycache__");
        refused(&["a/b.pyc"], "b.pyc");
        refused(&["con.py"], "device");
        refused(&[&"a/".repeat(600)], "1024 bytes");
    }

    #[test]
    fn each_limit_is_kept_and_named() {
        let limits = TreeLimits { max_files: 3, max_bytes: 30, max_depth: 2 };
        assert!(tree(&["a", "b", "c"], limits).is_ok());
        assert!(tree(&["a/b/c"], limits).is_ok());
        for (paths, word) in [
            (&["a", "b/c/d"][..], "3 files and folders"),
            (&["a", "b", "c", "d"][..], "30 bytes"),
            (&["a/b/c/d"][..], "2 folders inside each other"),
        ] {
            let findings = tree(paths, limits).unwrap_err();
            assert!(findings.last().unwrap().contains(word), "{word:?} is missing in: {findings:?}");
        }
    }

    #[test]
    fn many_findings_come_to_an_end() {
        let paths: Vec<String> = (0..200).map(|index| format!("../{index}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert_eq!(tree(&paths, TreeLimits::default()).unwrap_err().len(), MAX_FINDINGS);
    }
}
