#!/usr/bin/env bash
# Prints the figures of this machine: `darktower` in the release profile, real
# browsers. Arguments choose parts: idle, bot, e2ee, load, browser, crowd,
# layers, crypto, blocked, transport, forward, mixing, squeeze, lossy.
. "$(dirname "$0")/env.sh"

scripts/need.sh build browsers firewall
scripts/build.sh release
cargo build --locked --quiet --release -p dt-e2ee --example e2ee_figures
cargo build --locked --quiet --release -p dt-transport --example transport_figures
cargo build --locked --quiet --release -p media-handler --example forward_figures --example mixing_figures
# The controller of the groups that are measured.
scripts/wasm.sh tests
DARKTOWER_BIN="$(binary_path release)"
DARKTOWER_PROFILE=release
export DARKTOWER_BIN DARKTOWER_PROFILE
# The parts run in another folder.
[ -z "${FIGURES:-}" ] || FIGURES="$(realpath -m "$FIGURES")"
[ -z "${FIGURES:-}" ] || export FIGURES
scripts/isolated.sh npm --prefix web run --silent bench -- "$@"
