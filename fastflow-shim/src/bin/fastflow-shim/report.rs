//! The exit record, and the room that is kept for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use fastflow_shim::{ExitRecord, Outcome, layout};
use rustix::fs::FallocateFlags;

/// Enough for any exit record.
const RESERVED_BYTES: u64 = 8 * 1024;
/// The longest text in it, in bytes; escaped it may need six times as much.
const MAX_MESSAGE_BYTES: usize = 512;

/// Room on the disk, taken before the program starts and can fill it.
#[derive(Debug)]
pub(crate) struct Reserve {
    run_dir: PathBuf,
    file: File,
}

impl Reserve {
    pub(crate) fn take(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join(layout::EXIT_RESERVE);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
        // Blocks that are allocated stay so; blocks that are only written to get their place at the flush.
        if rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVED_BYTES).is_err() {
            file.write_all(&vec![b' '; usize::try_from(RESERVED_BYTES).unwrap_or(0)])?;
            file.sync_data()?;
        }
        Ok(Self { run_dir: run_dir.to_owned(), file })
    }

    /// The same, after that has failed: whether the record can be written is left to the moment.
    pub(crate) fn without_room(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join(layout::EXIT_RESERVE);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path)?;
        Ok(Self { run_dir: run_dir.to_owned(), file })
    }

    /// Writes the record into the reserved room, then lets it appear in one step.
    pub(crate) fn publish(self, mut record: ExitRecord) -> io::Result<()> {
        if let Outcome::ExecFailed { message, .. } = &mut record.outcome {
            shorten(message);
        }
        if let Some(error) = &mut record.log.error {
            shorten(error);
        }
        let mut bytes = serde_json::to_vec(&record)?;
        bytes.push(b'\n');
        rustix::io::retry_on_intr(|| rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Start(0)))?;
        (&self.file).write_all(&bytes)?;
        self.file.set_len(bytes.len() as u64)?;
        self.file.sync_all()?;
        fs::rename(self.run_dir.join(layout::EXIT_RESERVE), self.run_dir.join(layout::EXIT))?;
        File::open(&self.run_dir)?.sync_all()
    }
}

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
}
