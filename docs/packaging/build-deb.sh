#!/usr/bin/env bash
# Builds the Debian package: the program, its manual pages, its completions, and what it is made of (CycloneDX).
# Needs cargo-deb (cargo install --locked cargo-deb) and python3 (3.11 or later). Arguments are passed on to cargo-deb, such as --output FILE.
set -euo pipefail
cd "$(dirname "$0")/../.."

protoc -o/dev/null google/protobuf/descriptor.proto 2>/dev/null \
    || { echo "protoc or its definitions are missing: apt-get install protobuf-compiler libprotobuf-dev" >&2; exit 1; }
cargo build --locked --profile dist --features cluster --quiet
rm -rf target/man target/completions
mkdir -p target/completions
target/dist/allotd man target/man
for shell in bash zsh fish; do
    target/dist/allotd completions "$shell" >"target/completions/allotd.$shell"
done
docs/packaging/sbom.py >target/allotd.cdx.json
cargo deb --locked --profile dist --no-build --strip "$@"
