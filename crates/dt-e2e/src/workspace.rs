//! The workspace as cargo and the checkout describe it, and the binary it
//! builds.
//!
//! Driven by the tests of this crate.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The root of the checkout.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The `darktower` binary: the one that `DARKTOWER_BIN` names, else one that is
/// built now, once a process.
///
/// # Errors
/// When it does not exist or does not compile.
pub fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BINARY.get() {
        return Ok(path);
    }
    let path = match std::env::var_os("DARKTOWER_BIN") {
        Some(path) => PathBuf::from(path),
        None => build()?,
    };
    ensure!(path.is_file(), "there is no binary at {}", path.display());
    Ok(BINARY.get_or_init(|| path))
}

fn build() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let output = cargo()
        .args([
            "build",
            "--package",
            "darktower",
            "--message-format",
            "json",
        ])
        .output()
        .context("cargo did not start")?;
    ensure!(
        output.status.success(),
        "darktower does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .next_back()
        .context("cargo named no executable")
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Packages and what they depend on, tests left out.
#[derive(Debug)]
pub struct Graph {
    /// Names of this workspace's own packages.
    pub members: BTreeSet<String>,
    names: BTreeMap<String, String>,
    normal: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Graph {
    /// Asks cargo for the resolved graph of this machine's platform.
    ///
    /// # Errors
    /// When cargo fails, for example because the lock file is out of date.
    pub fn read() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--filter-platform", &host()?])
            .output()
            .context("cargo did not start")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
        let names: BTreeMap<_, _> = metadata
            .packages
            .into_iter()
            .map(|package| (package.id, package.name))
            .collect();
        let members = metadata
            .workspace_members
            .iter()
            .filter_map(|id| names.get(id).cloned())
            .collect();
        let normal = metadata
            .resolve
            .nodes
            .into_iter()
            .map(|node| {
                let normal = node
                    .deps
                    .into_iter()
                    .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()))
                    .map(|dep| dep.pkg)
                    .collect();
                (node.id, normal)
            })
            .collect();
        Ok(Self {
            members,
            names,
            normal,
        })
    }

    /// What a package of the workspace names in its own `Cargo.toml`.
    #[must_use]
    pub fn direct(&self, package: &str) -> BTreeSet<&str> {
        self.id(package).map_or_else(BTreeSet::new, |id| {
            self.normal[id]
                .iter()
                .map(|dep| self.names[dep].as_str())
                .collect()
        })
    }

    /// Everything that is linked into it, by whatever way.
    #[must_use]
    pub fn reachable(&self, package: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut queue: VecDeque<&String> = self.id(package).into_iter().collect();
        while let Some(id) = queue.pop_front() {
            for dep in &self.normal[id] {
                if seen.insert(self.names[dep].as_str()) {
                    queue.push_back(dep);
                }
            }
        }
        seen
    }

    fn id(&self, package: &str) -> Option<&String> {
        // Only members are asked for, and their names are unique.
        self.names
            .iter()
            .find(|(_, name)| name.as_str() == package)
            .map(|(id, _)| id)
    }
}

/// The platform this compiler builds for by default.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("rustc did not start")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("rustc names no host")
}

/// Files below `folder` whose name ends in one of `endings`; build products
/// and packages of others are left out.
///
/// # Errors
/// When a folder can't be read.
pub fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    const SKIPPED: [&str; 5] = ["target", "node_modules", "dist", "gen", ".git"];
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                if !SKIPPED.contains(&name.as_ref()) {
                    folders.push(entry.path());
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
