//! One thing that was looked at.

use fastflow_core::Error;

/// How it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Something that some pipelines need is not there.
    Warn,
    /// Nothing can run like this.
    Fail,
}

impl Level {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// What.
    pub(crate) name: &'static str,
    /// How it is.
    pub(crate) level: Level,
    /// What was seen.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

impl Check {
    /// It is as it should be.
    pub(crate) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, message: message.into(), help: None }
    }

    /// Something that some pipelines need is not there.
    pub(crate) fn warn(name: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, level: Level::Warn, message: message.into(), help: Some(help.into()) }
    }

    /// Nothing can run like this.
    pub(crate) fn fail(name: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, level: Level::Fail, message: message.into(), help: Some(help.into()) }
    }

    /// Nothing can run like this, for this reason.
    pub(crate) fn broken(name: &'static str, error: &Error, help: impl Into<String>) -> Self {
        Self::fail(name, error.chain(), help)
    }
}
