#!/usr/bin/env bash
# The daemon against its own description: schemathesis (PyPI) makes requests of /openapi.json, valid and invalid ones,
# and holds each answer against the document. First without tokens, then with the token of an admin, then with that of a
# client, who gets 401, 403 and 404 for most of it. Any 5xx but a refusal for now, and any break of the document, fails.
#
# Needs python3 with venv, and PyPI. ALLOTD names a binary that is built already; EXAMPLES how many cases are made of each
# call; SEED the seed. A run takes one to three minutes, so tests/all.sh does not call it.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=4.32.5
EXAMPLES="${EXAMPLES:-30}"
SEED="${SEED:-1}"
RUN_SECONDS=900

if [[ -z "${ALLOTD:-}" ]]; then
    cargo build --quiet --locked
    ALLOTD=target/debug/allotd
fi
ALLOTD=$(realpath "$ALLOTD")
hooks=$(realpath tests/schemathesis/hooks.py)
document=$(realpath src/http/openapi.json)
work=$(mktemp -d)
daemon=""
clean_up() {
    # It writes until it has ended.
    [[ -z "$daemon" ]] || { kill "$daemon" && wait "$daemon"; } 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

venv="${SCHEMATHESIS_VENV:-$work/venv}"
if [[ ! -x "$venv/bin/schemathesis" ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "schemathesis==$VERSION"
fi
"$venv/bin/schemathesis" --version | grep -q " $VERSION\$" || { echo "schemathesis $VERSION is needed" >&2; exit 1; }

# A daemon of its own for each run, with a pool, a list and a zone table that the document's examples name.
start() {
    local name=$1
    shift
    umask 077
    "$ALLOTD" serve --listen 127.0.0.1:0 --data "$work/$name" --durability none "$@" >"$work/$name.out" 2>"$work/$name.log" &
    daemon=$!
    for _ in $(seq 200); do
        grep -q '^listening on ' "$work/$name.out" && break
        sleep 0.05
    done
    address=$(sed -n 's/^listening on //p' "$work/$name.out")
    [[ -n "$address" ]] || { cat "$work/$name.log" >&2; exit 1; }
    printf 'first,last\n79000000000,79000099999\n' >"$work/numbers.csv"
    ALLOTD_SERVER="http://$address" "$ALLOTD" pool create demo "$work/numbers.csv" --holders true >/dev/null
}
stop() {
    kill "$daemon"
    wait "$daemon" || { echo "the daemon did not end well" >&2; cat "$work/$1.log" >&2; exit 1; }
    daemon=""
    "$ALLOTD" check "$work/$1" >/dev/null
    ! grep -q '"event":"panic"' "$work/$1.log" || { grep '"event":"panic"' "$work/$1.log" >&2; exit 1; }
}
# A document, and more flags. A check of our own stands in the place of one: see hooks.py.
run() {
    local name=$1
    shift
    printf '== %s\n' "$name"
    (cd "$work" && SCHEMATHESIS_HOOKS="$hooks" nice timeout "$RUN_SECONDS" "$venv/bin/schemathesis" run "$@" \
        --max-examples "$EXAMPLES" --seed "$SEED" --no-shrink --continue-on-failure --no-color \
        --phases examples,coverage,fuzzing,stateful --suppress-health-check all --request-timeout 70 \
        --exclude-checks "positive_data_acceptance${EXCLUDE:+,$EXCLUDE}") >"$work/$name.txt" 2>&1 || {
        cat "$work/$name.txt"
        exit 1
    }
    grep -E '^ +[0-9]+ generated' "$work/$name.txt"
}

start open
run open "http://$address/openapi.json"
stop open

for role in admin client; do
    umask 077
    "$ALLOTD" token new root --role admin --pools '*' --out "$work/$role.root" >"$work/$role.toml"
    "$ALLOTD" token new caller --role "$role" --pools '*' --out "$work/$role.token" >>"$work/$role.toml"
    ALLOTD_TOKEN_FILE="$work/$role.root" start "$role" --tokens "$work/$role.toml"
    run "$role" "$document" --url "http://$address" --header "Authorization: Bearer $(<"$work/$role.token")"
    # Nobody is told which methods there are before the token is known.
    [[ "$role" == admin ]] || EXCLUDE=unsupported_method run unknown "$document" --url "http://$address"
    stop "$role"
done
