//! The address of a repository, taken apart before anything else sees it.

use std::{fmt, net::IpAddr};

use url::Url;

use crate::{Error, ErrorKind, Result};

/// The longest address, in bytes.
const MAX_BYTES: usize = 2048;

/// A way to a repository that protects neither what is fetched nor who asks.
///
/// ```
/// use fastflow_core::source::{GitConfig, InsecureScheme};
///
/// let mut config = GitConfig::new("git://127.0.0.1/pipelines.git");
/// config.insecure_schemes = vec![InsecureScheme::Git];
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InsecureScheme {
    /// `http://…`. A token is shown only to this machine itself.
    Http,
    /// `git://…`, of `git daemon`.
    Git,
    /// `file:///…`, or a path from the root. Needs git to be installed.
    File,
}

/// How to get to a repository.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scheme {
    Https,
    Ssh,
    Insecure(InsecureScheme),
}

/// The address of a repository. It holds no credentials, and nothing in it can be mistaken for an option or a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Remote {
    pub(super) scheme: Scheme,
    /// The user to be at the server; for ssh only.
    pub(super) user: Option<String>,
    /// A name or an address, an IPv6 address without its brackets. Empty for `file`.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// As the server is asked for it.
    pub(super) path: String,
}

impl Remote {
    /// Takes an address apart. Refuses what is neither https nor ssh, unless it is among `insecure`.
    ///
    /// # Errors
    ///
    /// `Invalid`, without the address in the text: there may be a password in it.
    pub(super) fn parse(text: &str, insecure: &[InsecureScheme]) -> Result<Self> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(refused("it is empty or longer than 2,048 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refused("there are blanks or control characters in it"));
        }
        if text.starts_with('-') {
            return Err(refused("it begins with a dash, and so would be taken for an option"));
        }
        let remote = match text.split_once("://") {
            Some((scheme, _)) => Self::from_url(scheme, text)?,
            None if text.starts_with('/') => Self::file(text)?,
            None => Self::from_scp(text)?,
        };
        match remote.scheme {
            Scheme::Insecure(scheme) if !insecure.contains(&scheme) => Err(refused(
                "only https and ssh are taken, so that nobody can read along or change what comes",
            )),
            _ => Ok(remote),
        }
    }

    fn from_url(scheme: &str, text: &str) -> Result<Self> {
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "ssh" | "git+ssh" | "ssh+git" => Scheme::Ssh,
            "http" => Scheme::Insecure(InsecureScheme::Http),
            "git" => Scheme::Insecure(InsecureScheme::Git),
            "file" => Scheme::Insecure(InsecureScheme::File),
            _ => return Err(refused("it is neither https nor ssh")),
        };
        let url = Url::parse(text).map_err(|error| refused("it is not an address").because(error))?;
        if url.password().is_some() || (scheme != Scheme::Ssh && !url.username().is_empty()) {
            return Err(refused(
                "there are credentials in it, which would end up in logs; take them out, and give them as access",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("there is a `?` or a `#` in it"));
        }
        if scheme == Scheme::Insecure(InsecureScheme::File) {
            if url.host_str().is_some_and(|host| !host.is_empty()) {
                return Err(refused("a file is on this machine, so it names no host"));
            }
            return Self::file(&decoded(url.path())?);
        }
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let path = match scheme {
            // It stays encoded on its way.
            Scheme::Https | Scheme::Insecure(InsecureScheme::Http) => url.path().to_owned(),
            // A home is asked for without the slash that parts it from the host.
            Scheme::Ssh => {
                let path = decoded(url.path())?;
                path.strip_prefix("/~").map_or(path.clone(), |rest| format!("~{rest}"))
            }
            Scheme::Insecure(_) => decoded(url.path())?,
        };
        let user = (!url.username().is_empty()).then(|| url.username().to_owned());
        Self { scheme, user, host: host.to_owned(), port: url.port(), path }.checked()
    }

    /// `user@host:path`.
    fn from_scp(text: &str) -> Result<Self> {
        let (place, path) = match text.split_once(':') {
            Some((place, path)) if !place.contains('/') => (place, path),
            _ => return Err(refused("it is neither https nor ssh")),
        };
        if path.starts_with(':') {
            return Err(refused("it names a program that fetches, and none is started"));
        }
        if path.split('/').next().is_some_and(|first| first.contains('@')) {
            return Err(refused(
                "it looks as if there was a password in it; take that out, and give it as access",
            ));
        }
        let (user, host) = match place.split_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, place),
        };
        Self { scheme: Scheme::Ssh, user, host: host.to_owned(), port: None, path: path.to_owned() }.checked()
    }

    fn file(path: &str) -> Result<Self> {
        let scheme = Scheme::Insecure(InsecureScheme::File);
        let remote = Self { scheme, user: None, host: String::new(), port: None, path: path.to_owned() };
        if path.starts_with('/') { Ok(remote) } else { Err(refused("a path begins with a slash")) }
    }

    fn checked(self) -> Result<Self> {
        let is_plain = |text: &str| {
            let mut bytes = text.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !is_plain(&self.host) && self.host.parse::<IpAddr>().is_err() {
            return Err(refused("its host is missing, or is not a name or an address"));
        }
        if self.user.as_ref().is_some_and(|user| !is_plain(user)) {
            return Err(refused("its user is not a name of letters, digits, `.`, `_` and `-`"));
        }
        if self.path.trim_matches('/').is_empty() || self.path.starts_with('-') {
            return Err(refused("it names no repository"));
        }
        Ok(self)
    }

    /// The address for an HTTP client.
    pub(super) fn url(&self) -> String {
        self.to_string()
    }

    /// Whether a token may be shown there: nobody can read along.
    pub(super) fn is_private(&self) -> bool {
        let is_here = self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        match self.scheme {
            Scheme::Https => true,
            Scheme::Insecure(InsecureScheme::Http) => is_here,
            _ => false,
        }
    }

    /// The server's name as files of known hosts write it.
    pub(super) fn known_name(&self) -> String {
        match self.port {
            Some(port) if port != 22 => format!("[{}]:{port}", self.host),
            _ => self.host.clone(),
        }
    }
}

