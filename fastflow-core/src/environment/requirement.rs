//! Reads as much of the requirements format as is needed to know what a file depends on.
//!
//! Resolving is uv's work. This only finds the other files that belong to the input, the options that have to
//! be repeated when the lock is installed, and what can never be part of an immutable environment.

use std::path::{Component, Path, PathBuf};

/// One logical line: comments removed, continuations joined.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// `-r` or `-c` with a path: another file that belongs to this one.
    Include(String),
    /// `-e`: a package that is used where it lies.
    Editable(String),
    /// A folder of packages, as `--find-links` names it.
    FindLinks(String),
    /// Any other option, such as an index.
    Option(String),
    /// A package from a path, as it is written.
    Local(String),
    /// A package from an index or a URL.
    Package(String),
    /// The comment of a lock that says which index the package before it is from, as it is written.
    Index(String),
}

/// How the comment begins with which locks say where a package is from.
const INDEX_COMMENT: &str = "# from ";

/// The lines of a requirements file.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line> {
    logical_lines(text).map(|line| classify(&line))
}

/// The logical lines of a requirements file: without comments, but for those that say an index.
pub(super) fn logical_lines(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text.lines();
    std::iter::from_fn(move || {
        let mut joined = String::new();
        loop {
            let Some(line) = rest.next() else {
                let line = std::mem::take(&mut joined);
                return (!line.trim().is_empty()).then(|| line.trim().to_owned());
            };
            if joined.is_empty() && index_of(line.trim()).is_some() {
                return Some(line.trim().to_owned());
            }
            let line = without_comment(line);
            if let Some(open) = line.strip_suffix('\\') {
                joined.push_str(open.trim());
                joined.push(' ');
                continue;
            }
            joined.push_str(line.trim());
            if joined.trim().is_empty() {
                joined.clear();
                continue;
            }
            return Some(std::mem::take(&mut joined).trim().to_owned());
        }
    })
}

/// The index that a comment of a lock says.
pub(super) fn index_of(line: &str) -> Option<&str> {
    line.strip_prefix(INDEX_COMMENT).filter(|index| !index.contains(char::is_whitespace))
}

fn without_comment(line: &str) -> &str {
    let begins = line
        .char_indices()
        .find(|&(at, c)| c == '#' && (at == 0 || line[..at].ends_with(char::is_whitespace)));
    begins.map_or(line, |(at, _)| &line[..at]).trim_end()
}

fn classify(line: &str) -> Line {
    if index_of(line).is_some() {
        return Line::Index(line.to_owned());
    }
    if let Some(path) = value(line, &["--requirement", "--constraint", "-r", "-c"]) {
        return Line::Include(path);
    }
    if let Some(path) = value(line, &["--editable", "-e"]) {
        return Line::Editable(path);
    }
    if let Some(place) = value(line, &["--find-links", "-f"]) {
        return Line::FindLinks(place);
    }
    if line.starts_with('-') {
        return Line::Option(line.to_owned());
    }
    local(line).map_or_else(|| Line::Package(line.to_owned()), Line::Local)
}

/// The value of an option in any of its spellings: `--name value`, `--name=value`, `-n value`, `-nvalue`.
fn value(line: &str, names: &[&str]) -> Option<String> {
    for name in names {
        let Some(rest) = line.strip_prefix(name) else { continue };
        let is_short = !name.starts_with("--");
        if is_short || rest.starts_with(|c: char| c == '=' || c.is_whitespace()) {
            let rest = rest.trim_start();
            let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
            return Some(rest.trim_matches(['"', '\'']).to_owned());
        }
    }
    None
}

/// The path of a requirement that is a path: `./a`, `/a`, `file:…`, `name @ ./a`, `a.whl`.
fn local(line: &str) -> Option<String> {
    let line = line.split(" --hash").next().unwrap_or(line);
    let line = line.split(" ;").next().unwrap_or(line).trim();
    let target = match line.split_once('@') {
        // A URL may hold an `@` of its own; only a name and its extras stand before the one that is meant.
        Some((name, target)) if !name.contains("://") && !name.contains('/') => target.trim(),
        _ => line,
    };
    if let Some(path) = target.strip_prefix("file:") {
        return Some(path.strip_prefix("//").unwrap_or(path).to_owned());
    }
    if target.contains("://") {
        return None;
    }
    let is_archive = [".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz"]
        .iter()
        .any(|ending| target.to_ascii_lowercase().ends_with(ending));
    let has_separator = target.split('[').next().is_some_and(|plain| plain.contains('/'));
    (is_archive || has_separator || target == "." || target == "..").then(|| target.to_owned())
}

/// `path` as seen from `base`, if it does not lead out of `folder`, whatever links are on the way.
pub(super) fn inside(folder: &Path, base: &Path, path: &str) -> Option<PathBuf> {
    let joined = base.join(path);
    let real = joined.canonicalize();
    let (Ok(real), Ok(root)) = (real, folder.canonicalize()) else {
        // Nothing there: uv says so in its own words. Only the spelling can be judged.
        let climbs = Path::new(path).components().any(|part| matches!(part, Component::ParentDir));
        return (!climbs && joined.starts_with(folder)).then_some(joined);
    };
    real.starts_with(root).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_tools_read_them() {
        let text = "# head\nsix==1.17 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb # why\n    # from https://i.example\n    # from us all\n\n-r other.txt\n\
                    --constraint=c.txt\n-rshort.txt\n-e ./here\n--editable=x\n--index-url https://i.example\n\
                    -f wheels\n./a.whl\nb @ file:///c/b.whl\nd @ https://e.example/d.whl\ngit+ssh://git@h/x.git\n\
                    e[extra]>=1 ; python_version < '4'\nf @ ./folder\nend \\";
        let found: Vec<Line> = lines(text).collect();
        let package = |text: &str| Line::Package(text.to_owned());
        assert_eq!(
            found,
            [
                package("six==1.17 --hash=sha256:aa --hash=sha256:bb"),
                Line::Index("# from https://i.example".into()),
                Line::Include("other.txt".into()),
                Line::Include("c.txt".into()),
                Line::Include("short.txt".into()),
                Line::Editable("./here".into()),
                Line::Editable("x".into()),
                Line::Option("--index-url https://i.example".into()),
                Line::FindLinks("wheels".into()),
                Line::Local("./a.whl".into()),
                Line::Local("/c/b.whl".into()),
                package("d @ https://e.example/d.whl"),
                package("git+ssh://git@h/x.git"),
                package("e[extra]>=1 ; python_version < '4'"),
                Line::Local("./folder".into()),
                package("end"),
            ]
        );
    }

    #[test]
    fn a_path_stays_inside_whatever_links_are_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("a.txt"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        assert!(inside(root, root, "a.txt").is_some());
        assert!(inside(root, root, "missing.txt").is_some());
        for out in ["link", "/etc/passwd", "../x", "a/../../x"] {
            assert!(inside(root, root, out).is_none(), "{out}");
        }
    }
}
