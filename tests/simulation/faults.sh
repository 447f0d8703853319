#!/usr/bin/env bash
# Puts known faults back, each into a copy of the tree, and lets the simulation search for them.
#   tests/simulation/faults.sh            all of tests/simulation/faults/*.patch
#   tests/simulation/faults.sh NAME ...   some of them
# ALLOTD_SCHEDULES is after how many schedules a fault counts as not found (200,000).
# Prints a row per fault: its name, the schedules it took, and what was found.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$PWD
tree=$root/target/faults
names=("$@")
((${#names[@]})) || names=($(cd tests/simulation/faults && ls ./*.patch | sed 's/^\.\///; s/\.patch$//'))
export RUSTFLAGS="--cfg allotd_shuttle" RUST_BACKTRACE=0 CARGO_INCREMENTAL=1
export ALLOTD_SCHEDULES="${ALLOTD_SCHEDULES:-200000}"
missed=0
for name in "${names[@]}"; do
    mkdir -p "$tree"
    # Unchanged files keep their times, so that little is built.
    git ls-files --cached --others --exclude-standard | while read -r file; do
        cmp -s "$file" "$tree/$file" || { mkdir -p "$(dirname "$tree/$file")" && cp "$file" "$tree/$file"; }
    done
    patch -s -p1 -d "$tree" <"tests/simulation/faults/$name.patch"
    log=$tree/$name.log
    (cd "$tree" && cargo test --locked --release --target-dir "$root/target/shuttle" --test simulation -- \
        --nocapture) >"$log" 2>&1 && { echo "| \`$name\` | not found | |"; missed=1; continue; }
    if ! grep -qa '^found after' "$log"; then
        tail -20 "$log" >&2
        exit 1
    fi
    printf '| `%s` | %s | %s |\n' "$name" "$(grep -a '^found after' "$log" | cut -d' ' -f3)" \
        "$(grep -a '^FOUND' "$log" | head -1 | cut -c7-110)"
done
exit "$missed"
