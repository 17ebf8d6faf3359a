#!/usr/bin/env bash
# Every test there is, after the lints. Starts and stops what it needs itself;
# nothing is tried twice.
. "$(dirname "$0")/env.sh"

scripts/need.sh build browsers
scripts/web.sh build
scripts/lint.sh
scripts/build.sh dev

# The process journeys of dt-e2e use this binary instead of building their own.
DARKTOWER_BIN="$(binary_path dev)"
export DARKTOWER_BIN

say "Rust tests"
cargo test --locked --quiet --workspace
say "TypeScript tests"
(cd web && npm run --silent test)
say "Browser journeys"
scripts/journeys.sh

say "All tests passed"
