#!/usr/bin/env bash
# All tests and checks of the project. Closes with the summary of the test runner.
set -euo pipefail
cd "$(dirname "$0")/.."

# How long each fuzz target runs.
FUZZ_SECONDS="${FUZZ_SECONDS:-20}"

step() { printf '\n== %s (%d s so far)\n' "$*" "$SECONDS"; }
install() { command -v "$1" >/dev/null || cargo install --locked "$1@$2"; }

step "format"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
step "dependencies: licences, bans, sources"
install cargo-deny 0.20.2
cargo deny --locked check licenses bans sources
cargo deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check licenses bans sources
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
step "loom models of the free index, the due hints, the words and the journal's queues"
RUSTFLAGS="--cfg allotd_loom" cargo test --locked --release --lib --target-dir target/loom models
step "fuzz targets, $FUZZ_SECONDS s each"
install cargo-fuzz 0.13.2
cargo metadata --locked --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null
for target in set_open number_list journal; do
    # libFuzzer needs flags of rustc that are not stable; the toolchain itself may be.
    RUSTC_BOOTSTRAP=1 cargo fuzz run "$target" -- -max_total_time="$FUZZ_SECONDS" -verbosity=0 -print_final_stats=1
done
step "documentation tests"
cargo test --locked --doc
step "tests"
# The tests of a failing disk inject errors with it; without it they say that they are skipped.
command -v strace >/dev/null || apt-get install --yes --quiet strace || true
cargo test --locked --lib --bins --tests
