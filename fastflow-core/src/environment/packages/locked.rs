//! What a lock says of each package: the hashes that it allows, and where it is from.

use std::{collections::BTreeMap, str::FromStr as _};

use pep440_rs::Version;
use toml::{Table, Value};

use super::{PackageHash, PackageName, PackageOrigin, place};
use crate::environment::{
    lock::{Form, Lock},
    requirement,
};

/// What a lock says of one package.
#[derive(Debug, Default)]
pub(super) struct Locked {
    /// None where the lock names a file instead.
    version: Option<String>,
    pub(super) hashes: Vec<PackageHash>,
    pub(super) origin: Option<PackageOrigin>,
}

/// The packages of a lock, by name. One name may stand there in several versions, for different machines.
#[derive(Debug, Default)]
pub(super) struct LockedPackages(BTreeMap<PackageName, Vec<Locked>>);

impl LockedPackages {
    pub(super) fn of(lock: &Lock) -> Self {
        let mut packages = Self::default();
        match lock.form {
            Form::Requirements => packages.read_requirements(&lock.text),
            Form::Pylock => packages.read_pylock(&lock.text),
        }
        packages
    }

    /// What the lock says of an installed package.
    pub(super) fn find(&self, name: &PackageName, version: &str) -> Option<&Locked> {
        let of_name = self.0.get(name)?;
        let same =
            |locked: &&Locked| locked.version.as_deref().is_some_and(|locked| is_same(locked, version));
        of_name.iter().find(same).or_else(|| of_name.iter().find(|locked| locked.version.is_none()))
    }

    fn read_requirements(&mut self, text: &str) {
        let mut last: Option<PackageName> = None;
        for line in requirement::logical_lines(text) {
            if let Some(from) = requirement::index_of(&line) {
                // It follows the package that it is about.
                let locked =
                    last.as_ref().and_then(|name| self.0.get_mut(name)).and_then(|all| all.last_mut());
                if let Some(locked) = locked {
                    locked.origin = Some(place::index(from));
                }
                continue;
            }
            let (head, hashes) = line.split_at(line.find(" --hash").unwrap_or(line.len()));
            let head = head.split(';').next().unwrap_or_default();
            let (name, version, origin) = match (head.split_once("=="), head.split_once(" @ ")) {
                (_, Some((name, target))) => (name, None, Some(place::direct(target))),
                (Some((name, version)), None) => (name, Some(version.trim().to_owned()), None),
                (None, None) => continue,
            };
            let Ok(name) = name.split('[').next().unwrap_or_default().parse::<PackageName>() else {
                continue;
            };
            let hashes =
                hashes.split_whitespace().filter_map(|hash| hash.strip_prefix("--hash=")?.parse().ok());
            self.add(name.clone(), Locked { version, hashes: hashes.collect(), origin });
            last = Some(name);
        }
    }

    fn read_pylock(&mut self, text: &str) {
        // It was checked when it was read; what cannot be read says nothing.
        let lock: Table = text.parse().unwrap_or_default();
        for package in lock.get("packages").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| package.get(name).and_then(Value::as_str);
            let Some(Ok(name)) = text("name").map(str::parse::<PackageName>) else { continue };
            let files = ["sdist", "archive"].into_iter().filter_map(|name| package.get(name));
            let wheels = package.get("wheels").and_then(Value::as_array).into_iter().flatten();
            let hashes = files.chain(wheels).flat_map(hashes).collect();
            let origin = text("index").map(place::index).or_else(|| named(package));
            self.add(name, Locked { version: text("version").map(str::to_owned), hashes, origin });
        }
    }

    fn add(&mut self, name: PackageName, mut locked: Locked) {
        locked.hashes.sort();
        locked.hashes.dedup();
        self.0.entry(name).or_default().push(locked);
    }
}

