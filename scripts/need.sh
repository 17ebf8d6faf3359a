#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine, and only that.
#   need.sh build      a C compiler for the SQLite and crypto libraries; checks Rust and Node
#   need.sh browsers   chromium and firefox-esr for the journeys
#   need.sh firewall   ip and nft, for journeys through a network that blocks
#   need.sh interop    Python with other implementations of our protocols, in the cache folder
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

need_firewall() {
  local missing=()
  have ip || missing+=(iproute2)
  have nft || missing+=(nftables)
  have unshare || missing+=(util-linux)
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}

# A Python environment of its own; made anew when what it must hold changes.
need_interop() {
  local wanted="crates/dt-transport/tests/interop/requirements.txt"
  local there="$INTEROP_PYTHON_DIR/requirements.txt"
  cmp --silent "$wanted" "$there" && return
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  say "Installing Python packages for interoperability tests"
  rm -rf "$INTEROP_PYTHON_DIR"
  python3 -m venv "$INTEROP_PYTHON_DIR" >&2
  "$INTEROP_PYTHON_DIR/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
  # Last, so that an installation that was cut off is not taken for a whole one.
  cp "$wanted" "$there"
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
    firewall) need_firewall ;;
    interop) need_interop ;;
    wasm) need_wasm ;;
    *) die "need.sh: unknown: $what" ;;
  esac
done