/// The address as it is shown; it can be read again.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            Scheme::Https => "https://",
            Scheme::Ssh => "ssh://",
            Scheme::Insecure(InsecureScheme::Http) => "http://",
            Scheme::Insecure(InsecureScheme::Git) => "git://",
            Scheme::Insecure(InsecureScheme::File) => "file://",
        })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        // What is relative to a home cannot be told from the root otherwise.
        let separator = if self.path.starts_with('/') { "" } else { "/" };
        write!(f, "{separator}{}", self.path)
    }
}

fn decoded(path: &str) -> Result<String> {
    let bytes = percent_encoding::percent_decode_str(path).decode_utf8();
    let path = bytes.map_err(|error| refused("its path is not UTF-8").because(error))?;
    if path.chars().any(char::is_control) {
        return Err(refused("there are control characters in it"));
    }
    Ok(path.into_owned())
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, "the address of the repository is not taken").with("because", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Remote> {
        Remote::parse(text, &[])
    }

    #[test]
    fn an_address_of_https_or_ssh_is_taken_apart() {
        for (text, scheme, user, host, port, path, shown) in [
            ("https://Example.org/a/b.git", Scheme::Https, None, "example.org", None, "/a/b.git", None),
            (
                "https://example.org:8443/a%20b",
                Scheme::Https,
                None,
                "example.org",
                Some(8443),
                "/a%20b",
                None,
            ),
            ("ssh://git@example.org/a.git", Scheme::Ssh, Some("git"), "example.org", None, "/a.git", None),
            ("ssh://git@[::1]:2222/a.git", Scheme::Ssh, Some("git"), "::1", Some(2222), "/a.git", None),
            ("ssh://example.org/~ada/a%20b", Scheme::Ssh, None, "example.org", None, "~ada/a b", None),
            (
                "git@example.org:team/a.git",
                Scheme::Ssh,
                Some("git"),
                "example.org",
                None,
                "team/a.git",
                Some("ssh://git@example.org/team/a.git"),
            ),
            (
                "example.org:/a.git",
                Scheme::Ssh,
                None,
                "example.org",
                None,
                "/a.git",
                Some("ssh://example.org/a.git"),
            ),
        ] {
            let remote = parse(text).unwrap();
            let (user, host, path) = (user.map(str::to_owned), host.to_owned(), path.to_owned());
            assert_eq!(remote, Remote { scheme, user, host, port, path }, "{text}");
            if let Some(shown) = shown {
                assert_eq!(remote.to_string(), shown);
            }
        }
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_refused() {
        for text in [
            "",
            "ext::sh -c id",
            "ext::id",
            "-oProxyCommand=id:x",
            "--upload-pack=id",
            "ssh://-oProxyCommand=id/x",
            "ssh://git@-oProxyCommand=id/x",
            "git@-oProxyCommand=id:x",
            "-l@example.org:x",
            "ssh://-l@example.org/x",
            "git@example.org:-x",
            "git@example.org:",
            "https://example.org/",
            "https:///x",
            "ssh://git@example.org/x%0a",
            "https://example.org/x y",
            "https://example.org/x\n",
            "https://example.org/x?token=s3cret",
            "https://example.org/x#s3cret",
            "https://s3cret@example.org/x",
            "https://ada:s3cret@example.org/x",
            "ssh://ada:s3cret@example.org/x",
            "ada:s3cret@example.org:x",
            "$(id)@example.org:x",
            "a;b@example.org:x",
            "example.org;id:x",
            "ssh://exa'mple.org/x",
            "fd::17/x",
            "pipelines",
            "./pipelines",
            "../a:b",
            "ftp://example.org/x",
            &format!("https://example.org/{}", "x".repeat(3000)),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(!error.chain().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_protects_nothing_is_taken_only_if_it_is_named() {
        for (text, scheme) in [
            ("http://127.0.0.1/x", InsecureScheme::Http),
            ("git://127.0.0.1:1234/x", InsecureScheme::Git),
            ("file:///srv/x", InsecureScheme::File),
            ("/srv/x", InsecureScheme::File),
        ] {
            parse(text).unwrap_err();
            for other in [InsecureScheme::Http, InsecureScheme::Git, InsecureScheme::File] {
                assert_eq!(Remote::parse(text, &[other]).is_ok(), other == scheme, "{text}");
            }
        }
        Remote::parse("file://elsewhere/x", &[InsecureScheme::File]).unwrap_err();
    }
}
