//! Asks whether the packages of an environment are known to be vulnerable.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Package, PackageName};

mod pip;
mod report;

pub use self::pip::{PipAudit, PipAuditConfig, VulnerabilityService};

/// Knows which packages are vulnerable.
///
/// # Contract
///
/// Whatever keeps it from knowing is an [`AuditOutcome`] that says so. It ends by itself, and sooner or later.
#[async_trait]
pub trait PackageAuditor: fmt::Debug + Send + Sync + 'static {
    /// Looks at the packages of one environment.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the audit and whatever it has started.
    async fn audit(&self, packages: &[Package]) -> AuditOutcome;
}

/// What an audit came to.
///
/// ```
/// use fastflow_core::environment::AuditOutcome;
///
/// assert!(!AuditOutcome::ToolMissing { program: "pip-audit".into() }.is_answer());
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditOutcome {
    /// The tool is not there, so nothing is known.
    ToolMissing {
        /// What was looked for.
        program: String,
    },
    /// The audit failed, so nothing is known.
    Failed {
        /// Why, in the tool's own words; at most [`AuditOutcome::WORDS_MAX_BYTES`], the end of them.
        words: String,
    },
    /// No package that was looked at is known to be vulnerable.
    Clean {
        /// How many packages were looked at.
        audited: u32,
        /// The others.
        skipped: Vec<SkippedPackage>,
    },
    /// Some are.
    Vulnerable {
        /// How many packages were looked at.
        audited: u32,
        /// What was found, at most [`AuditOutcome::FINDINGS_MAX`].
        findings: Vec<Finding>,
        /// The packages that were not looked at.
        skipped: Vec<SkippedPackage>,
    },
}

impl AuditOutcome {
    /// The longest words of a failure, in bytes.
    pub const WORDS_MAX_BYTES: usize = 4096;
    /// The most findings that are kept.
    pub const FINDINGS_MAX: usize = 1000;

    /// Whether packages were looked at.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Clean { .. } | Self::Vulnerable { .. })
    }

    /// A failure in these words, of which the end is kept.
    pub fn failed(words: &str) -> Self {
        let words = words.trim();
        let end = words.ceil_char_boundary(words.len().saturating_sub(Self::WORDS_MAX_BYTES));
        Self::Failed { words: words[end..].to_owned() }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToolMissing { program } => write!(f, "not audited: there is no {program}"),
            Self::Failed { words } => write!(f, "not audited: {words}"),
            Self::Clean { audited, skipped } => {
                write!(
                    f,
                    "{audited} packages audited, {} skipped: none is known to be vulnerable",
                    skipped.len()
                )
            }
            Self::Vulnerable { audited, findings, skipped } => write!(
                f,
                "{audited} packages audited, {} skipped: {} known vulnerabilities",
                skipped.len(),
                findings.len()
            ),
        }
    }
}

/// One known vulnerability of one package.
///
/// ```
/// use fastflow_core::environment::Finding;
///
/// fn line(found: &Finding) -> String {
///     format!("{} {}: {} (fixed in {})", found.package, found.version, found.id, found.fixed_in.join(", "))
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The package.
    pub package: PackageName,
    /// The version that is installed.
    pub version: String,
    /// The name of the vulnerability, such as `PYSEC-2023-212`.
    pub id: String,
    /// Its other names, such as those of CVE.
    pub aliases: Vec<String>,
    /// The versions without it, as far as there are any.
    pub fixed_in: Vec<String>,
    /// What it is; at most [`Finding::DESCRIPTION_MAX_BYTES`].
    pub description: String,
}

impl Finding {
    /// The longest description that is kept, in bytes.
    pub const DESCRIPTION_MAX_BYTES: usize = 1024;
}

/// A package that was not looked at.
///
/// ```
/// use fastflow_core::environment::SkippedPackage;
///
/// let skipped = SkippedPackage { package: "ours".parse().unwrap(), reason: "not found on PyPI".into() };
/// assert_eq!(skipped.package.as_str(), "ours");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SkippedPackage {
    /// The package.
    pub package: PackageName,
    /// Why not; at most 256 bytes.
    pub reason: String,
}
