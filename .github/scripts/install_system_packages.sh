#!/usr/bin/env bash
# What `make test-all` needs besides `make test`, on Debian and Ubuntu: Chromium, npm for the accessibility checker, nginx,
# PostgreSQL.
set -euo pipefail
export PATH=$PATH:/usr/sbin # nginx
missing=()
for command in chromium npm nginx; do
  command -v "$command" > /dev/null || missing+=("$command") # the packages have the names of the commands
done
ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit
root=$([ "$(id -u)" -eq 0 ] || echo sudo)
$root apt-get update -qq
$root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
