#!/usr/bin/env bash
# Formats Rust, TypeScript, Svelte and what prettier knows beside them.
. "$(dirname "$0")/env.sh"

scripts/need.sh build
scripts/web.sh install
cargo fmt --all
cargo fmt -p darktower-crypto-wasm -p darktower-crypto-bindgen --manifest-path web/packages/crypto/Cargo.toml
cargo fmt --manifest-path fuzz/Cargo.toml
(cd web && npm run --silent format)
