#!/usr/bin/env bash
# The browser journeys against servers that they start themselves. Arguments
# choose files by a part of their name.
. "$(dirname "$0")/env.sh"

scripts/need.sh build browsers firewall
scripts/build.sh dev
DARKTOWER_BIN="$(binary_path dev)"
export DARKTOWER_BIN
scripts/isolated.sh npm --prefix web run --silent journeys -- "$@"
