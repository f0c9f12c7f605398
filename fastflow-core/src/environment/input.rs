//! Everything an environment is resolved from, as it lies in the pipeline's folder.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    EnvironmentFailure, EnvironmentFailureKind, EnvironmentRequest,
    digest::Digest,
    requirement::{self, Line},
    stamp::Stamps,
};
use crate::pipeline::DependencySource;

/// The largest file that is read as text.
const TEXT_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The most files that a requirements file may include, itself counted.
const INCLUDED_MAX: usize = 64;
/// The largest package file that may lie in the pipeline's folder.
const ARCHIVE_MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The most files in a folder of packages.
const FIND_LINKS_MAX: usize = 10_000;

/// What a request depends on, and how it looked.
#[derive(Debug)]
pub(super) struct Input {
    /// The folder that uv works in.
    pub(super) directory: PathBuf,
    /// Names the content: equal inputs have equal digests, wherever they lie.
    pub(super) digest: String,
    /// Names the settings of uv in the folder, all that it may heed when it installs. None on this machine, where
    /// environments do not depend on them.
    pub(super) settings: Option<String>,
    /// What of the input is the lock already, if it needs no resolving.
    pub(super) lock: Option<String>,
    /// Options that the installation needs as well as the resolution, one per line.
    pub(super) options: String,
    /// `.python-version` of the folder.
    pub(super) pinned_python: Option<String>,
    /// The files and absences this was read from.
    pub(super) stamps: Stamps,
}

impl Input {
    /// Reads the input of `request`. Blocks.
    pub(super) fn read(request: &EnvironmentRequest) -> Result<Self, EnvironmentFailure> {
        let folder = std::path::absolute(&request.folder)
            .and_then(|folder| fs::metadata(&folder).map(|_| folder))
            .map_err(|error| EnvironmentFailure::io("read the pipeline's folder", &request.folder, &error))?;
        let mut reader = Reader {
            folder,
            digest: Digest::new("fastflow-input-1"),
            stamps: Stamps::default(),
            options: String::new(),
            included: BTreeSet::new(),
        };
        let (directory, lock) = reader.source(&request.dependencies)?;
        let pinned_python = reader.pinned_python()?;
        let elsewhere = !request.place.is_this_machine();
        let settings = elsewhere.then(|| reader.settings(&directory)).transpose()?;
        Ok(Self {
            directory,
            settings,
            digest: reader.digest.finish(),
            lock,
            options: reader.options,
            pinned_python,
            stamps: reader.stamps,
        })
    }
}

struct Reader {
    folder: PathBuf,
    digest: Digest,
    stamps: Stamps,
    options: String,
    included: BTreeSet<PathBuf>,
}

impl Reader {
    fn source(&mut self, source: &DependencySource) -> Result<(PathBuf, Option<String>), EnvironmentFailure> {
        let folder = self.folder.clone();
        match source {
            DependencySource::None => Ok((folder, Some(String::new()))),
            DependencySource::Requirements { path } => {
                self.digest.add("requirements");
                self.optional(&folder.join("uv.toml"))?;
                self.optional(&folder.join("pyproject.toml"))?;
                self.requirements(&folder.join(path), None)?;
                Ok((folder, None))
            }
            DependencySource::RequirementsLock { path } => {
                self.digest.add("requirements-lock");
                let mut lock = String::new();
                self.requirements(&folder.join(path), Some(&mut lock))?;
                Ok((folder, Some(lock)))
            }
            DependencySource::Pylock { path } => {
                self.digest.add("pylock");
                let lock = self.text(&folder.join(path))?;
                let directory = folder.join(path).parent().unwrap_or(&folder).to_owned();
                Ok((directory, Some(lock)))
            }
            DependencySource::Script { path } => {
                self.digest.add("script");
                let script = folder.join(path);
                let metadata = script_metadata(&self.text_unhashed(&script)?);
                self.digest.add(metadata);
                self.optional(&lock_of_script(&script))?;
                self.optional(&folder.join("uv.toml"))?;
                Ok((folder, None))
            }
            DependencySource::UvLock { dir } | DependencySource::Project { dir } => {
                let is_locked = matches!(source, DependencySource::UvLock { .. });
                self.digest.add(if is_locked { "uv-lock" } else { "project" });
                let directory = folder.join(dir);
                self.text(&directory.join("pyproject.toml"))?;
                if is_locked {
                    self.text(&directory.join("uv.lock"))?;
                }
                self.optional(&directory.join("uv.toml"))?;
                Ok((directory, None))
            }
        }
    }

