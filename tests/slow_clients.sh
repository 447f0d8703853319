#!/usr/bin/env bash
# Slow clients from outside: slowhttptest (Debian) with up to 4,000 connections in each of its four modes, and meanwhile
# other clients' leases by allotd bench. Prints the latency of these beside that of a quiet daemon, measured in the same
# run, and the daemon's memory. Fails if p99 is more than FACTOR times that of quiet, if memory grows by more than
# MEMORY_MIB, or if a lease fails.
#
# ALLOTD names a binary that is built already: a release build, as a debug build measures itself. CONNECTIONS, SECONDS_EACH
# and RATE (leases a second) change the load. Takes about two minutes, so tests/all.sh does not call it.
set -euo pipefail
cd "$(dirname "$0")/.."

CONNECTIONS="${CONNECTIONS:-4000}"
SECONDS_EACH="${SECONDS_EACH:-15}"
RATE="${RATE:-2000}"
FACTOR="${FACTOR:-2}"
MEMORY_MIB="${MEMORY_MIB:-128}"
# How long slowhttptest runs before leases are measured, in seconds.
BEGIN_SECONDS=5

command -v slowhttptest >/dev/null || { echo "slowhttptest is missing: apt-get install slowhttptest" >&2; exit 1; }
if [[ -z "${ALLOTD:-}" ]]; then
    cargo build --quiet --release --locked
    ALLOTD=target/release/allotd
fi
ALLOTD=$(realpath "$ALLOTD")
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
daemon=""
attack=""
clean_up() {
    for process in $attack $daemon; do kill "$process" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT

# One worker: what keeps it busy is seen. The disk of this machine is not what is measured.
"$ALLOTD" serve --listen 127.0.0.1:0 --data "$work/data" --workers 1 --durability none >"$work/out" 2>"$work/log" &
daemon=$!
for _ in $(seq 200); do
    grep -q '^listening on ' "$work/out" && break
    sleep 0.05
done
address=$(sed -n 's/^listening on //p' "$work/out")
export ALLOTD_SERVER="http://$address"
printf 'first,last\n79000000000,79001999999\n' >"$work/numbers.csv"
"$ALLOTD" pool create ru "$work/numbers.csv" --ttl 1 >/dev/null

# The most memory since the last call, in MiB.
peak_mib() {
    awk '/^VmHWM/ { printf "%d", $2 / 1024 }' "/proc/$daemon/status"
    echo 5 >"/proc/$daemon/clear_refs"
}
open_connections() {
    "$ALLOTD" stats --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["connections"]["open"])'
}
failed=0
quiet_us=""
printf '%-22s %12s %10s %10s %10s %8s\n' load "connections" p50_us p99_us max_us peak_MiB
measure() {
    local name=$1 connections peak sampler
    peak_mib >/dev/null
    while :; do open_connections; sleep 0.5; done >"$work/open" 2>/dev/null &
    sampler=$!
    "$ALLOTD" bench ru --json --connections 16 --rate "$RATE" --seconds "$SECONDS_EACH" >"$work/bench.json"
    kill "$sampler"
    wait "$sampler" 2>/dev/null || true
    connections=$(sort -n "$work/open" | tail -n 1)
    peak=$(peak_mib)
    read -r p50 p99 max refused < <(python3 - "$work/bench.json" <<'P'
import json, sys
report = json.load(open(sys.argv[1]))
latency = report["latency_us"]
lost = sum(kind["operations"] for kind in report["answers"] if kind["status"] != 200)
lost += report["unsent"] + report["unanswered"]
print(latency["p50"], latency["p99"], latency["max"], lost)
P
    )
    printf '%-22s %12s %10s %10s %10s %8s\n' "$name" "$connections" "$p50" "$p99" "$max" "$peak"
    : "${quiet_us:=$p99}" "${quiet_mib:=$peak}"
    if ((refused > 0)) || ((peak - quiet_mib > MEMORY_MIB)) ||
        ! python3 -c "import sys; sys.exit($p99 > $FACTOR * $quiet_us)"; then
        echo "FAILED: $name: $refused leases not answered, p99 $p99 us ($quiet_us quiet), $peak MiB ($quiet_mib quiet)" >&2
        failed=1
    fi
}
# Again and again: it ends when the daemon has closed all of its connections.
attack() {
    local name=$1
    shift
    # It stands for other machines: its own work must not take the daemon's processor.
    nice -n 15 timeout "$((BEGIN_SECONDS + SECONDS_EACH + 30))" bash -c 'while :; do slowhttptest "$@"; done' slowhttptest \
        -c "$CONNECTIONS" -r "$((CONNECTIONS / 4))" -l "$SECONDS_EACH" -p 3 "$@" >"$work/slowhttptest.txt" 2>&1 &
    attack=$!
    sleep "$BEGIN_SECONDS"
    measure "$name"
    kill "$attack" 2>/dev/null || true
    wait "$attack" 2>/dev/null || true
    attack=""
    sleep 2
}

measure quiet
attack "slow heads" -H -i 5 -x 20 -u "$ALLOTD_SERVER/v1/pools"
attack "slow bodies" -B -i 5 -s 8192 -x 10 -f application/json -u "$ALLOTD_SERVER/v1/pools/ru/lease"
attack "ranges" -R -a 1 -b 3000 -u "$ALLOTD_SERVER/v1/pools/ru/numbers"
attack "slow reading" -X -w 1 -y 2 -n 5 -z 1 -k 3 -u "$ALLOTD_SERVER/v1/pools/ru/numbers"
measure "quiet again"
kill "$daemon"
wait "$daemon"
daemon=""
"$ALLOTD" check "$work/data" >/dev/null
exit "$failed"
