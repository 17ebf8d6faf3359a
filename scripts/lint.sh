#!/usr/bin/env bash
# Everything that judges the code without running it. Warnings fail.
. "$(dirname "$0")/env.sh"

scripts/need.sh build
scripts/web.sh install
# The types of the bindings.
scripts/wasm.sh tests

say "rustfmt"
cargo fmt --all --check
cargo fmt -p darktower-crypto-wasm -p darktower-crypto-bindgen --manifest-path web/packages/crypto/Cargo.toml --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
# Nothing else here reads the fuzzers' lock file.
cargo metadata --locked --quiet --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
say "clippy"
cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
say "eslint and prettier"
(cd web && npm run --silent lint)
say "TypeScript and Svelte types"
(cd web && npm run --silent check)
if have shellcheck; then
  say "shellcheck"
  (cd scripts && shellcheck --external-sources ./*.sh ../.ci/run)
fi
