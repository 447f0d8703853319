#!/usr/bin/env bash
# All tests and checks of the project. Closes with how long each step took, and the count of all tests.
set -euo pipefail
cd "$(dirname "$0")/.."

# How long each fuzz target runs.
FUZZ_SECONDS="${FUZZ_SECONDS:-20}"

timings=""
current=""
begun=0
end_step() {
    [[ -z "$current" ]] || timings+=$(printf '%6d s  %s' "$((SECONDS - begun))" "$current")$'\n'
    current=""
}
step() {
    end_step
    current="$*"
    begun=$SECONDS
    # A disk that is nearly full fails in places that do not say so.
    printf '\n== %s (%d s so far, %s free)\n' "$current" "$SECONDS" "$(df -h --output=avail . | tail -n 1 | tr -d ' ')"
}

# Tools that neither Debian nor PyPI has in a usable version. Soon built rather than fast: they run for seconds.
install() {
    command -v "$1" >/dev/null || CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --quiet --locked "$1@$2"
}

# Whether there are protoc and the definitions that come with it, which the feature `cluster` needs.
builds_clusters() {
    protoc -o/dev/null google/protobuf/descriptor.proto 2>/dev/null
}

# Some tests run the daemon on a disk of their own, under strace, or ask other shells; without these they skip with a reason.
need=()
command -v qemu-storage-daemon >/dev/null || need+=(qemu-utils)
command -v mkfs.ext4 >/dev/null || need+=(e2fsprogs)
command -v strace >/dev/null || need+=(strace)
command -v valgrind >/dev/null || need+=(valgrind)
[[ -e $(echo /usr/lib/*/faketime/libfaketime.so.1) ]] || need+=(libfaketime)
command -v promtool >/dev/null || need+=(prometheus)
command -v etcd >/dev/null || need+=(etcd-server etcd-client)
builds_clusters || need+=(protobuf-compiler libprotobuf-dev)
command -v haproxy >/dev/null || need+=(haproxy)
command -v redis-server >/dev/null || need+=(redis-server)
command -v initdb >/dev/null || [[ -e $(echo /usr/lib/postgresql/*/bin/initdb) ]] || need+=(postgresql)
[[ -x /usr/sbin/nginx ]] || need+=(nginx-light)
command -v groff >/dev/null || need+=(groff-base)
command -v go >/dev/null || need+=(golang-go)
command -v zsh >/dev/null || need+=(zsh)
command -v fish >/dev/null || need+=(fish)
if ((${#need[@]})) && ((EUID == 0)) && command -v apt-get >/dev/null; then
    step "Debian packages: ${need[*]}"
    if ! apt-get update -qq || ! apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null; then
        echo "not all of these could be installed: what needs them is left out"
    fi
fi
step "tools: cargo-deny, cargo-fuzz"
install cargo-deny 0.20.2
install cargo-fuzz 0.13.2

step "format"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
# The client of other services, without what the daemon needs.
cargo clippy --locked --lib --no-default-features --features client -- -D warnings
if builds_clusters; then
    cargo clippy --locked --all-targets --features cluster -- -D warnings
fi
step "dependencies: licences, bans, sources"
cargo deny --locked check licenses bans sources
cargo deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check licenses bans sources
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
step "loom models of the free index, the due hints, the words and the journal's queues"
RUSTFLAGS="--cfg allotd_loom" cargo test --locked --release --lib --target-dir target/loom models
step "simulation of the whole engine under a deterministic scheduler"
tests/simulation.sh
step "fuzz targets, $FUZZ_SECONDS s each"
tests/fuzz.sh "$FUZZ_SECONDS"
if command -v valgrind >/dev/null; then
    step "instructions of a lease, against those of a bare response"
    cargo bench --locked --bench instructions
fi
step "the operators' page, in Chromium"
tests/page.sh
step "clients generated from the OpenAPI document"
tests/clients.sh
step "every command of every document"
tests/documents/main.py
step "the Kubernetes manifest"
tests/kubernetes.sh
step "documentation tests"
cargo test --locked --doc
step "tests"
results=$(mktemp)
trap 'rm -f "$results"' EXIT
# Most of them wait: for a timeout, a process, a disk.
export RUST_TEST_THREADS=$((2 * $(nproc)))
# One run tells all that fail.
cargo test --locked --no-fail-fast --lib --bins --tests | tee "$results"
if builds_clusters && command -v etcd >/dev/null; then
    step "a cluster over a real etcd: faults under load"
    cargo test --locked --no-fail-fast --features cluster --test cluster | tee -a "$results"
fi
step "half a minute of load with faults, and the books at the end"
tests/soak/main.py --allotd target/debug/allotd --minutes 0.5
end_step

printf '\n== %d s in all\n%s\n' "$SECONDS" "$timings"
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$results"
