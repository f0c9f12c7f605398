//! No database is opened in a child that was forked while one was open.
//!
//! SQLite keeps in memory which locks its process holds. A forked child inherits that, and the kernel does not give it the
//! locks: what it opened then would be written without any, and damaged.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// The process that opened the first store, in the upper half, and how many it has open.
///
/// This is of the whole process because what it guards is: SQLite's tables of locks. It carries nothing between stores. One
/// word, and not a lock: a child may be forked while another thread holds that.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Counts one store of this process, from before its first connection until after its last one.
#[derive(Debug)]
pub(super) struct Opened {
    process: u32,
}

impl Opened {
    /// Fails with `Unsupported` in a child that was forked while its parent had a store open.
    pub(super) fn here() -> Result<Self> {
        let process = std::process::id();
        let counted = OPEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (opener, count) = parts(word);
            (opener == process || count == 0)
                .then(|| word_of(process, if opener == process { count + 1 } else { 1 }))
        });
        match counted {
            Ok(_) => Ok(Self { process }),
            Err(word) => Err(Error::new(
                ErrorKind::Unsupported,
                "this process was forked from one that had a database open, and SQLite would take the locks of that for \
                 its own; open it in a process that has executed a program of its own, or fork before anything is opened",
            )
            .with("opened_by", parts(word).0)),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // A child that drops what it has inherited closes nothing.
        if self.process == std::process::id() {
            OPEN.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn parts(word: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
    (((word >> 32) as u32), word as u32)
}

fn word_of(process: u32, count: u32) -> u64 {
    u64::from(process) << 32 | u64::from(count)
}
