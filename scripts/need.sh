#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine, and only that.
#   need.sh build      a C compiler for the SQLite and crypto libraries; checks Rust and Node
#   need.sh browsers   chromium and firefox-esr for the journeys
#   need.sh wasm       Debian's compiler for WebAssembly, where rustup has none (wasm.sh asks)
# Prints nothing when everything is there.
. "$(dirname "$0")/env.sh"

RUST_MIN="1.91"
NODE_MIN_MAJOR=20

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "root or sudo is needed to install packages: $*"
  fi
}

# Installs packages. Tried twice: another package manager may hold the lock, or
# the package lists may be older than the mirror.
apt_install() {
  have apt-get || die "install these with your package manager, then run this again: $*"
  say "Installing $*"
  local options=(-y --no-install-recommends -o DPkg::Lock::Timeout=120)
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@" >&2; then
    say "Once more with fresh package lists"
    as_root apt-get -o DPkg::Lock::Timeout=120 update >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "$@" >&2
  fi
}

need_build() {
  local missing=()
  have cc || missing+=(build-essential)
  have make || missing+=(make)
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"

  have cargo || die "Rust is missing: install it from https://rustup.rs, then run this again"
  local rust
  rust="$(rustc --version | awk '{ print $2 }')"
  if [ "$(printf '%s\n%s\n' "$RUST_MIN" "$rust" | sort -V | head -n 1)" != "$RUST_MIN" ]; then
    die "Rust $RUST_MIN or newer is needed, this is $rust: run 'rustup update'"
  fi

  if ! have node || ! have npm; then
    die "Node.js $NODE_MIN_MAJOR or newer with npm is missing: install it from https://nodejs.org"
  fi
  local node
  node="$(node -p 'process.versions.node.split(".")[0]')"
  [ "$node" -ge "$NODE_MIN_MAJOR" ] || die "Node.js $NODE_MIN_MAJOR or newer is needed, this is $(node --version)"
}

need_browsers() {
  local missing=()
  have chromium || missing+=(chromium)
  have firefox-esr || missing+=(firefox-esr)
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}

# rustup's own comes first (scripts/wasm.sh).
need_wasm() {
  have apt-get || die "WebAssembly cannot be compiled here: run 'rustup target add wasm32-unknown-unknown'"
  apt_install "${WASM_PACKAGES[@]}"
}

for what in "$@"; do
  case "$what" in
    build) need_build ;;
    browsers) need_browsers ;;
    wasm) need_wasm ;;
    *) die "need.sh: unknown: $what" ;;
  esac
done
