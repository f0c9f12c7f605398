//! Where attempts get those of their secrets that are files.
//!
//! The shim makes a folder for its attempt, and removes it at the end. The entry of the list of live attempts names it
//! before there can be one, so that whoever frees an attempt finds it, whatever became of its shim.

use std::path::{Path, PathBuf};

use crate::{
    AttemptId, Error, ErrorKind, Result,
    executor::in_memory::{check_private, folder_name, make_private},
    removal::remove_folder,
};

/// A folder in memory, of this executor alone, with one folder for each attempt that has such secrets.
#[derive(Clone, Debug)]
pub(super) struct SecretsDir(PathBuf);

impl SecretsDir {
    /// Finds where it can be, and makes nothing. `None` where there is no such place.
    ///
    /// # Errors
    ///
    /// `Unsupported` when `chosen` is no such place.
    pub(super) fn find(chosen: Option<&Path>, state_dir: &Path) -> Result<Option<Self>> {
        let name = folder_name(state_dir);
        if let Some(chosen) = chosen {
            let dir = std::path::absolute(chosen)?.join(name);
            check_private(&dir).map_err(|error| {
                Error::new(ErrorKind::Unsupported, "secrets cannot be given to programs as files there")
                    .with("secrets_dir", chosen.display())
                    .with("help", "set `secrets_dir` to a folder on a tmpfs that this user can write to")
                    .because(error)
            })?;
            return Ok(Some(Self(dir)));
        }
        let of_user = format!("/run/user/{}", rustix::process::geteuid().as_raw());
        let found = ["/dev/shm", &of_user, "/run"].into_iter().find_map(|root| {
            let dir = Path::new(root).join(&name);
            check_private(&dir).ok().map(|()| Self(dir))
        });
        if found.is_none() {
            tracing::warn!(
                "there is no tmpfs that this user can write to: pipelines that name secrets are refused; `secrets_dir` says where else there is one"
            );
        }
        Ok(found)
    }

    /// The folder of an attempt.
    pub(super) fn of(&self, attempt: AttemptId) -> PathBuf {
        self.0.join(attempt.to_string())
    }

    /// Makes sure of the folder for all of them: somebody may have cleaned up there.
    pub(super) fn make(&self) -> Result<()> {
        make_private(&self.0)
    }
}

/// Removes the folder of an attempt of which nothing runs. Fine when there is none.
pub(super) fn remove(dir: Option<&Path>) -> Result<()> {
    let Some(dir) = dir else { return Ok(()) };
    remove_folder(dir).map_err(|error| Error::from(error).with("secrets_dir", dir.display()))
}
