#!/usr/bin/env bash
# The cryptography of the web app: crates/dt-e2ee as WebAssembly with its
# JavaScript bindings, in web/packages/crypto/src/gen.
#   wasm.sh         builds it when something changed
#   wasm.sh tests   that, and the module with the controller's side that the
#                   tests play against, in web/packages/crypto/test/gen
#   wasm.sh target  only sees to a compiler that can build it
# Built files are kept in the target directory by the hash of their sources, so
# that a fresh clone copies them instead of compiling for minutes.
#
# The compiler is rustup's where it has the target wasm32-unknown-unknown; else
# Debian's own with a standard library built from its sources. DARKTOWER_WASM=rustup or =debian chooses.
. "$(dirname "$0")/env.sh"

CRATE="web/packages/crypto"
MODULE="darktower_crypto_wasm"
TRIPLE="wasm32-unknown-unknown"
TARGET="$CARGO_TARGET_DIR/wasm"
# Built modules that are kept.
KEPT_MAX=6

# What goes into the module, by content, tests left out: they change more often.
# Cargo.toml of the root gives the versions that the crates inherit.
sources_hash() {
  find crates/dt-e2ee crates/dt-wire crates/dt-ids proto Cargo.toml \
    "$CRATE/wasm" "$CRATE/bindgen" "$CRATE/Cargo.toml" "$CRATE/Cargo.lock" scripts/wasm.sh \
    -type d \( -name tests -o -name vectors -o -name target \) -prune \
    -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

has_rustup_target() {
  [ -d "$(rustc --print sysroot)/lib/rustlib/$TRIPLE/lib" ]
}

has_debian_compiler() {
  local package
  for package in "${WASM_PACKAGES[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null |
      grep -qx installed || return 1
  done
}

# Prints which compiler builds the module, after getting it if need be.
compiler() {
  case "${DARKTOWER_WASM:-}" in
    rustup | debian) printf '%s' "$DARKTOWER_WASM" && return ;;
    "") ;;
    *) die "DARKTOWER_WASM is rustup or debian, not $DARKTOWER_WASM" ;;
  esac
  if has_rustup_target; then
    printf rustup
  elif have dpkg-query && has_debian_compiler; then
    printf debian
  else
    scripts/need.sh wasm
    printf debian
  fi
}

# Arguments: the compiler, then more for cargo.
compile() {
  local which="$1"
  shift
  local module=(build --release --locked --quiet --lib -p darktower-crypto-wasm --target "$TRIPLE" "$@")
  case "$which" in
    rustup) (cd "$CRATE" && CARGO_TARGET_DIR="$TARGET" cargo "${module[@]}" >&2) ;;
    # Debian's cargo and rustc, not those before them in PATH. Its compiler has
    # no standard library for the target, and building one is an unstable option.
    debian)
      (cd "$CRATE" && CARGO_TARGET_DIR="$TARGET" PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        /usr/bin/cargo "${module[@]}" -Zbuild-std=std,panic_abort >&2)
      ;;
  esac
  # The tool for the bindings runs here, so the usual compiler builds it.
  (cd "$CRATE" && CARGO_TARGET_DIR="$TARGET" cargo build --locked --quiet -p darktower-crypto-bindgen >&2)
}

# Arguments: the directory to fill, then more for cargo. One at a time: all
# modules are compiled to the same place.
make_kept() {
  local kept="$1" building which
  shift
  if have flock; then
    exec 9>"$TARGET/lock"
    flock 9
    if [ -d "$kept" ]; then return; fi
  fi
  scripts/need.sh build
  which="$(compiler)"
  say "Compiling the web app's cryptography to WebAssembly; the first time takes minutes"
  compile "$which" "$@"
  # Filled beside its place, so that whole directories stand there only.
  building="$(mktemp -d "$TARGET/building.XXXXXX")"
  "$TARGET/debug/darktower-crypto-bindgen" "$TARGET/$TRIPLE/release/$MODULE.wasm" "$building"
  rm -rf "$kept"
  mv "$building" "$kept"
  if have flock; then exec 9>&-; fi
}

# Arguments: the directory for the bindings, the hash of their sources, then
# more for cargo.
build() {
  local output="$1" hash="$2" kept="$TARGET/kept/$2"
  shift 2
  if [ -f "$output/stamp" ] && [ "$(cat "$output/stamp")" = "$hash" ]; then return; fi
  mkdir -p "$TARGET/kept"
  [ -f "$kept/${MODULE}_bg.wasm" ] || make_kept "$kept" "$@"
  touch "$kept"
  rm -rf "$output"
  mkdir -p "$output"
  cp "$kept"/* "$output/"
  printf '%s\n' "$hash" >"$output/stamp"
  # The one used longest ago goes first.
  find "$TARGET/kept" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn |
    tail -n "+$((KEPT_MAX + 1))" | cut -d ' ' -f 2- | xargs -r -d '\n' rm -rf
}

build_app() {
  build "$CRATE/src/gen" "$(sources_hash)"
}

build_tests() {
  build_app
  build "$CRATE/test/gen" "$(sources_hash)-controller" --features controller
}

case "${1:-app}" in
  app) build_app ;;
  tests) build_tests ;;
  target) compiler >/dev/null ;;
  *) die "wasm.sh: nothing, tests or target" ;;
esac
