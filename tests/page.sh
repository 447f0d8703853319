#!/usr/bin/env bash
# Tests the operators' page in headless Chromium, against the real daemon. --screenshots makes the pictures of
# docs/screenshots instead.
set -euo pipefail
cd "$(dirname "$0")/.."

# All tests together took 236 s beside a build, on two cores.
LIMIT_SECONDS=900

need=()
command -v chromium >/dev/null || need+=(chromium fonts-dejavu-core)
command -v node >/dev/null || need+=(nodejs)
command -v npm >/dev/null || need+=(npm)
if ((${#need[@]})); then
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "missing: ${need[*]}. Install them (on Debian as root: apt-get install ${need[*]})" >&2
        exit 1
    fi
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

cargo build --locked --bin allotd
cd tests/page
# Says so itself when the lock file does not fit; does nothing when all is there.
[[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
CHROMIUM="${CHROMIUM:-$(command -v chromium)}" timeout "$LIMIT_SECONDS" node --test-reporter=spec main.js "$@"