/// Whether two versions are one: `1.0` and `1.0.0` are.
fn is_same(one: &str, other: &str) -> bool {
    match (Version::from_str(one), Version::from_str(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// The hashes of one file of a pylock.
fn hashes(file: &Value) -> impl Iterator<Item = PackageHash> {
    let hashes = file.get("hashes").and_then(Value::as_table).into_iter().flatten();
    hashes.filter_map(|(algorithm, digest)| format!("{algorithm}:{}", digest.as_str()?).parse().ok())
}

/// Where a package of a pylock is from that has no index.
fn named(package: &Value) -> Option<PackageOrigin> {
    let text = |table: &str, name: &str| package.get(table)?.get(name)?.as_str();
    if let Some(url) = text("vcs", "url").or_else(|| text("vcs", "path")) {
        let (kind, commit) =
            (text("vcs", "type").unwrap_or("vcs"), text("vcs", "commit-id").unwrap_or_default());
        return Some(place::direct(&format!("{kind}+{}@{commit}", place::plain(url))));
    }
    text("archive", "url").or_else(|| text("archive", "path")).map(place::direct)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: Form, text: &str) -> LockedPackages {
        LockedPackages::of(&Lock { text: text.to_owned(), form })
    }

    fn told(packages: &LockedPackages, name: &str, version: &str) -> (Vec<String>, Option<PackageOrigin>) {
        let found = packages.find(&name.parse().unwrap(), version).unwrap();
        (found.hashes.iter().map(PackageHash::to_string).collect(), found.origin.clone())
    }

    fn index(url: &str) -> PackageOrigin {
        PackageOrigin::Index { url: url.into() }
    }

    #[test]
    fn requirements_say_hashes_and_indexes() {
        let text = "six==1.17.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:aa\n    # from https://u:p@i.example/simple\n\
                    Foo_Bar[x]==2.0 ; python_version < '3.9' \\\n    --hash=sha256:c1\n\
                    foo.bar==3 ; python_version >= '3.9' \\\n    --hash=sha256:c2\n    # from /srv/wheels\n\
                    far @ https://u:p@e.example/far-1.whl?k=1 \\\n    --hash=sha256:dd\n\
                    near @ file:///srv/near-1.whl\nplain==1\n";
        let found = read(Form::Requirements, text);
        assert_eq!(
            told(&found, "six", "1.17"),
            (vec!["sha256:aa".into(), "sha256:bb".into()], Some(index("https://i.example/simple")))
        );
        assert_eq!(told(&found, "foo-bar", "2.0"), (vec!["sha256:c1".into()], None));
        assert_eq!(told(&found, "foo-bar", "3.0"), (vec!["sha256:c2".into()], Some(index("/srv/wheels"))));
        let far = PackageOrigin::Direct { url: "https://e.example/far-1.whl".into() };
        assert_eq!(told(&found, "far", "1"), (vec!["sha256:dd".into()], Some(far)));
        let near = PackageOrigin::File { path: "/srv/near-1.whl".into() };
        assert_eq!(told(&found, "near", "1"), (vec![], Some(near)));
        assert_eq!(told(&found, "plain", "1"), (vec![], None));
        assert!(found.find(&"plain".parse().unwrap(), "2").is_none(), "another version is another package");
    }

    #[test]
    fn a_pylock_says_hashes_and_indexes() {
        let text = r#"
lock-version = "1.0"
[[packages]]
name = "six"
version = "1.17.0"
index = "https://u:p@i.example/simple"
sdist = { url = "https://i.example/six.tar.gz", hashes = { sha256 = "aa" } }
wheels = [{ url = "https://i.example/six.whl", hashes = { sha256 = "bb", md5 = "cc" } }]
[[packages]]
name = "far"
archive = { url = "https://t@e.example/far-1.whl", hashes = { sha256 = "dd" } }
[[packages]]
name = "held"
vcs = { type = "git", url = "https://u:p@e.example/held.git", commit-id = "ee" }
"#;
        let found = read(Form::Pylock, text);
        let hashes = ["md5:cc", "sha256:aa", "sha256:bb"].map(str::to_owned).to_vec();
        assert_eq!(told(&found, "six", "1.17.0"), (hashes, Some(index("https://i.example/simple"))));
        let far = PackageOrigin::Direct { url: "https://e.example/far-1.whl".into() };
        assert_eq!(told(&found, "far", "1"), (vec!["sha256:dd".into()], Some(far)));
        let held = PackageOrigin::Direct { url: "git+https://e.example/held.git@ee".into() };
        assert_eq!(told(&found, "held", "1"), (vec![], Some(held)));
    }
}
