//! Makes sure that the folder of the built web app exists, and compiles the
//! binary again when its content changes: it is embedded by `src/up/app.rs`.
//!
//! Building the web app is the Makefile's work, not Cargo's.

use std::path::Path;

/// Relative to this crate, as in `src/up/app.rs`.
const DIST: &str = "../../web/apps/meet/dist";

fn main() {
    // Cargo takes a path that is missing for changed at every build. Where the
    // sources can't be written to, that is how it stays.
    if !Path::new(DIST).exists() && std::fs::create_dir_all(DIST).is_err() {
        println!("cargo::warning=the web app is not built: the server will have no pages");
    }
    println!("cargo::rerun-if-changed={DIST}");
    println!("cargo::rerun-if-changed=build.rs");
}
