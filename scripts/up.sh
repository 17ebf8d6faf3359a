#!/usr/bin/env bash
# Runs the whole platform in one process, built first if anything changed.
# Arguments go to `darktower up`.
. "$(dirname "$0")/env.sh"

scripts/build.sh dev
exec "$(binary_path dev)" up "$@"
