#!/usr/bin/env bash
# The web workspace, done only when something changed.
#   web.sh install   npm packages of the lock file
#   web.sh build     packages, generated code and the web app in web/apps/meet/dist
# What was done last is kept as a hash beside the packages, so that removing
# node_modules forgets it.
. "$(dirname "$0")/env.sh"

STAMPS="web/node_modules/.darktower"

stamp_is() {
  [ -f "$STAMPS/$1" ] && [ "$(cat "$STAMPS/$1")" = "$2" ]
}

stamp_set() {
  mkdir -p "$STAMPS"
  printf '%s\n' "$2" >"$STAMPS/$1"
}

lock_hash() {
  { node --version; cat web/package-lock.json web/package.json web/*/*/package.json; } | sha256sum | cut -d ' ' -f 1
}

# Everything that goes into the web app, by content: a checkout changes times
# without changing files. The stamp stands for the Rust code in it.
sources_hash() {
  find proto web/packages/crypto/src/gen/stamp web \
    -type d \( -name node_modules -o -name dist -o -name gen -o -name journeys \) -prune \
    -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

install() {
  local hash
  hash="$(lock_hash)"
  if stamp_is install "$hash"; then return; fi
  say "Installing npm packages"
  # The browsers are the system's; no package may fetch its own.
  (cd web && PUPPETEER_SKIP_DOWNLOAD=1 PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error >&2)
  stamp_set install "$hash"
}

build() {
  install
  scripts/wasm.sh
  local hash
  hash="$(sources_hash)"
  if stamp_is build "$hash" && [ -f web/apps/meet/dist/index.html ]; then return; fi
  say "Building the web app"
  (cd web && npm run --silent build >&2)
  stamp_set build "$hash"
}

case "${1:-}" in
  install) install ;;
  build) build ;;
  *) die "web.sh: install or build" ;;
esac
