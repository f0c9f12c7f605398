//! One pack in place of many small ones: each fetch of something new brings one, and all of them are looked through for
//! each object.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::{PoisonError, atomic::AtomicBool},
};

use gix::{
    hash::{self, Hasher},
    odb::pack::{Bundle, bundle::write::Options},
    progress::Discard,
};

use super::{Mirror, failure, place};
use crate::{Error, ErrorKind, Result, durable};

/// So many small packs may lie beside each other.
const MAX_SMALL: usize = 50;
/// A pack of this size is not written anew, so that what was written often is never much: 32 MiB.
const LARGE_BYTES: u64 = 32 << 20;
/// "PACK", the version, and the number of objects.
const HEAD_BYTES: usize = 12;
const VERSION: u32 = 2;
/// The sum at the end.
const SUM_BYTES: u64 = 20;
/// As for what is fetched.
const MAX_OBJECT_BYTES: usize = 1 << 30;

impl Mirror {
    /// Makes one pack of the small ones, if they are many. It is no failure if that does not work: what is here is read
    /// from many packs as well.
    pub(super) fn join_packs(&self, repository: &Path, interrupt: &AtomicBool) {
        let packs = repository.join("objects/pack");
        match small(&packs) {
            Ok(small) if small.len() > MAX_SMALL => {
                if let Err(error) = self.join(&packs, &small, interrupt) {
                    tracing::warn!(%error, remote = %self.remote, "cannot make one pack of many");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, remote = %self.remote, "cannot list the packs"),
        }
    }

    fn join(&self, packs: &Path, small: &[PathBuf], interrupt: &AtomicBool) -> Result<()> {
        let failed = |error| place::failed(error, packs);
        let joined = Joined::open(small).map_err(failed)?;
        let options = Options { alloc_limit_bytes: Some(MAX_OBJECT_BYTES), ..Options::default() };
        let written = Bundle::write_to_directory(
            &mut BufReader::new(joined),
            Some(packs),
            &mut Discard,
            interrupt,
            None::<gix::OdbHandle>,
            hash::Kind::Sha1,
            options,
        );
        let written = written.map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the packs cannot be read").because(failure::words(&error))
        })?;
        if let Some(keep) = &written.keep_path {
            place::remove(keep)?;
        }
        let paths = [&written.data_path, &written.index_path];
        let [Some(pack), Some(index)] = paths else { return Ok(()) };
        for path in [pack, index] {
            File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        durable::flush_folder(packs).map_err(failed)?;
        let _alone = self.replacing.write().unwrap_or_else(PoisonError::into_inner);
        for path in small.iter().filter(|path| *path != pack) {
            // The index first: a pack without one is a left-over.
            place::remove(&path.with_extension("idx"))?;
            place::remove(path)?;
        }
        Ok(())
    }
}

/// The packs that are small.
fn small(packs: &Path) -> io::Result<Vec<PathBuf>> {
    let mut small = Vec::new();
    for entry in place::list(packs)? {
        let path = entry.path();
        let is_pack = path.extension().is_some_and(|end| end == "pack");
        if is_pack && entry.metadata()?.len() < LARGE_BYTES {
            small.push(path);
        }
    }
    Ok(small)
}

/// The objects of several packs as one. They stay as they are: what one is a difference to lies at the same distance
/// before it as it did.
struct Joined {
    parts: Box<dyn Read>,
    hasher: Option<Hasher>,
    sum: io::Cursor<Vec<u8>>,
}

impl Joined {
    fn open(packs: &[PathBuf]) -> io::Result<Self> {
        let mut count = 0_u32;
        let mut bodies: Box<dyn Read> = Box::new(io::empty());
        for path in packs {
            let mut file = File::open(path)?;
            let bytes = file.metadata()?.len().checked_sub(HEAD_BYTES as u64 + SUM_BYTES);
            let mut head = [0; HEAD_BYTES];
            file.read_exact(&mut head)?;
            let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (Some(bytes), true) = (bytes, head.starts_with(b"PACK") && number(4) == VERSION) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a pack"));
            };
            count = count.saturating_add(number(8));
            bodies = Box::new(bodies.chain(file.take(bytes)));
        }
        let mut head = b"PACK".to_vec();
        head.extend(VERSION.to_be_bytes());
        head.extend(count.to_be_bytes());
        let parts = Box::new(io::Cursor::new(head).chain(bodies));
        Ok(Self { parts, hasher: Some(hash::hasher(hash::Kind::Sha1)), sum: io::Cursor::default() })
    }
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(hasher) = &mut self.hasher {
            let read = self.parts.read(buffer)?;
            hasher.update(&buffer[..read]);
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
        }
        if let Some(hasher) = self.hasher.take() {
            let sum = hasher.try_finalize().map_err(|error| io::Error::other(error.to_string()))?;
            self.sum = io::Cursor::new(sum.as_slice().to_vec());
        }
        self.sum.read(buffer)
    }
}
