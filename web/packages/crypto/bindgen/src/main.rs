//! Writes the JavaScript and TypeScript bindings of a module that was compiled
//! with wasm-bindgen: `darktower-crypto-bindgen MODULE.wasm OUTPUT_DIR`. Run by
//! scripts/wasm.sh; a library call instead of the wasm-bindgen program, so that
//! its version is fixed by Cargo.lock like every other one.

use std::{env, path::PathBuf};

use anyhow::{Context as _, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, output] = arguments.as_slice() else {
        bail!("two arguments are needed: the module and the directory for its bindings");
    };
    Bindgen::new()
        .input_path(module)
        .web(true)?
        .typescript(true)
        // The bindings name the module by `new URL(…, import.meta.url)`, which
        // is how the web build finds and hashes it.
        .omit_default_module_path(false)
        // Names of functions: a fifth of the module, and only traces of traps
        // would show them.
        .remove_name_section(true)
        .generate(output)
        .with_context(|| format!("no bindings for {}", module.display()))
}
