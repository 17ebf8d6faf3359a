//! Keeps ARCHITECTURE.md honest: every **Invariant:** line names a test, and
//! the test is there; every file says what it owns; nothing is left half done.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use dt_e2e::workspace::{files, root};

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Names of the test functions in all Rust files, and the titles of the tests
/// in all TypeScript files.
fn tests_of_the_project() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in files(&root().join("crates"), &[".rs"])? {
        let text = read(&path)?;
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
                continue;
            }
            let function = line
                .strip_prefix("async fn ")
                .or_else(|| line.strip_prefix("fn "));
            if let Some(rest) = function.filter(|_| std::mem::take(&mut is_test)) {
                names.insert(rest.split(['(', '<']).next().unwrap_or(rest).to_owned());
            }
        }
    }
    for path in files(&root().join("web"), &[".ts"])? {
        for line in read(&path)?.lines().map(str::trim) {
            let title = ["test(\"", "it(\"", "journey(\""]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            if let Some(title) = title.and_then(|rest| rest.split('"').next()) {
                names.insert(title.to_owned());
            }
        }
    }
    Ok(names)
}

#[test]
fn every_invariant_of_the_architecture_names_a_test_that_exists() -> Result<()> {
    let text = read(&root().join("ARCHITECTURE.md"))?;
    let tests = tests_of_the_project()?;
    // An invariant is a paragraph; its test is the last thing in backquotes.
    let invariants: Vec<_> = text
        .split("\n\n")
        .flat_map(|paragraph| paragraph.split("\n- "))
        .filter(|part| part.trim_start_matches("- ").starts_with("**Invariant:**"))
        .collect();
    assert!(
        invariants.len() >= 10,
        "only {} invariants are stated",
        invariants.len()
    );
    for invariant in invariants {
        let named = invariant.trim_end().trim_end_matches([')', '.']);
        let test = named
            .strip_suffix('`')
            .and_then(|rest| rest.rsplit('`').next())
            .with_context(|| format!("this invariant ends with no test: {invariant}"))?;
        assert!(
            tests.contains(test),
            "no test is called {test}, named by: {invariant}"
        );
    }
    Ok(())
}

#[test]
fn every_rust_file_says_what_it_owns() -> Result<()> {
    let silent: Vec<_> = files(&root().join("crates"), &[".rs"])?
        .into_iter()
        .filter(|path| !read(path).is_ok_and(|text| text.starts_with("//!")))
        .collect();
    assert!(silent.is_empty(), "files without a //! header: {silent:#?}");
    Ok(())
}

#[test]
fn nothing_is_left_to_be_done_in_the_code() -> Result<()> {
    // Put together here so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!"),
        concat!("to", "do!("),
    ];
    let mut found = Vec::new();
    for folder in ["crates", "web", "proto", "scripts"] {
        for path in files(
            &root().join(folder),
            &[".rs", ".ts", ".svelte", ".proto", ".sh"],
        )? {
            let text = read(&path)?;
            for (number, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark)) {
                    found.push(format!("{}:{}: {line}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    Ok(())
}

#[test]
fn the_lock_files_name_no_private_registry() -> Result<()> {
    let npm = read(&root().join("web/package-lock.json"))?;
    let hosts: Vec<_> = npm
        .lines()
        .filter(|line| line.contains("\"resolved\"") && line.contains("://"))
        .collect();
    assert!(
        hosts.is_empty(),
        "web/package-lock.json names hosts: {hosts:#?}"
    );

    let cargo = read(&root().join("Cargo.lock"))?;
    let others: BTreeSet<_> = cargo
        .lines()
        .filter(|line| line.starts_with("source = "))
        .filter(|line| {
            *line != r#"source = "registry+https://github.com/rust-lang/crates.io-index""#
        })
        .collect();
    assert!(
        others.is_empty(),
        "Cargo.lock names other sources: {others:#?}"
    );
    Ok(())
}
