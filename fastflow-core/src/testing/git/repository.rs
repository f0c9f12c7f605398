//! A repository that is written to and served at once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A repository in a folder that goes away with it. What is committed is there for whoever fetches, at once.
///
/// ```no_run
/// use fastflow_core::testing::git::Repository;
///
/// let repository = Repository::new();
/// repository.write("etl/main.py", "print(1)\n");
/// assert_eq!(repository.commit("Add etl"), repository.id("HEAD"));
/// ```
#[derive(Debug)]
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    /// The name of the served folder below [`root`](Self::root).
    pub const NAME: &str = "pipelines.git";
    /// Its author, committer and tagger.
    pub const AUTHOR: &str = "Ada Lovelace";

    /// An empty one; `main` is its branch.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let repository = Self { folder: TempDir::new().unwrap() };
        fs::create_dir(repository.work()).unwrap();
        let folder = format!("--separate-git-dir={}", repository.path().display());
        repository.git(&["init", "--quiet", "--initial-branch=main", &folder]);
        repository
    }

    /// The folder that servers serve.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The repository itself, without the files that it is written from.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(Self::NAME)
    }

    /// The files that the next commit holds.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Writes a file of the next commit, and its folders.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Removes a file or a folder of the next commit.
    pub fn remove(&self, path: &str) {
        let path = self.work().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Commits all files as they are, even if nothing changed, and says its name.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.id("HEAD")
    }

    /// Goes on with this branch, made here if there is none.
    pub fn branch(&self, name: &str) {
        let known = format!("refs/heads/{name}");
        if self.try_git(&["rev-parse", "--quiet", "--verify", &known]).is_some() {
            self.git(&["checkout", "--quiet", name]);
        } else {
            self.git(&["checkout", "--quiet", "-b", name]);
        }
    }

    /// Sets the branch and the files back to `revision`: what was committed since is gone from it.
    pub fn reset(&self, revision: &str) {
        self.git(&["reset", "--quiet", "--hard", revision]);
    }

    /// Makes an annotated tag of the last commit, in place of one of the same name.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", "--force", "--annotate", "--message", name, name]);
    }

    /// What a revision names, peeled to a commit.
    pub fn id(&self, revision: &str) -> String {
        self.git(&["rev-parse", &format!("{revision}^{{commit}}")])
    }

    /// Runs git with this repository, and returns what it wrote, without the end of the line.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn try_git(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command().args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Git, with nobody's configuration.
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(self.work()).env("HOME", self.root());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), Self::AUTHOR);
            command.env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        command
    }
}
