//! Which names a tree's entries may have: those that mean the same file on every file system.

use std::fmt;

use gix_validate::path::{component, component::Options as Disguises, component_is_windows_device};
use unicode_normalization::UnicodeNormalization;

/// As much as file systems take.
const MAX_NAME_BYTES: usize = 255;
/// The longest path inside a pipeline, so that it fits below any folder of snapshots.
pub(super) const MAX_PATH_BYTES: usize = 1024;

/// The rule that a name breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NameRule {
    Empty,
    Relative,
    Separator,
    Control,
    NotUtf8,
    TooLong,
    Git,
    Device,
    Ending,
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "this name is empty",
            Self::Relative => "this name stands for another folder",
            Self::Separator => "this name holds a slash or a backslash",
            Self::Control => "this name holds a control character",
            Self::NotUtf8 => "this name is not UTF-8",
            Self::TooLong => "this name is longer than 255 bytes",
            Self::Git => "this name is git's own folder, or is taken for it by some file systems",
            Self::Device => "this name is a device on Windows, whatever its ending",
            Self::Ending => "this name ends in a dot or a space, which some file systems drop",
        })
    }
}

/// The name as text, or the rule that it breaks.
pub(super) fn check(name: &[u8]) -> Result<&str, NameRule> {
    if name.is_empty() {
        return Err(NameRule::Empty);
    }
    if name == b"." || name == b".." {
        return Err(NameRule::Relative);
    }
    if name.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
        return Err(NameRule::Separator);
    }
    let text = std::str::from_utf8(name).map_err(|_| NameRule::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(NameRule::Control);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameRule::TooLong);
    }
    // All that hides `.git` from a plain comparison: case, ignorable code points, short names, streams, endings.
    let options = Disguises { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    if component(name.into(), None, options).is_err() {
        return Err(NameRule::Git);
    }
    // Windows reads these three digits as the plain ones.
    let plain = text.replace('¹', "1").replace('²', "2").replace('³', "3");
    if component_is_windows_device(plain.as_bytes().into()) {
        return Err(NameRule::Device);
    }
    if text.ends_with(['.', ' ']) {
        return Err(NameRule::Ending);
    }
    Ok(text)
}

/// The same for all names that some file system takes for one: it knows no case, or writes accents in one way only.
pub(super) fn folded(name: &str) -> String {
    // By way of the upper case, since some letters have more than one lower case.
    name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disguise_has_its_rule() {
        let long = "n".repeat(256);
        let rows: &[(&[u8], NameRule)] = &[
            (b"", NameRule::Empty),
            (b".", NameRule::Relative),
            (b"..", NameRule::Relative),
            (b"a/b", NameRule::Separator),
            (b"/etc", NameRule::Separator),
            (b"..\\evil", NameRule::Separator),
            (b"a\nb", NameRule::Control),
            (b"a\x1b[31m", NameRule::Control),
            ("a\u{85}b".as_bytes(), NameRule::Control),
            (b"a\xff", NameRule::NotUtf8),
            (long.as_bytes(), NameRule::TooLong),
            (b".git", NameRule::Git),
            (b".GiT", NameRule::Git),
            (b".git.", NameRule::Git),
            (b".git ", NameRule::Git),
            (b".git . .", NameRule::Git),
            (b"git~1", NameRule::Git),
            (b"GIT~1", NameRule::Git),
            (b".git::$INDEX_ALLOCATION", NameRule::Git),
            (b".git:stream", NameRule::Git),
            (".g\u{200c}it".as_bytes(), NameRule::Git),
            ("\u{feff}.git".as_bytes(), NameRule::Git),
            (b"CON", NameRule::Device),
            (b"con.py", NameRule::Device),
            (b"NUL.tar.gz", NameRule::Device),
            (b"nul:x", NameRule::Device),
            (b"Aux", NameRule::Device),
            (b"prn.txt", NameRule::Device),
            (b"COM1", NameRule::Device),
            ("com¹.txt".as_bytes(), NameRule::Device),
            (b"LPT9.log", NameRule::Device),
            (b"CONIN$", NameRule::Device),
            (b"a.", NameRule::Ending),
            (b"a ", NameRule::Ending),
            (b"...", NameRule::Ending),
        ];
        for (name, rule) in rows {
            assert_eq!(check(name), Err(*rule), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn plain_names_are_taken_as_they_are() {
        let longest = "n".repeat(255);
        let names =
            ["main.py", ".gitignore", ".gitattributes", "git~2", "console", "COM10", "com", "nulls.txt"];
        for name in names.into_iter().chain(["a b", "ä", "日本.csv", ".hidden", "a..b", "x:y", &longest]) {
            assert_eq!(check(name.as_bytes()), Ok(name));
        }
    }

    #[test]
    fn names_that_some_file_system_takes_for_one_fold_alike() {
        for (one, other) in [
            ("Job", "job"),
            ("\u{e4}", "a\u{308}"),
            ("\u{c4}", "a\u{308}"),
            ("straße", "STRASSE"),
            ("ς", "σ"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} and {other}");
        }
        assert_ne!(folded("a"), folded("ä"));
        assert_ne!(folded("job"), folded("job2"));
    }
}
