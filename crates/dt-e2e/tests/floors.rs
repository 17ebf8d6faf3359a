//! Proves the floors that ARCHITECTURE.md draws, from cargo's own graph: a
//! crate knows only the floors below it, and what must stay away from a floor
//! is not linked into it by any way.

use std::collections::BTreeSet;

use anyhow::Result;
use dt_e2e::workspace::Graph;

const VOCABULARY: [&str; 5] = ["dt-ids", "dt-wire", "dt-frame", "dt-token", "dt-reconnect"];
const CORES: [&str; 5] = [
    "dt-meeting-core",
    "dt-placement-core",
    "dt-forward-core",
    "dt-mix-core",
    "dt-session-core",
];
const EDGES: [&str; 7] = [
    "dt-transport",
    "dt-websocket",
    "dt-store",
    "dt-rpc",
    "dt-telemetry",
    "dt-service",
    "dt-e2ee",
];
const SERVICES: [&str; 4] = [
    "auth-controller",
    "global-controller",
    "meeting-controller",
    "media-handler",
];
const TOOLS: [&str; 3] = ["dt-client", "darktower", "dt-e2e"];

/// What brings tasks, sockets or a crypto stack of connections with it.
const WORLD: [&str; 14] = [
    "tokio",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "web-transport-quinn",
    "rustls",
    "hyper",
    "axum",
    "reqwest",
    "sqlx",
];

/// Which edges an edge may build on: conventions of services know the stores, a
/// second carrier knows what a session is, and nothing else crosses.
const EDGE_ON_EDGE: [(&str, &str); 2] =
    [("dt-service", "dt-store"), ("dt-websocket", "dt-transport")];

fn floor_of(package: &str) -> Option<usize> {
    let floors: [&[&str]; 5] = [&VOCABULARY, &CORES, &EDGES, &SERVICES, &TOOLS];
    floors.iter().position(|floor| floor.contains(&package))
}

fn assert_without(graph: &Graph, packages: &[&str], banned: &[&str]) {
    for package in packages {
        let reachable = graph.reachable(package);
        let found: BTreeSet<_> = banned
            .iter()
            .filter(|name| reachable.contains(*name))
            .collect();
        assert!(found.is_empty(), "{package} is linked with {found:?}");
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_floor() -> Result<()> {
    let graph = Graph::read()?;
    for member in &graph.members {
        assert!(
            floor_of(member).is_some(),
            "{member} is on no floor of this test"
        );
    }
    for package in [&VOCABULARY[..], &CORES, &EDGES, &SERVICES, &TOOLS].concat() {
        assert!(
            graph.members.contains(package),
            "{package} is not in the workspace"
        );
    }
    Ok(())
}

#[test]
fn the_vocabulary_has_no_runtime_and_no_socket() -> Result<()> {
    assert_without(&Graph::read()?, &VOCABULARY, &WORLD);
    Ok(())
}

#[test]
fn the_cores_have_no_runtime_and_no_socket() -> Result<()> {
    assert_without(&Graph::read()?, &CORES, &WORLD);
    Ok(())
}

#[test]
fn a_crate_knows_only_the_floors_below_it() -> Result<()> {
    let graph = Graph::read()?;
    for member in &graph.members {
        let floor = floor_of(member).unwrap_or_default();
        for dependency in graph.direct(member) {
            let Some(below) = floor_of(dependency) else {
                continue;
            };
            let allowed = match floor {
                // Vocabulary may use vocabulary, tools may use tools.
                0 | 4 => below <= floor,
                // Cores and edges stand beside each other on the vocabulary.
                1 => below == 0,
                2 => below == 0 || EDGE_ON_EDGE.contains(&(member.as_str(), dependency)),
                _ => below < floor,
            };
            assert!(
                allowed,
                "{member} (floor {floor}) depends on {dependency} (floor {below})"
            );
        }
    }
    Ok(())
}

#[test]
fn services_never_import_each_other() -> Result<()> {
    let graph = Graph::read()?;
    for service in SERVICES {
        let others: Vec<_> = SERVICES
            .into_iter()
            .filter(|other| *other != service)
            .collect();
        assert_without(&graph, &[service], &others);
    }
    Ok(())
}

#[test]
fn only_the_binary_knows_all_services() -> Result<()> {
    let graph = Graph::read()?;
    for member in graph.members.iter().filter(|member| *member != "darktower") {
        if SERVICES.contains(&member.as_str()) {
            continue;
        }
        let known: Vec<_> = SERVICES
            .into_iter()
            .filter(|name| graph.direct(member).contains(name))
            .collect();
        assert!(known.is_empty(), "{member} depends on {known:?}");
    }
    Ok(())
}

#[test]
fn there_is_one_tls_with_one_crypto_provider() -> Result<()> {
    let banned = [
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
    ];
    assert_without(&Graph::read()?, &["darktower"], &banned);
    Ok(())
}
