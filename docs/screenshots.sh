#!/usr/bin/env bash
# Pictures of MLflow's real pages for the README, by headless Chromium (on Debian: apt-get install chromium).
# Run it from the repository's root with two or more runs in the store: make screenshots
set -euo pipefail
port=${PORT:-5055}
log=$(mktemp)
profile=$(mktemp -d)
dcgan ui --port "$port" >"$log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null || true; rm -rf "$log" "$profile"' EXIT

for _ in $(seq 120); do
  address=$(sed -n 's/^Runs side by side: //p' "$log")
  [ -n "$address" ] && break
  sleep 1
done
[ -n "$address" ] || { cat "$log"; echo "error: dcgan ui did not start" >&2; exit 2; }

shoot() { # address, file
  chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync \
    --disable-component-update --hide-scrollbars --user-data-dir="$profile" --window-size=1700,1250 \
    --virtual-time-budget=60000 --timeout=90000 --screenshot="$2" "$1" 2>/dev/null
  echo "$2"
}

shoot "$address" docs/images/mlflow_compare.png
