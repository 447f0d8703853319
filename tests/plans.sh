#!/bin/sh
# Compares how numbers are read with the Python port of libphonenumber: every example number and 50,000 random valid
# ones of all regions, in national, international and plain forms. Needs Python 3.11 or later and its package index.
set -eu
cd "$(dirname "$0")/.."
work=target/plans
mkdir -p "$work"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.43
"$work/venv/bin/python" tests/plans/examined_digits.py
"$work/venv/bin/python" tests/plans/numbers.py random "${1:-50000}" > "$work/numbers.tsv"
"$work/venv/bin/python" tests/plans/numbers.py examples >> "$work/numbers.tsv"
ALLOTD_PLAN_NUMBERS="$PWD/$work/numbers.tsv" cargo test --test plans -- --ignored --nocapture
