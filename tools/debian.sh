#!/usr/bin/env bash
# Install the named Debian packages that are missing; a test or drill calls this with what it needs.
set -euo pipefail

missing() {
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

[ -z "$(missing "$@")" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "these Debian packages are missing, and only root can install them:" $(missing "$@") >&2; exit 1; }
# Tests run side by side, and apt-get does not wait for another that reads the package lists.
exec 9>/run/lock/pouw-debian.lock
flock 9
mapfile -t needed < <(missing "$@")
[ ${#needed[@]} = 0 ] && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${needed[@]}" >/dev/null
