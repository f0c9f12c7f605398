//! A file of whole lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// A file that only ever holds whole lines, also when the disk is full in the middle of one.
#[derive(Debug)]
pub(crate) struct Sheet {
    file: File,
    /// Its size.
    pub(crate) bytes: u64,
    /// The lines that were appended through this value.
    pub(crate) lines: u64,
}

impl Sheet {
    /// Opens the file, making it if need be; what it holds already stays.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes, lines: 0 })
    }

    /// Appends `lines` lines and empties `pending`. On an error, `pending` keeps what is not in the file.
    pub(crate) fn append(&mut self, pending: &mut Vec<u8>, lines: u64) -> io::Result<()> {
        let mut written = 0;
        while written < pending.len() {
            match self.file.write(&pending[written..]) {
                Ok(0) => return self.keep_whole_lines(pending, written, io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.keep_whole_lines(pending, written, error),
            }
        }
        self.bytes += written as u64;
        self.lines += lines;
        pending.clear();
        Ok(())
    }

    fn keep_whole_lines(
        &mut self,
        pending: &mut Vec<u8>,
        written: usize,
        error: io::Error,
    ) -> io::Result<()> {
        let whole = memchr::memrchr(b'\n', &pending[..written]).map_or(0, |newline| newline + 1);
        let size = self.bytes + whole as u64;
        if written > whole {
            self.file.set_len(size)?;
        }
        self.bytes = size;
        self.lines += count_lines(&pending[..whole]);
        pending.drain(..whole);
        Err(error)
    }

    /// Empties the file.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.bytes, self.lines) = (0, 0);
        Ok(())
    }

    /// Makes what was written durable, if there is anything.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.file.sync_data()
    }
}

/// How many lines end in `bytes`.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