    /// Reads a requirements file and all it includes. With `lock`, the packages are collected there.
    fn requirements(&mut self, path: &Path, mut lock: Option<&mut String>) -> Result<(), EnvironmentFailure> {
        if !self.included.insert(path.to_owned()) {
            return Ok(());
        }
        if self.included.len() > INCLUDED_MAX {
            return Err(refused(
                format!("{} includes more than {INCLUDED_MAX} files", path.display()),
                "put the requirements into fewer files",
            ));
        }
        let text = self.text(path)?;
        let base = path.parent().unwrap_or(&self.folder).to_owned();
        for line in requirement::lines(&text) {
            match line {
                Line::Include(to) if !to.contains("://") => {
                    let to = self.inside(&base, &to)?;
                    self.requirements(&to, lock.as_deref_mut())?;
                }
                Line::Include(_) => {}
                Line::Editable(what) => return Err(editable(&what)),
                Line::FindLinks(place) => self.find_links(&base, &place)?,
                Line::Option(option) => {
                    self.options.push_str(&option);
                    self.options.push('\n');
                }
                Line::Local(package) => {
                    let at = self.inside(&self.folder.clone(), &package)?;
                    self.archive(&at, &package)?;
                    collect(lock.as_deref_mut(), &package);
                }
                Line::Package(text) | Line::Index(text) => collect(lock.as_deref_mut(), &text),
            }
        }
        Ok(())
    }

    fn find_links(&mut self, base: &Path, place: &str) -> Result<(), EnvironmentFailure> {
        let mut place = place.to_owned();
        if !place.contains("://") {
            let at = self.inside(base, &place)?;
            self.stamps.note(at.clone());
            if at.is_dir() {
                let names = sorted_names(&at)
                    .map_err(|error| EnvironmentFailure::io("read the directory", &at, &error))?;
                for name in names.iter().take(FIND_LINKS_MAX) {
                    if at.join(name).is_file() {
                        self.archive(&at.join(name), &name.to_string_lossy())?;
                    }
                }
            }
            place = at.to_string_lossy().into_owned();
        }
        self.options.push_str("--find-links ");
        self.options.push_str(&place);
        self.options.push('\n');
        Ok(())
    }

    /// A package file in the pipeline's folder: its content is part of the input.
    fn archive(&mut self, at: &Path, named: &str) -> Result<(), EnvironmentFailure> {
        self.stamps.note(at.to_owned());
        let failed = |error: &io::Error| EnvironmentFailure::io("read", at, error);
        let metadata = match fs::metadata(at) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(&error)),
        };
        if metadata.is_dir() {
            return Err(directory_package(named));
        }
        if metadata.len() > ARCHIVE_MAX_BYTES {
            return Err(refused(
                format!("the package {named} has {} bytes; the limit is {ARCHIVE_MAX_BYTES}", metadata.len()),
                "serve it from an index",
            ));
        }
        let mut content = Digest::new("fastflow-archive-1");
        let mut file = File::open(at).map_err(|error| failed(&error))?;
        let mut chunk = vec![0; 256 * 1024];
        loop {
            match file.read(&mut chunk).map_err(|error| failed(&error))? {
                0 => break,
                length => content.add(&chunk[..length]),
            }
        }
        self.digest.add(content.finish());
        Ok(())
    }

    fn pinned_python(&mut self) -> Result<Option<String>, EnvironmentFailure> {
        let path = self.folder.join(".python-version");
        self.stamps.note(path.clone());
        if !path.exists() {
            return Ok(None);
        }
        let text = read_text(&path)?;
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(first.map(str::to_owned))
    }

    /// uv looks for its settings where it works, and above.
    fn settings(&mut self, directory: &Path) -> Result<String, EnvironmentFailure> {
        let mut digest = Digest::new("fastflow-settings-1");
        let folder = self.folder.clone();
        for above in directory.ancestors().take_while(|above| above.starts_with(&folder)) {
            for name in ["uv.toml", "pyproject.toml"] {
                let path = above.join(name);
                self.stamps.note(path.clone());
                if path.exists() {
                    digest.add_path(path.strip_prefix(&folder).unwrap_or(&path));
                    digest.add(read_text(&path)?);
                }
            }
        }
        Ok(digest.finish())
    }

    fn inside(&self, base: &Path, path: &str) -> Result<PathBuf, EnvironmentFailure> {
        requirement::inside(&self.folder, base, path).ok_or_else(|| {
            refused(
                format!("`{path}` leads out of the pipeline's folder"),
                "put the file into the pipeline's folder; a run sees nothing else",
            )
        })
    }

    fn text_unhashed(&mut self, path: &Path) -> Result<String, EnvironmentFailure> {
        self.stamps.note(path.to_owned());
        read_text(path)
    }

    fn text(&mut self, path: &Path) -> Result<String, EnvironmentFailure> {
        let text = self.text_unhashed(path)?;
        self.digest.add_path(path.strip_prefix(&self.folder).unwrap_or(path));
        self.digest.add(&text);
        Ok(text)
    }

    fn optional(&mut self, path: &Path) -> Result<(), EnvironmentFailure> {
        if path.exists() {
            self.text(path)?;
        } else {
            self.stamps.note(path.to_owned());
        }
        Ok(())
    }
}

