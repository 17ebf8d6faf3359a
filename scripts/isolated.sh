#!/usr/bin/env bash
# Runs a command in a network of its own, where a firewall can be put up and
# nothing outside is reached or disturbed: isolated.sh COMMAND [ARGUMENTS]
# Where this machine allows no network namespaces it runs without one, and what
# needs a firewall says that it was left out.
. "$(dirname "$0")/env.sh"

# Where Debian keeps ip and nft, which a user's path may leave out.
export PATH="$PATH:/usr/sbin:/sbin"

options=(--net)
[ "$(id -u)" -eq 0 ] || options+=(--map-root-user)

# A browser takes a machine that has only loopback for one that is offline.
setup='ip link set lo up
ip link add wire0 type veth peer name wire1
ip address add 198.51.100.1/24 dev wire0
ip link set wire0 up
ip link set wire1 up
ip route add default dev wire0'

if have unshare && have ip && have nft &&
  unshare "${options[@]}" -- sh -ec "$setup; nft list ruleset" >/dev/null 2>&1; then
  ISOLATED_NETWORK=1
  export ISOLATED_NETWORK
  exec unshare "${options[@]}" -- sh -ec "$setup; exec \"\$@\"" sh "$@"
fi
say "No network namespaces here: what needs a firewall is left out"
exec "$@"
