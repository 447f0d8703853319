#!/usr/bin/env bash
# All tests and checks of the project. Closes with the summary of the test runner.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --check
step "lints"
cargo clippy --locked --all-targets -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
step "loom models of the free index, the due hints and the words"
RUSTFLAGS="--cfg allotd_loom" cargo test --locked --release --lib --target-dir target/loom models
step "documentation tests"
cargo test --locked --doc
step "tests"
cargo test --locked --lib --bins --tests
