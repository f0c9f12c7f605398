//! URLs and paths of packages, as they may be kept.

use super::PackageOrigin;

/// The longest URL or path that is kept, in bytes.
const PLACE_MAX_BYTES: usize = 2048;

/// A URL or path without what may be secret in it: name and password, query and fragment.
pub(super) fn plain(place: &str) -> String {
    let place = place.trim();
    let mut plain = match place.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let authority = rest.split('/').next().unwrap_or_default();
            let secret = authority.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[secret..])
        }
        None => place.to_owned(),
    };
    plain.truncate(plain.floor_char_boundary(PLACE_MAX_BYTES));
    plain
}

/// An index, by its URL or path. One with a slash at its end is the same index.
pub(super) fn index(place: &str) -> PackageOrigin {
    let mut url = plain(place);
    if url.contains("://") {
        url.truncate(url.trim_end_matches('/').len());
    }
    PackageOrigin::Index { url }
}

/// What a requirement names itself: a URL, or a file of this machine.
pub(super) fn direct(place: &str) -> PackageOrigin {
    let place = place.trim();
    let path = place.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) => PackageOrigin::File { path: plain(path) },
        None if place.contains("://") => PackageOrigin::Direct { url: plain(place) },
        None => PackageOrigin::File { path: plain(place) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_a_url_is_kept() {
        for (given, kept) in [
            ("https://user:pass@host.example:8443/simple", "https://host.example:8443/simple"),
            ("https://token@host.example/simple/?key=1#x", "https://host.example/simple/"),
            ("https://a@b:c@host.example/@scope/x.whl?sig=1", "https://host.example/@scope/x.whl"),
            ("git+https://user:pass@host.example/x.git@abc", "git+https://host.example/x.git@abc"),
            ("git+ssh://git@host.example/x.git", "git+ssh://host.example/x.git"),
            ("https://host.example?token=1", "https://host.example"),
            ("/srv/wheels", "/srv/wheels"),
        ] {
            assert_eq!(plain(given), kept);
        }
    }

    #[test]
    fn a_place_is_an_url_or_a_file() {
        assert_eq!(
            direct("https://u:p@h.example/a.whl"),
            PackageOrigin::Direct { url: "https://h.example/a.whl".into() }
        );
        for file in ["file:///srv/a.whl", "/srv/a.whl"] {
            assert_eq!(direct(file), PackageOrigin::File { path: "/srv/a.whl".into() });
        }
    }
}
