#!/usr/bin/env bash
# The web app served by vite with hot reload, its API calls and sessions going
# to a Dark Tower started here. Changes in Rust need a restart.
. "$(dirname "$0")/env.sh"

HTTP="127.0.0.1:8080"
# vite's own default port; the page is served from there, so the server has to
# accept it as an origin.
DEV_ORIGIN="http://127.0.0.1:5173"

scripts/build.sh dev
say "Server on http://$HTTP; the page to open is $DEV_ORIGIN"
"$(binary_path dev)" up --http "$HTTP" --allow-origin "$DEV_ORIGIN" "$@" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
cd web && npm run --silent dev
