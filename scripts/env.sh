# shellcheck shell=bash
# Sourced by the other scripts: where things are, and how to say what happens.
# Does nothing by itself.

set -eu
set -o pipefail

# Every script works from the root of the checkout.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Compiled code survives a fresh clone. The Makefile exports the same default.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/darktower/target}"

# Other implementations of our protocols, to test against (need.sh interop).
export INTEROP_PYTHON_DIR="$HOME/.cache/darktower/interop-python"

# rustup's default place, for a shell that has not read its profile.
case ":$PATH:" in
  *":$HOME/.cargo/bin:"*) ;;
  *) export PATH="$PATH:$HOME/.cargo/bin" ;;
esac

# Debian's compiler for WebAssembly, which its browsers are built with.
# shellcheck disable=SC2034 # used by need.sh and wasm.sh
WASM_PACKAGES=(rustc-web cargo-web rust-web-src rust-web-llvm lld-22)

say() {
  printf '\033[1m▸ %s\033[0m\n' "$*" >&2
}

die() {
  printf '\033[1;31m✗ %s\033[0m\n' "$*" >&2
  exit 1
}

have() {
  command -v "$1" >/dev/null 2>&1
}

# The binary of a profile ("dev" or "release").
binary_path() {
  case "$1" in
    dev) printf '%s/debug/darktower' "$CARGO_TARGET_DIR" ;;
    *) printf '%s/%s/darktower' "$CARGO_TARGET_DIR" "$1" ;;
  esac
}
