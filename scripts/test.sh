#!/usr/bin/env bash
# Every test there is, after the lints. Starts and stops what it needs itself;
# nothing is tried twice.
. "$(dirname "$0")/env.sh"

scripts/need.sh build browsers interop
scripts/web.sh build
scripts/lint.sh
scripts/build.sh dev

# The process journeys of dt-e2e use this binary instead of building their own.
DARKTOWER_BIN="$(binary_path dev)"
# Tests against other implementations of our protocols are left out without it.
DARKTOWER_INTEROP_PYTHON="$INTEROP_PYTHON_DIR/bin/python"
export DARKTOWER_BIN DARKTOWER_INTEROP_PYTHON

say "Rust tests"
cargo test --locked --quiet --workspace
say "TypeScript tests"
(cd web && npm run --silent test)
say "Browser journeys"
scripts/journeys.sh

say "All tests passed"
