//! What a tree's entry is, by its mode.

use gix::objs::tree::EntryMode;

/// What a tree's entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Folder,
    File,
    /// A file that may be executed.
    Program,
    Link,
    Submodule,
    /// What no git of today writes.
    Other(u16),
}

impl Mode {
    /// By the whole mode: git itself looks at some of its bits only.
    pub(super) fn of(mode: EntryMode) -> Self {
        match mode.value() {
            0o040_000 => Self::Folder,
            // The second one is by gits of the first years.
            0o100_644 | 0o100_664 => Self::File,
            0o100_755 => Self::Program,
            0o120_000 => Self::Link,
            0o160_000 => Self::Submodule,
            other => Self::Other(other),
        }
    }

    /// Why such an entry is not taken.
    pub(super) fn refusal(self) -> String {
        match self {
            Self::Submodule => {
                "found a submodule, which is not fetched; replace it by its files, or take it out".to_owned()
            }
            Self::Other(mode) => {
                format!("found the mode {mode:o}, expected a file, a folder or a link; commit it anew")
            }
            Self::Folder => "found a folder, expected something else".to_owned(),
            Self::File | Self::Program => "found a file, expected a folder".to_owned(),
            Self::Link => "found a link, expected a folder".to_owned(),
        }
    }
}
