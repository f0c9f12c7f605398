//! Files that the program leaves for others to read.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use fastflow_shim::{
    clock,
    mask::{MAX_MASKED_FILE_BYTES, Patterns},
};
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use zeroize::Zeroizing;

use crate::{log::Log, masking::Masking};

/// What of a file's mode the one in its place gets: who may read, write and execute it.
const PERMISSIONS: u32 = 0o777;

/// Masks secrets in these files. Nobody writes to them any more, but whatever has written may have left links and pipes in
/// their place. What cannot be masked is removed: nobody may read it.
pub(crate) fn mask(files: &[PathBuf], working_dir: &Path, masking: &mut Masking, log: &mut Log) {
    if masking.patterns().is_empty() {
        return;
    }
    for path in files {
        let Some((folder, name)) = path.parent().zip(path.file_name()) else { continue };
        let folder = match open_folder(folder, working_dir) {
            Ok(folder) => folder,
            // Nobody who follows no links finds anything there.
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let message = format!(
                        "{} cannot be looked at, and nothing in it was masked: {error}",
                        path.display()
                    );
                    log.say(&masking.text(&message));
                }
                continue;
            }
        };
        match mask_file(&folder, name, masking.patterns()) {
            Ok(0) => {}
            Ok(masked) => {
                masking.count(masked);
                let times = if masked == 1 { "once".to_owned() } else { format!("{masked} times") };
                let message = format!(
                    "secrets were masked in {}, {times}: whoever reads it finds *** in their place, and it may be of no valid format any more",
                    path.display()
                );
                log.say(&masking.text(&message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let removed = rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(io::Error::from);
                let end = match removed {
                    Ok(()) => "it was removed".to_owned(),
                    Err(error) => format!("it could not be removed ({error})"),
                };
                let message = format!("secrets cannot be masked in {}: {error}; {end}", path.display());
                log.say(&masking.text(&message));
            }
        }
    }
}

/// Opens a folder. Where the program may have made the way to it, no link is on that way; the rest is the caller's.
fn open_folder(path: &Path, working_dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(inside) = path.strip_prefix(working_dir) else {
        return Ok(rustix::fs::open(path, flags, Mode::empty())?);
    };
    let mut folder = rustix::fs::open(working_dir, flags, Mode::empty())?;
    for part in inside {
        folder = rustix::fs::openat(&folder, part, flags, Mode::empty())?;
    }
    Ok(folder)
}

/// Masks one file, and counts the replacements. An error means that it is as it was.
fn mask_file(folder: &impl AsFd, name: &OsStr, patterns: &Patterns) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => io::Error::new(io::ErrorKind::InvalidData, "it is a link"),
        error => error.into(),
    });
    let file = File::from(file?);
    let metadata = rustix::fs::fstat(&file)?;
    if !rustix::fs::FileType::from_raw_mode(metadata.st_mode).is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file"));
    }
    let size = u64::try_from(metadata.st_size).unwrap_or(0);
    if size > MAX_MASKED_FILE_BYTES {
        let message = format!("it has more than {MAX_MASKED_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(size).map_err(io::Error::other)? + 1]);
    let length = fill(&file, &mut bytes)?;
    if length == bytes.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has more bytes than it says"));
    }
    let (masked, count) = patterns.mask(&bytes[..length]);
    if count > 0 {
        replace(folder, name, &masked, Mode::from_raw_mode(metadata.st_mode & PERMISSIONS))?;
    }
    Ok(count)
}

/// Reads until the file or the memory ends. That never grows: where it was before, secrets would stay.
fn fill(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Puts a new file into the place of an old one, in one step.
fn replace(folder: &impl AsFd, name: &OsStr, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let aside = format!(".masked.{}.{}", std::process::id(), clock::now().as_nanosecond());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(folder, &*aside, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file
        .write_all(bytes)
        .and_then(|()| Ok(rustix::fs::fchmod(&file, mode)?))
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(rustix::fs::renameat(folder, &*aside, folder, name)?));
    written.inspect_err(|_| {
        let _ = rustix::fs::unlinkat(folder, &*aside, AtFlags::empty());
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::OwnedFd};

    use super::*;

    /// A file of the kernel's: it says that it is empty.
    #[test]
    fn a_file_that_has_more_than_it_says_is_not_taken_for_masked() {
        let folder: OwnedFd = File::open("/proc/self").unwrap().into();
        let patterns = Patterns::new([b"secret".as_slice()]).unwrap();
        assert!(!fs::read("/proc/self/status").unwrap().is_empty());
        let error = mask_file(&folder, OsStr::new("status"), &patterns).unwrap_err();
        assert!(error.to_string().contains("more bytes than it says"), "{error}");
    }
}
