//! Takes secrets out of what programs say.
//!
//! From each value follow the byte strings by which it shows: itself, its lines, and what the usual encodings make of
//! them. In a stream of bytes every occurrence of every one of these [`Patterns`] is marked, and each longest run of marked
//! bytes becomes `***`; so matches that overlap or touch leave nothing of each other. A [`Masker`] does this to a stream
//! as it comes and holds back only what may be the beginning of an occurrence.
//!
//! This prevents accidents. A program that wants its secrets seen can always write them so that nobody recognizes them:
//! backwards, encrypted, one character a line, or in two encodings at once.

mod buffer;
mod command;
mod encode;
mod masker;
mod patterns;
mod scout;
mod trie;

#[cfg(test)]
mod python;
#[cfg(test)]
mod tests;

pub use self::{
    buffer::SecretBuffer,
    command::{AddMask, MAX_COMMAND_BYTES, Piece},
    masker::Masker,
    patterns::{Patterns, TooManyPatterns},
};

/// The shortest value, and the shortest pattern, that is masked, in bytes: a shorter one is found by chance in what it has
/// nothing to do with.
pub const MIN_BYTES: usize = 6;
/// The shortest line of a value of several lines that is masked by itself, in bytes.
pub const MIN_LINE_BYTES: usize = 8;
/// The most that the values of one attempt may have together, in bytes.
pub const MAX_VALUES_BYTES: usize = 256 * 1024;
/// The most that the patterns of one attempt may have together, in bytes.
///
/// A value may be within [`MAX_VALUES_BYTES`] and its patterns not within this. They have about 12 times its bytes where
/// it consists of letters and digits, 20 times where it is base64 in one line, 75 times where it is a key in PEM, whose
/// lines are looked for by themselves, and up to 300 times where encodings change most of its characters: about 105 KiB of
/// keys are the most. [`Patterns::new`] says beforehand whether values can be masked.
///
/// Each byte of a pattern takes 16 bytes of memory, where none begins as another one does; of keys in PEM half of that.
/// While patterns are made they take half as much again.
pub const MAX_PATTERNS_BYTES: usize = 8 * 1024 * 1024;
/// The largest file that is masked as a whole when a program has ended, in bytes.
pub const MAX_MASKED_FILE_BYTES: u64 = 1024 * 1024;
/// What is written in the place of a secret.
pub const REPLACEMENT: &[u8] = b"***";
