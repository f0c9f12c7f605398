//! What lies in files, for whoever reads them afterwards.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use fastflow_shim::{LogRecord, layout};

use super::forms::{Forms, Sight};

/// Larger files there are none that anything of a run could be in.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// How a dump of a process' memory begins, and where its kind stands: `ET_CORE` of elf(5).
const ELF: &[u8] = b"\x7fELF";
const KIND: std::ops::Range<usize> = 16..18;
const CORE: [u8; 2] = [4, 0];

/// A value that is in a file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) sight: Sight,
    /// Whether it shows only when the lines of a log are put together again.
    pub(super) decoded: bool,
}

/// Every value that is in a file below `root`, or in a path there, but for what is below `except`.
pub(super) fn search(root: &Path, except: &Path, forms: &Forms) -> Vec<Found> {
    let mut found = Vec::new();
    for path in files(root, except) {
        let mut add = |bytes: &[u8], decoded| {
            let sights = forms.find(bytes).into_iter();
            found.extend(sights.map(|sight| Found { path: path.clone(), sight, decoded }));
        };
        add(path.as_os_str().as_encoded_bytes(), false);
        let Some(bytes) = read(&path) else { continue };
        add(&bytes, false);
        if path.file_name().is_some_and(|name| name == layout::LOG) {
            for said in decoded(&bytes) {
                add(&said, true);
            }
        }
    }
    found
}

/// Every dump of a process' memory below `root`.
pub(super) fn dumps(root: &Path, except: &Path) -> Vec<PathBuf> {
    let is_dump = |path: &PathBuf| {
        read(path)
            .is_some_and(|bytes| bytes.starts_with(ELF) && bytes.get(KIND).is_some_and(|kind| kind == CORE))
    };
    files(root, except).into_iter().filter(is_dump).collect()
}

/// Everything below `root` that is no folder; links are not followed, and other file systems not entered.
pub(super) fn files(root: &Path, except: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    let device = |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.dev()).ok();
    let of_root = device(root);
    while let Some(folder) = folders.pop() {
        // What is gone before it is looked at tells nobody anything.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    if path != except && device(&path) == of_root {
                        folders.push(path);
                    }
                }
                Ok(_) => found.push(path),
                Err(_) => {}
            }
        }
    }
    found
}

/// What the program has said on each stream, and everybody else, byte by byte.
pub(super) fn decoded(log: &[u8]) -> Vec<Vec<u8>> {
    let mut streams: Vec<(String, Vec<u8>)> = Vec::new();
    for line in log.split(|byte| *byte == b'\n') {
        // The last one may be cut short, where what wrote it was killed.
        let Ok(record) = serde_json::from_slice::<LogRecord<'_>>(line) else { continue };
        let name = record.stream.as_str();
        let index = streams.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            streams.push((name.to_owned(), Vec::new()));
            streams.len() - 1
        });
        record.append_to(&mut streams[index].1).unwrap();
    }
    streams.into_iter().map(|(_, said)| said).collect()
}

/// The bytes of a plain file; none of one that is gone, or is something else.
fn read(path: &Path) -> Option<Vec<u8>> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() {
        return None;
    }
    assert!(metadata.len() <= MAX_FILE_BYTES, "{} is too large to be searched", path.display());
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}
