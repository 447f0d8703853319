#!/usr/bin/env bash
# Builds and runs the simulation, on all processors with other seeds each.
#   tests/simulation.sh                 a short run
#   tests/simulation.sh 1000000         so many schedules
#   ALLOTD_SEED=7 tests/simulation.sh   one schedule again, with what happened last
# ALLOTD_FIRST_SEED is where the seeds begin (0), ALLOTD_SECONDS when to stop at the latest.
# ALLOTD_IGNORE="a text|another" passes over findings that are known.
set -euo pipefail
cd "$(dirname "$0")/.."

schedules="${1:-16000}"
processes=$(nproc)
first="${ALLOTD_FIRST_SEED:-0}"
[[ -n "${1:-}" ]] || export ALLOTD_SECONDS="${ALLOTD_SECONDS:-120}"

export RUSTFLAGS="--cfg allotd_shuttle"
build=(cargo test --locked --release --target-dir target/shuttle --test simulation)
"${build[@]}" --no-run
# A panic in a schedule is a finding; its frames are of little use.
export RUST_BACKTRACE=0
if [[ -n "${ALLOTD_SEED:-}" ]]; then
    exec "${build[@]}" -- --nocapture
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
pids=()
for ((process = 0; process < processes; process++)); do
    ALLOTD_FIRST_SEED=$((first + process)) ALLOTD_STRIDE=$processes \
        ALLOTD_SCHEDULES=$(((schedules + processes - 1) / processes)) \
        "${build[@]}" -- --nocapture >"$logs/$process" 2>&1 &
    pids+=($!)
done
failed=0
for ((process = 0; process < processes; process++)); do
    wait "${pids[process]}" || failed=1
    grep -aE '^(test result|ALLOTD_SEED|FOUND|found after)|schedules,' "$logs/$process" || tail -20 "$logs/$process"
done
exit "$failed"
