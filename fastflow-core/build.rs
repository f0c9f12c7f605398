//! Builds the executable that every attempt runs under, so that this crate can carry it inside.
//!
//! It is a static Linux executable whatever the host program is built like, which is why it is built here by a
//! cargo of its own and is no ordinary dependency.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(message) = embed_shim() {
        println!("cargo::error={message}");
    }
}

fn embed_shim() -> Result<(), String> {
    if variable("CARGO_CFG_TARGET_OS")? != "linux" {
        return Err("fastflow-core runs on Linux only: attempts are started by a Linux executable".to_owned());
    }
    // Side by side in a checkout, which may have moved since the other package was built; elsewhere where it says.
    let beside = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../fastflow-shim");
    let package = match beside.canonicalize() {
        Ok(package) if package.join("Cargo.toml").is_file() => package,
        _ => PathBuf::from(variable("DEP_FASTFLOW_SHIM_MANIFEST_DIR")?),
    };
    for part in ["src", "Cargo.toml", "build.rs"] {
        println!("cargo::rerun-if-changed={}", package.join(part).display());
    }
    let target = variable("TARGET")?;
    let folder = PathBuf::from(variable("OUT_DIR")?).join("shim");
    build(&package, &target, &folder)?;
    let built = folder.join(&target).join("release").join("fastflow-shim");
    if !built.is_file() {
        return Err(format!("the build of fastflow-shim left no executable at {}", built.display()));
    }
    println!("cargo::rustc-env=FASTFLOW_SHIM_PATH={}", built.display());
    Ok(())
}

fn build(package: &Path, target: &str, folder: &Path) -> Result<(), String> {
    let shipped = variable("PROFILE")? == "release";
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--release", "--quiet", "--bin", "fastflow-shim", "--target", target])
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder)
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        // Link-time optimisation is worth its time in what is shipped, not in what is built every minute.
        .env("CARGO_PROFILE_RELEASE_LTO", if shipped { "true" } else { "off" })
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", if shipped { "1" } else { "16" })
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        // The flags of the outer build (a sanitizer, coverage, a dynamic libc) are not for this one.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env_remove("RUSTFLAGS");
    // `cargo clippy` puts its driver in the compiler's place; checking produces no executable. A cache around
    // the compiler (`RUSTC_WRAPPER`) serves here too.
    for wrapper in ["RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS"] {
        cargo.env_remove(wrapper);
    }
    // With the lock file of this repository the executable is the same wherever it is built. A copy of the
    // package alone has none.
    if package.ancestors().any(|folder| folder.join("Cargo.lock").is_file()) {
        cargo.arg("--locked");
    }
    let output = cargo.output().map_err(|error| format!("cannot run cargo for fastflow-shim: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // One line an error: that is the form in which cargo passes it on.
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
    Err(format!("fastflow-shim does not build for {target} with a static libc ({}): {said}", output.status))
}

fn variable(name: &str) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "this is how cargo talks to a build script")]
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
