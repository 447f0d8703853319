#!/usr/bin/env bash
# The fuzz targets, as many at once as there are processors: `tests/fuzz.sh [SECONDS [TARGET ...]]`, 20 s each by default.
#
# The short run has a fixed seed, so that it finds tomorrow what it finds today; FUZZ_SEED=0 searches anew each time. New
# inputs stay in fuzz/corpus, and one that a target fails on in fuzz/artifacts.
# Prints how many inputs each target was given. Needs cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-20}"
shift || true
targets=("$@")
((${#targets[@]})) || targets=(set_open number_list journal tokens http_request http_json)
seed="${FUZZ_SEED:-1}"

# libFuzzer needs flags of rustc that are not stable; the toolchain itself may be.
export RUSTC_BOOTSTRAP=1
cargo metadata --locked --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null
cargo fuzz build
built=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export seconds seed built logs
# The programs themselves: each `cargo fuzz run` would hold what the others wait for.
run() {
    mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
    if "$built/$1" "fuzz/corpus/$1" -artifact_prefix="fuzz/artifacts/$1/" -max_total_time="$seconds" -seed="$seed" \
        -verbosity=0 -print_final_stats=1 >"$logs/$1" 2>&1; then
        printf '%-14s %9d inputs\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$1")"
    else
        tail -n 100 "$logs/$1"
        return 1
    fi
}
export -f run
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run {}'
