//! How large a pipeline's folder may be.

/// What a pipeline's folder may hold. More is a configuration error of that pipeline.
///
/// ```
/// use fastflow_core::source::TreeLimits;
///
/// let small = TreeLimits { max_files: 100, ..TreeLimits::default() };
/// assert!(small.max_bytes > 0);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TreeLimits {
    /// Files, links and folders together.
    pub max_files: usize,
    /// Bytes of all files together.
    pub max_bytes: u64,
    /// Folders inside each other.
    pub max_depth: usize,
}

impl TreeLimits {
    /// The default of `max_files`: 20,000.
    pub const MAX_FILES: usize = 20_000;
    /// The default of `max_bytes`: 1 GiB.
    pub const MAX_BYTES: u64 = 1 << 30;
    /// The default of `max_depth`: 32.
    pub const MAX_DEPTH: usize = 32;
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { max_files: Self::MAX_FILES, max_bytes: Self::MAX_BYTES, max_depth: Self::MAX_DEPTH }
    }
}
