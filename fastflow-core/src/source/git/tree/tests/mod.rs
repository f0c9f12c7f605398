//! Commits of real repositories, good ones and such that no git would make.

mod catalog;
mod hostile;
mod limits;
mod scale;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
};

use super::{Known, Read, Terms, read};
use crate::{
    Timestamp,
    pipeline::Diagnostic,
    source::{CatalogEntry, Commit, GitLimits, Revision, SyncFailure, snapshot::Snapshots},
};

/// For whoever waits as long as it takes.
fn terms(limits: &GitLimits) -> Terms<'_> {
    static NEVER: AtomicBool = AtomicBool::new(false);
    Terms { limits, interrupt: &NEVER }
}

/// A bare repository and a folder of snapshots beside it.
struct Place {
    dir: tempfile::TempDir,
    snapshots: Snapshots,
}

/// What a commit is made of.
#[derive(Clone)]
enum Item {
    File(Vec<u8>),
    Program(Vec<u8>),
    Link(&'static str),
    Folder(Vec<(Vec<u8>, Item)>),
    /// Any mode and any object.
    Odd(&'static str, Box<Item>),
    /// The bytes of a tree as they are.
    RawTree(Vec<u8>),
    /// An object by its name, which may be missing.
    Object(&'static str, String),
}

fn file(text: &str) -> Item {
    Item::File(text.as_bytes().to_vec())
}

fn folder<const N: usize>(entries: [(&str, Item); N]) -> Item {
    Item::Folder(entries.into_iter().map(|(name, item)| (name.as_bytes().to_vec(), item)).collect())
}

/// A pipeline with one more entry.
fn pipeline_with(name: &[u8], item: Item) -> Item {
    let main = (b"main.py".to_vec(), file("print(1)\n"));
    Item::Folder(vec![main, (name.to_vec(), item)])
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(dir.path().join("snapshots"));
        let place = Self { dir, snapshots };
        place.git(&["init", "-q", "--bare", "-b", "main"], b"");
        place
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("repo.git")
    }

    /// Runs the real git, with no configuration but the repository's own.
    fn git(&self, arguments: &[&str], input: &[u8]) -> String {
        self.git_in(self.dir.path(), arguments, input)
    }

    fn git_in(&self, work_tree: &Path, arguments: &[&str], input: &[u8]) -> String {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(work_tree)
            .env("GIT_DIR", self.repo())
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["AUTHOR", "COMMITTER"].into_iter().flat_map(|who| {
                [
                    (format!("GIT_{who}_NAME"), "Ada".to_owned()),
                    (format!("GIT_{who}_EMAIL"), "ada@example.org".to_owned()),
                    (format!("GIT_{who}_DATE"), "1700000000 +0000".to_owned()),
                ]
            }))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git is installed");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes an item, and returns its mode and its object.
    fn write(&self, item: &Item) -> (&'static str, String) {
        let blob = |bytes: &[u8]| self.git(&["hash-object", "-w", "--stdin"], bytes);
        let tree =
            |bytes: &[u8]| self.git(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], bytes);
        match item {
            Item::File(bytes) => ("100644", blob(bytes)),
            Item::Program(bytes) => ("100755", blob(bytes)),
            Item::Link(target) => ("120000", blob(target.as_bytes())),
            Item::Odd(mode, item) => (mode, self.write(item).1),
            Item::RawTree(bytes) => ("40000", tree(bytes)),
            Item::Object(mode, id) => (mode, id.clone()),
            Item::Folder(entries) => {
                let mut bytes = Vec::new();
                for (name, item) in entries {
                    let (mode, id) = self.write(item);
                    bytes.extend(tree_entry(mode, name, &id));
                }
                ("40000", tree(&bytes))
            }
        }
    }

    /// A commit of this folder.
    fn commit(&self, item: &Item) -> Commit {
        let tree = self.write(item).1;
        self.commit_of(&tree)
    }

    fn commit_of(&self, tree: &str) -> Commit {
        let text = format!(
            "tree {tree}\nauthor Ada <a@example.org> 1700000000 +0000\ncommitter Ada <a@example.org> 1700000000 \
             +0000\n\nMend it\n"
        );
        let id = self.git(&["hash-object", "-w", "-t", "commit", "--literally", "--stdin"], text.as_bytes());
        Commit::new(id.parse().unwrap(), "refs/heads/main", "Ada", "Mend it", Timestamp::UNIX_EPOCH)
    }

    /// A commit of all that lies in a folder of this machine, made by git itself.
    fn commit_folder(&self, folder: &Path) -> Commit {
        self.git_in(folder, &["--work-tree=.", "add", "-A", "-f", "."], b"");
        let tree = self.git(&["write-tree"], b"");
        self.commit_of(&tree)
    }

    fn open(&self) -> gix::Repository {
        gix::open_opts(self.repo(), gix::open::Options::isolated()).unwrap()
    }

    fn try_read(&self, commit: &Commit, subdirectory: Option<&str>) -> Result<Read, SyncFailure> {
        let limits = GitLimits::default();
        read(&self.open(), commit, (subdirectory, terms(&limits)), &self.snapshots, &Known::default())
    }

    fn read(&self, commit: &Commit) -> Read {
        self.try_read(commit, None).unwrap()
    }

    /// Everything beside the snapshots, with contents and modes.
    fn surroundings(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = fs::symlink_metadata(&path).unwrap();
                if path == self.snapshots.folder() {
                    continue;
                }
                if meta.is_dir() {
                    folders.push(path.clone());
                }
                let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                all.insert(path, (meta.mode(), content));
            }
        }
        all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for revision in self.snapshots.revisions().unwrap() {
            self.snapshots.remove(&revision).unwrap();
        }
    }
}

fn tree_entry(mode: &str, name: &[u8], id: &str) -> Vec<u8> {
    let mut bytes = format!("{mode} ").into_bytes();
    bytes.extend(name);
    bytes.push(0);
    bytes.extend((0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
    bytes
}

fn entry<'a>(read: &'a Read, name: &str) -> &'a CatalogEntry {
    read.catalog.get(&name.parse().unwrap()).unwrap_or_else(|| panic!("{name} is in the catalog"))
}

fn revision(read: &Read, name: &str) -> Revision {
    entry(read, name).runnable().unwrap().revision.clone()
}

/// The findings of a broken pipeline, one per line.
fn findings(read: &Read, name: &str) -> String {
    lines(entry(read, name).pipeline.as_ref().expect_err("the pipeline is broken"))
}

fn lines(findings: &[Diagnostic]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
