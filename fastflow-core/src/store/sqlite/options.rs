//! How a database file is opened.

/// How a [`SqliteStore`](super::SqliteStore) is opened.
///
/// ```
/// use fastflow_core::store::SqliteOptions;
///
/// let mut options = SqliteOptions::default();
/// options.reserve_bytes = 0;
/// assert!(!options.network_file_system);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Whether the file may lie on a network file system. SQLite cannot keep its promises there; default no.
    pub network_file_system: bool,
    /// Room kept free beside the database for the day the disk is full, in bytes; 16 MiB unless told, 0 for none.
    /// When the disk is full it is given up: open runs then reach their end, and every process that has the database
    /// open refuses new ones, until there is twice this room and the host, or who gave it up, has taken it back.
    pub reserve_bytes: u64,
    /// The file is checked for damage when it is opened and no larger than this, in bytes; 64 MiB unless told, which
    /// takes about 0.1 s. 0 for never, `u64::MAX` for always. Damaged pages of a larger file are found when they
    /// are read.
    pub check_max_bytes: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { network_file_system: false, reserve_bytes: 16 << 20, check_max_bytes: 64 << 20 }
    }
}
