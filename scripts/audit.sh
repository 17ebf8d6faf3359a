#!/usr/bin/env bash
# Judges the dependencies by deny.toml: licences, banned crates, sources and
# published vulnerabilities. Needs the network, so it is not part of `make test`.
. "$(dirname "$0")/env.sh"

if ! have cargo-deny; then
  die "cargo-deny is missing: install it with 'cargo install --locked cargo-deny', then run this again"
fi
cargo deny --all-features check
# What goes to browsers has dependencies of its own versions.
cargo deny --manifest-path web/packages/crypto/Cargo.toml --all-features check --config deny.toml
