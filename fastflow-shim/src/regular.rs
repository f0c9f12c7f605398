//! Files of run directories, which programs can write to: whatever they put there is read as a file or not at all.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::{Mode, OFlags};

/// Opens a regular file for reading. A link that somebody has put there would lead to what its reader may see and
/// the one who put it may not; a pipe would hold its reader up for ever.
///
/// # Errors
/// When it cannot be opened, or is something else: see [`is_foreign`].
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular(path)) }
}

/// Reads a regular file of at most `max_bytes`.
///
/// # Errors
/// When it cannot be read, is larger, or is something else: see [`is_foreign`].
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    read_all(open(path)?, path, max_bytes)
}

/// Reads the regular file `name` of at most `max_bytes` in the folder `dir`, which is no link either: whoever may write
/// to the place of the folder cannot lead its reader to another one.
///
/// # Errors
/// As [`read`].
pub fn read_in(dir: &Path, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(dir, folder, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&folder, name, flags, Mode::empty())?);
    let path = dir.join(name);
    if !file.metadata()?.is_file() {
        return Err(not_regular(&path));
    }
    read_all(file, &path, max_bytes)
}

fn read_all(file: File, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let message = format!("{} has more than {max_bytes} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

fn not_regular(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is no regular file", path.display()))
}

/// Whether an error says that what lies there is not what was looked for, and never will be.
pub fn is_foreign(error: &io::Error) -> bool {
    let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    is_link || matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("pipe"));
        fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&file, 7).unwrap(), b"content");
        for foreign in [&link, &pipe, &dir.path().to_owned()] {
            let error = read(foreign, 7).unwrap_err();
            assert!(is_foreign(&error), "{}: {error}", foreign.display());
        }
        assert!(is_foreign(&read(&file, 6).unwrap_err()));
        assert!(!is_foreign(&read(&dir.path().join("none"), 6).unwrap_err()));
    }

    #[test]
    fn a_folder_that_is_a_link_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("file"), "content").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        std::os::unix::fs::symlink(real.join("file"), real.join("other")).unwrap();
        assert_eq!(read_in(&real, "file", 7).unwrap(), b"content");
        assert!(read_in(&link, "file", 7).is_err());
        assert!(read_in(&real, "other", 7).is_err());
        assert!(is_foreign(&read_in(&real, "file", 6).unwrap_err()));
    }
}
