//! Tells dependents (through `links`) where this package lies, so that they can build its executable.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=manifest_dir={}", env!("CARGO_MANIFEST_DIR"));
}