/// Where `uv lock --script` puts the lock of a script.
pub(super) fn lock_of_script(script: &Path) -> PathBuf {
    let mut name = script.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Refuses what a lock names that cannot be made immutable.
pub(super) fn check_lock(text: &str, is_pylock: bool) -> Result<(), EnvironmentFailure> {
    if !is_pylock {
        for line in requirement::lines(text) {
            if let Line::Editable(what) = line {
                return Err(editable(&what));
            }
        }
        return Ok(());
    }
    let lock: toml::Table = text.parse().map_err(|error| {
        refused(format!("the pylock is not valid TOML: {error}"), "write it again with its tool")
    })?;
    let packages = lock.get("packages").and_then(toml::Value::as_array).into_iter().flatten();
    for package in packages {
        let name = package.get("name").and_then(toml::Value::as_str).unwrap_or("a package");
        if let Some(directory) = package.get("directory") {
            let is_editable = directory.get("editable").and_then(toml::Value::as_bool).unwrap_or(false);
            return Err(if is_editable { editable(name) } else { directory_package(name) });
        }
    }
    Ok(())
}

fn collect(lock: Option<&mut String>, package: &str) {
    if let Some(lock) = lock {
        lock.push_str(package);
        lock.push('\n');
    }
}

fn editable(what: &str) -> EnvironmentFailure {
    refused(
        format!("`{what}` is an editable requirement: it would change under a running pipeline"),
        "put its modules into the pipeline's folder, or build a wheel of it and require that",
    )
}

fn directory_package(what: &str) -> EnvironmentFailure {
    refused(
        format!("`{what}` is a package in a directory: it has to be built, and its content has no hash"),
        "put its modules into the pipeline's folder, or build a wheel of it (`uv build`) and require that",
    )
}

fn refused(message: String, help: &str) -> EnvironmentFailure {
    EnvironmentFailure::new(EnvironmentFailureKind::ResolutionFailed, message).with_help(help)
}

fn read_text(path: &Path) -> Result<String, EnvironmentFailure> {
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => refused(
            format!("cannot read {}: {error}", path.display()),
            "the file is part of the dependencies",
        ),
        _ => EnvironmentFailure::io("read", path, error),
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TEXT_MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > TEXT_MAX_BYTES {
        return Err(refused(
            format!("{} is larger than {TEXT_MAX_BYTES} bytes", path.display()),
            "dependencies are written down in less",
        ));
    }
    Ok(text)
}

fn sorted_names(at: &Path) -> io::Result<BTreeSet<std::ffi::OsString>> {
    fs::read_dir(at)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// The comment block that holds a script's metadata (PEP 723), without its code: code may change and need
/// nothing new.
fn script_metadata(script: &str) -> String {
    let mut lines = script.lines().skip_while(|line| line.trim_end() != "# /// script");
    let mut block = String::new();
    for line in lines.by_ref().take_while(|line| line.starts_with('#')) {
        block.push_str(line.trim_end());
        block.push('\n');
    }
    block
}
