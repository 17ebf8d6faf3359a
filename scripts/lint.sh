#!/usr/bin/env bash
# Everything that judges the code without running it. Warnings fail.
. "$(dirname "$0")/env.sh"

scripts/need.sh build
scripts/web.sh install

say "rustfmt"
cargo fmt --all --check
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
