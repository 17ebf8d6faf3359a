#!/usr/bin/env bash
# Builds the web app and the binary that contains it. Argument: the profile,
# "dev" (default) or "release".
. "$(dirname "$0")/env.sh"

profile="${1:-dev}"
scripts/need.sh build
scripts/web.sh build
if [ ! -x "$(binary_path "$profile")" ]; then
  say "Compiling Dark Tower; the first time takes several minutes"
fi
cargo build --locked --quiet --profile "$profile" -p darktower
