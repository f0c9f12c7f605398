//! Which groups this process may make, found out by making one.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use super::{Controller, DIRECTORY, Hierarchy, Version, create_dir, pass_on};
use crate::executor::Limits;

/// How many names are tried for a group that is only made to see whether that works.
const MAX_PROBE_NAMES: u32 = 64;

/// A mounted tree of groups.
#[derive(Debug)]
struct Mount {
    version: Version,
    point: PathBuf,
    /// The part of the tree that is mounted, as seen by the kernel.
    root: PathBuf,
    /// The controllers of a tree of version 1.
    names: Vec<String>,
}

/// The usable trees. Groups go below the one of this process where that is possible, so that limits around it
/// hold for its attempts, too.
pub(super) fn hierarchies() -> Vec<Hierarchy> {
    let (Ok(mounts), Ok(own)) = (mounts(), fs::read_to_string("/proc/self/cgroup")) else {
        return Vec::new();
    };
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mounts {
        let Some(own) = own_group(&own, &mount) else { continue };
        let missing = |controller: &Controller| !found.iter().any(|one| one.controllers.contains(controller));
        let wanted: Vec<Controller> = Controller::ALL.into_iter().filter(missing).collect();
        let below_own = usable(&mount, &mount.point.join(&own), &wanted);
        let usable = below_own.or_else(|| usable(&mount, &mount.point, &wanted));
        // A tree without controllers of use still tells which processes belong together.
        found.extend(usable.filter(|tree| !tree.controllers.is_empty() || found.is_empty()));
    }
    found
}

fn usable(mount: &Mount, base: &Path, wanted: &[Controller]) -> Option<Hierarchy> {
    let offered: Vec<Controller> = match mount.version {
        Version::One => {
            let has = |controller: &Controller| mount.names.iter().any(|name| name == controller.name());
            wanted.iter().copied().filter(has).collect()
        }
        Version::Two => {
            let offered = fs::read_to_string(base.join("cgroup.controllers")).ok()?;
            let has =
                |controller: &Controller| offered.split_whitespace().any(|name| name == controller.name());
            wanted.iter().copied().filter(has).collect()
        }
    };
    if mount.version == Version::One && offered.is_empty() {
        return None;
    }
    let root = base.join(DIRECTORY);
    create_dir(&root).ok()?;
    let mut tree = Hierarchy { root, version: mount.version, controllers: Vec::new() };
    for controller in offered {
        if tree.version == Version::Two
            && (pass_on(base, &[controller]).is_err() || pass_on(&tree.root, &[controller]).is_err())
        {
            continue;
        }
        if try_limit(&tree, Some(controller)).is_ok() {
            tree.controllers.push(controller);
        }
    }
    (!tree.controllers.is_empty() || try_limit(&tree, None).is_ok()).then_some(tree)
}

/// Makes a group, limits it, and removes it again.
fn try_limit(tree: &Hierarchy, controller: Option<Controller>) -> io::Result<()> {
    let limits = Limits {
        cpu_millis: Some(1000),
        memory_bytes: Some(64 * 1024 * 1024),
        max_processes: Some(64),
        ..Limits::default()
    };
    let path = new_group(&tree.root)?;
    let result = match controller {
        Some(controller) => tree.limit(&path, controller, &limits),
        // What counts is the right to move processes into it.
        None => fs::OpenOptions::new().write(true).open(path.join("cgroup.procs")).map(drop),
    };
    fs::remove_dir(&path)?;
    result
}

fn new_group(root: &Path) -> io::Result<PathBuf> {
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for number in 0..MAX_PROBE_NAMES {
        // Owners begin with a letter or a digit: this is never one of theirs.
        let path = root.join(format!(".probe-{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}

fn mounts() -> io::Result<Vec<Mount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse_mount).collect())
}

/// One line, as in proc(5): `36 35 98:0 ROOT POINT options [more] - TYPE source super-options`.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let version = match *fields.get(separator + 1)? {
        b"cgroup" => Version::One,
        b"cgroup2" => Version::Two,
        _ => return None,
    };
    let options = String::from_utf8_lossy(fields.get(separator + 3)?);
    Some(Mount {
        version,
        root: unescape(fields.get(3)?),
        point: unescape(fields.get(4)?),
        names: options.split(',').map(str::to_owned).collect(),
    })
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The group of this process in a tree, relative to what is mounted of it.
fn own_group(own: &str, mount: &Mount) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = match mount.version {
            Version::Two => names.is_empty(),
            Version::One => {
                names.split(',').any(|name| !name.is_empty() && mount.names.iter().any(|n| n == name))
            }
        };
        is_it.then(|| PathBuf::from(path))
    })?;
    let inside = path.strip_prefix(&mount.root).ok()?.to_owned();
    let outside = inside.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|part| part == b"..");
    Some(if outside { PathBuf::new() } else { inside })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_both_versions_are_understood() {
        let one = parse_mount(
            b"31 23 0:26 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
        )
        .unwrap();
        assert_eq!((one.version, one.names.contains(&"cpu".to_owned())), (Version::One, true));
        let own = "4:cpu,cpuacct:/docker/abc/inner\n0::/\n";
        assert_eq!(own_group(own, &one).unwrap(), Path::new("inner"));
        let two = parse_mount(b"30 23 0:26 / /sys/fs/c\\040group rw shared:9 - cgroup2 cgroup2 rw").unwrap();
        assert_eq!((two.version, two.point.as_path()), (Version::Two, Path::new("/sys/fs/c group")));
        assert_eq!(own_group("0::/../escaped", &two).unwrap(), Path::new(""));
        assert!(parse_mount(b"22 1 8:1 / / rw - ext4 /dev/sda1 rw").is_none());
    }
}
