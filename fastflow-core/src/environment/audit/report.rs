//! The JSON that `pip-audit --format json` prints.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{AuditOutcome, Finding, SkippedPackage};
use crate::environment::{Package, PackageName};

/// The longest reason of a skipped package, and the longest name or version of a finding, in bytes.
const TEXT_MAX_BYTES: usize = 256;
/// The most aliases or fixed versions of one finding.
const NAMES_MAX: usize = 32;

/// All of it.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    dependencies: Vec<Dependency>,
}

/// One package: with what was found, or with why it was not looked at.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Dependency {
    Audited { name: PackageName, version: String, vulns: Vec<Vulnerability> },
    Skipped { name: PackageName, skip_reason: String },
}

#[derive(Debug, Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    fix_versions: Vec<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    description: Option<String>,
}

impl Report {
    /// What it says of `packages`. Those that it does not name were not looked at either.
    pub(super) fn outcome(self, packages: &[Package]) -> AuditOutcome {
        let mut unnamed: BTreeSet<&PackageName> = packages.iter().map(|package| &package.name).collect();
        let (mut audited, mut findings, mut skipped) = (0_u32, Vec::new(), Vec::new());
        for dependency in self.dependencies {
            match dependency {
                Dependency::Audited { name, version, vulns } => {
                    audited += u32::from(unnamed.remove(&name));
                    findings.extend(vulns.into_iter().map(|found| finding(&name, &version, found)));
                }
                Dependency::Skipped { name, skip_reason } => {
                    unnamed.remove(&name);
                    skipped.push(SkippedPackage { package: name, reason: cut(skip_reason, TEXT_MAX_BYTES) });
                }
            }
        }
        let unnamed = unnamed.into_iter().cloned();
        skipped.extend(unnamed.map(|package| SkippedPackage { package, reason: "not in the answer".into() }));
        findings.truncate(AuditOutcome::FINDINGS_MAX);
        if !findings.is_empty() {
            return AuditOutcome::Vulnerable { audited, findings, skipped };
        }
        match skipped.first() {
            // An index that serves no vulnerabilities answers like this: it is no clean bill.
            Some(first) if audited == 0 => AuditOutcome::failed(&format!(
                "no package was looked at; of {}: {}",
                first.package, first.reason
            )),
            _ => AuditOutcome::Clean { audited, skipped },
        }
    }
}

fn finding(package: &PackageName, version: &str, found: Vulnerability) -> Finding {
    let names = |names: Vec<String>| {
        names.into_iter().take(NAMES_MAX).map(|name| cut(name, TEXT_MAX_BYTES)).collect()
    };
    Finding {
        package: package.clone(),
        version: cut(version.to_owned(), TEXT_MAX_BYTES),
        id: cut(found.id, TEXT_MAX_BYTES),
        aliases: names(found.aliases),
        fixed_in: names(found.fix_versions),
        description: cut(found.description.unwrap_or_default(), Finding::DESCRIPTION_MAX_BYTES),
    }
}

fn cut(mut text: String, max_bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(max_bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::PackageOrigin;

    fn packages(names: &[&str]) -> Vec<Package> {
        let package = |name: &&str| Package {
            name: name.parse().unwrap(),
            version: "1".into(),
            hashes: Vec::new(),
            origin: PackageOrigin::Unknown,
        };
        names.iter().map(package).collect()
    }

    fn outcome(text: &str, names: &[&str]) -> AuditOutcome {
        serde_json::from_str::<Report>(text).unwrap().outcome(&packages(names))
    }

    #[test]
    fn what_nobody_looked_at_is_not_clean() {
        let skipped = r#"{"dependencies": [{"name": "six", "skip_reason": "not found"}], "fixes": []}"#;
        assert!(
            matches!(outcome(skipped, &["six"]), AuditOutcome::Failed { words } if words.contains("not found"))
        );
        let silent = r#"{"dependencies": [], "fixes": []}"#;
        assert!(matches!(outcome(silent, &["six"]), AuditOutcome::Failed { .. }));
        let half = r#"{"dependencies": [{"name": "six", "version": "1", "vulns": []}], "fixes": []}"#;
        let AuditOutcome::Clean { audited: 1, skipped } = outcome(half, &["six", "ours"]) else { panic!() };
        assert_eq!(skipped[0].package.as_str(), "ours");
        assert!(matches!(outcome(silent, &[]), AuditOutcome::Clean { audited: 0, .. }), "nothing to look at");
    }

    #[test]
    fn a_finding_is_cut_to_what_is_kept() {
        let long = "ü".repeat(2000);
        let text = format!(
            r#"{{"dependencies": [{{"name": "Six", "version": "1", "vulns": [{{"id": "PYSEC-1",
            "fix_versions": ["2"], "aliases": ["CVE-1"], "description": "{long}"}}]}}], "fixes": []}}"#
        );
        let AuditOutcome::Vulnerable { findings, .. } = outcome(&text, &["six"]) else { panic!() };
        let [found] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(
            (found.id.as_str(), &found.fixed_in[..], &found.aliases[..]),
            ("PYSEC-1", &["2".into()][..], &["CVE-1".into()][..])
        );
        assert_eq!(found.description.len(), Finding::DESCRIPTION_MAX_BYTES);
    }
}
