//! Where a pipeline writes down what it needs.

use std::path::PathBuf;

/// Where a pipeline's dependencies are written down. Paths are relative to the pipeline's folder.
///
/// ```
/// use fastflow_core::environment::DependencySource;
///
/// let source = DependencySource::Requirements { path: "requirements.txt".into() };
/// assert_ne!(source, DependencySource::None);
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum DependencySource {
    /// Nowhere: the standard library is enough.
    None,
    /// In the head of a script (PEP 723), with its `<path>.lock` beside it if there is one.
    Script {
        /// The script.
        path: PathBuf,
    },
    /// In a `uv.lock` beside its `pyproject.toml`.
    UvLock {
        /// The folder that holds both.
        dir: PathBuf,
    },
    /// In a `pylock.toml` (PEP 751).
    Pylock {
        /// The lock.
        path: PathBuf,
    },
    /// In a requirements file that is already a lock.
    RequirementsLock {
        /// The lock.
        path: PathBuf,
    },
    /// In a requirements file that has to be resolved.
    Requirements {
        /// The file.
        path: PathBuf,
    },
    /// In a `pyproject.toml` without a lock.
    Project {
        /// The folder that holds it.
        dir: PathBuf,
    },
}
