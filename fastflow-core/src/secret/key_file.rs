//! Master keys in files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};
use zeroize::Zeroizing;

use super::{MasterKey, MasterKeyId};
use crate::{Entropy, Error, ErrorKind, Result, durable::flush_folder};

/// The largest file, in bytes: a key and blanks around it.
const MAX_FILE_BYTES: usize = 256;
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// The permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Writes a new master key to a file that only this user can read, and that is not there yet. Folders that are missing are
/// made, for this user alone. When it returns, the key outlasts a crash of the machine. Blocks.
///
/// The file holds the key in base64, 44 characters, and a line end. Keep a copy elsewhere: without it, nothing that it has
/// sealed ever opens again.
///
/// ```
/// use fastflow_core::{ErrorKind, OsEntropy, secret::generate_key_file};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// let path = place.path().join("keys/master.key");
/// let id = generate_key_file(&path, &OsEntropy)?;
/// println!("secrets are sealed with the key {id} in {}", path.display());
/// assert_eq!(generate_key_file(&path, &OsEntropy).unwrap_err().kind(), ErrorKind::AlreadyExists);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `AlreadyExists` when there is such a file, which stays as it is, whatever it is; otherwise why it cannot be written.
pub fn generate_key_file(path: &Path, entropy: &dyn Entropy) -> Result<MasterKeyId> {
    let key = MasterKey::generate(entropy)?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::new(
            ErrorKind::AlreadyExists,
            "there is such a file, and no key is ever written over another one",
        )
        .with("path", path.display()),
        _ => Error::from(error).with("path", path.display()),
    };
    let folder = folder_of(path);
    make_folder(folder).map_err(|error| Error::from(error).with("path", folder.display()))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path).map_err(failed)?;
    write(file, &key).and_then(|()| flush_folder(folder)).map_err(|error| {
        // Nobody has seen this key, and half of one is in the way of the next try.
        let _ = fs::remove_file(path);
        failed(error)
    })?;
    Ok(key.id())
}

fn write(mut file: File, key: &MasterKey) -> io::Result<()> {
    // The umask may have taken permissions away from its owner, too.
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.write_all(key.to_line().as_bytes())?;
    file.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what is missing of a folder durable: the names of new ones are in the folders above.
fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|part| !part.as_os_str().is_empty() && !part.exists())
        .map(PathBuf::from)
        .collect();
    for part in missing.iter().rev() {
        match fs::DirBuilder::new().mode(FOLDER_MODE).create(part) {
            // Somebody else was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && part.is_dir() => {}
            made => made?,
        }
        flush_folder(folder_of(part))?;
    }
    Ok(())
}

/// The text of a file that nobody but its owner, who is this user or root, can read or change. Links are followed, as
/// Kubernetes mounts secrets behind them; what counts is the file. Blocks.
pub(super) fn read_key_file(path: &Path) -> Result<Zeroizing<String>> {
    let failed = |error: io::Error| Error::from(error).with("path", path.display());
    let refused = |message: &'static str| Error::new(ErrorKind::Denied, message).with("path", path.display());
    let invalid =
        |message: &'static str| Error::new(ErrorKind::Invalid, message).with("path", path.display());
    // Without waiting for whoever might write into a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    // Of the open file: the name may lead to another one in between.
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(invalid("the master key is to be read from this, and it is no file"));
    }
    if found.uid() != geteuid().as_raw() && found.uid() != 0 {
        return Err(refused("the file of the master key belongs to another user").with("uid", found.uid()));
    }
    if found.mode() & OTHERS != 0 {
        return Err(refused("others can read or change the file of the master key, too: `chmod 600` it")
            .with("mode", format!("{:o}", found.mode() & 0o777)));
    }
    let mut bytes = Zeroizing::new([0; MAX_FILE_BYTES + 1]);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if length > MAX_FILE_BYTES {
        return Err(
            invalid("the file is too large to be that of a master key").with("max_bytes", MAX_FILE_BYTES)
        );
    }
    let text =
        str::from_utf8(&bytes[..length]).map_err(|_| invalid("the file of the master key is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
