//! Tells dependents (through `links`) where this package lies, so that they can build its executable.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Asked for when it runs, not when it is compiled: a target folder may serve a checkout that has moved.
    #[expect(clippy::disallowed_methods, reason = "this is how cargo talks to a build script")]
    let folder =
        std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    println!("cargo::metadata=manifest_dir={folder}");
}
