#!/usr/bin/env bash
# Formats Rust, TypeScript, Svelte and what prettier knows beside them.
. "$(dirname "$0")/env.sh"

scripts/need.sh build
scripts/web.sh install
cargo fmt --all
(cd web && npm run --silent format)
