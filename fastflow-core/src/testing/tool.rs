//! Finds the programs that tests need and that not every machine has.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The uv that `tools/setup-uv` puts into the checkout, or the one that `FASTFLOW_TEST_UV` names. None if there
/// is neither; then the test has to skip itself through [`require`].
///
/// ```
/// if let Some(uv) = fastflow_core::testing::tool::uv() {
///     assert!(uv.is_file());
/// }
/// ```
pub fn uv() -> Option<PathBuf> {
    variable("FASTFLOW_TEST_UV")
        .map(PathBuf::from)
        .into_iter()
        .chain([concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/uv/bin/uv").into()])
        .find(|path| path.is_file())
        .and_then(|path| std::path::absolute(path).ok())
}

/// The private Docker engine that `tools/setup-engines` starts, and the image of the tests in it. None without
/// `FASTFLOW_TEST_DOCKER` and `FASTFLOW_TEST_IMAGE`; then the test has to skip itself through [`require`].
///
/// ```
/// if let Some((host, image)) = fastflow_core::testing::tool::docker() {
///     assert!(host.contains("://") && !image.is_empty());
/// }
/// ```
pub fn docker() -> Option<(String, String)> {
    Some((variable("FASTFLOW_TEST_DOCKER")?, variable("FASTFLOW_TEST_IMAGE")?))
}

/// The same for Podman, by `FASTFLOW_TEST_PODMAN`.
///
/// ```
/// if let Some((host, image)) = fastflow_core::testing::tool::podman() {
///     assert!(host.contains("://") && !image.is_empty());
/// }
/// ```
pub fn podman() -> Option<(String, String)> {
    Some((variable("FASTFLOW_TEST_PODMAN")?, variable("FASTFLOW_TEST_IMAGE")?))
}

/// The git of this machine, with what serves its repositories to others. None where it is not, or not all of it.
///
/// ```
/// if let Some(git) = fastflow_core::testing::tool::git() {
///     assert!(git.is_file());
/// }
/// ```
pub fn git() -> Option<PathBuf> {
    let output = Command::new("git").arg("--exec-path").output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    let found = ["git-http-backend", "git-daemon", "git"].map(|name| folder.join(name));
    found.iter().all(|path| path.is_file()).then(|| found[2].clone())
}

/// The server of OpenSSH, where its client is, too.
///
/// ```
/// if let Some(sshd) = fastflow_core::testing::tool::sshd() {
///     assert!(sshd.is_absolute());
/// }
/// ```
pub fn sshd() -> Option<PathBuf> {
    let folders =
        || ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"].into_iter().map(Path::new);
    let find = |name| folders().map(|folder| folder.join(name)).find(|path| path.is_file());
    find("ssh").and_then(|_| find("sshd"))
}

/// Says loudly that a test of `suite` is skipped, and why. A suite may have parts: `process/memory_limit`.
///
/// # Panics
///
/// If `FASTFLOW_REQUIRE`, a list with commas, holds the suite or this part of it: then a skip is a failure.
///
/// ```
/// fastflow_core::testing::tool::require("a-thing-nobody-requires", "fetch it");
/// ```
#[expect(clippy::print_stderr, reason = "a skipped test has nobody else to tell")]
pub fn require(suite: &str, why: &str) {
    let whole = suite.split('/').next();
    let required = variable("FASTFLOW_REQUIRE").unwrap_or_default();
    let mut required = required.split(',').map(str::trim);
    let is_required = required.any(|required| required == suite || Some(required) == whole);
    assert!(!is_required, "{suite} is required by FASTFLOW_REQUIRE and cannot run: {why}");
    eprintln!("SKIPPED: {suite}: {why}");
}

#[expect(clippy::disallowed_methods, reason = "a test is configured by the one who starts it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
