//! Filters that stand before an engine's socket and let some calls through, such as `docker-socket-proxy`.
//!
//! The engine itself always answers in JSON, also when it refuses. A refusal in another form comes from somebody
//! between it and this process, who can be told what to let through.

use std::{error::Error as StdError, fmt};

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

/// By which parts of the engine's API, and which names for them, `docker-socket-proxy` knows what it lets through.
const SECTIONS: [(&str, &str); 6] = [
    ("containers", "CONTAINERS"),
    ("distribution", "DISTRIBUTION"),
    ("images", "IMAGES"),
    ("info", "INFO"),
    ("networks", "NETWORKS"),
    ("version", "VERSION"),
];

/// A call that did not reach the engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Withheld {
    method: Method,
    path: String,
}

impl Withheld {
    /// What an answer says about a call of which somebody else than the engine does not approve.
    pub(crate) fn find(call: (&Method, &str), status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let is_json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
        if status != StatusCode::FORBIDDEN || headers.get(CONTENT_TYPE).is_some_and(is_json) {
            return None;
        }
        Some(Self { method: call.0.clone(), path: call.1.to_owned() })
    }

    /// What has to be set for the call to come through.
    pub(crate) fn help(&self) -> String {
        let parts = self.path.split('/').filter(|part| !part.is_empty());
        let section = parts.clone().find_map(|part| SECTIONS.iter().find(|(name, _)| *name == part));
        let mut help =
            "something between this process and the engine does not let the call through".to_owned();
        if let Some((_, variable)) = section {
            help.push_str("; docker-socket-proxy needs ");
            help.push_str(variable);
            help.push_str("=1");
            if ![Method::GET, Method::HEAD].contains(&self.method) {
                help.push_str(" and POST=1");
            }
        }
        help
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl StdError for Withheld {}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &Method, path: &str, status: u16, kind: Option<&'static str>) -> Option<Withheld> {
        let kind = kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind)));
        let status = StatusCode::from_u16(status).unwrap();
        Withheld::find((method, path), status, &kind.into_iter().collect())
    }

    #[test]
    fn only_what_the_engine_did_not_say_itself_was_withheld() {
        for kind in [Some("text/html"), Some("text/plain; charset=utf-8"), None] {
            assert!(find(&Method::GET, "/info", 403, kind).is_some(), "{kind:?}");
        }
        assert_eq!(find(&Method::GET, "/info", 403, Some("application/json")), None);
        assert_eq!(find(&Method::GET, "/info", 404, Some("text/html")), None);
    }

    #[test]
    fn the_help_names_what_is_needed() {
        for (method, path, needed) in [
            (Method::GET, "/version", "VERSION=1"),
            (Method::GET, "/v1.41/info", "INFO=1"),
            (Method::GET, "/v1.41/images/containers/json", "IMAGES=1"),
            (Method::POST, "/v1.41/containers/create", "CONTAINERS=1 and POST=1"),
            (Method::DELETE, "/v1.41/networks/x", "NETWORKS=1 and POST=1"),
        ] {
            let help = find(&method, path, 403, None).unwrap().help();
            assert!(help.ends_with(&format!(" needs {needed}")), "{path}: {help}");
        }
        let help = find(&Method::GET, "/v1.41/elsewhere", 403, None).unwrap().help();
        assert!(help.ends_with("through"), "{help}");
    }
}
