#!/usr/bin/env bash
# Makes clients of the OpenAPI document with openapi-python-client and openapi-typescript, and uses them against the real
# daemon. A warning of a generator is a failure: it leaves something out.
#   tests/clients.sh           Python and TypeScript; and the clients of docs/clients.md, over kills of the daemon
#   tests/clients.sh others    has openapi-generator-cli (needs Java) make Java, Go, C#, Rust and TypeScript clients
set -euo pipefail
cd "$(dirname "$0")/.."

document=$PWD/src/http/openapi.json
work=$PWD/target/clients
mkdir -p "$work"
python=$work/venv/bin/python
[[ -x $python ]] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q -r tests/clients/requirements.txt

if [[ ${1:-} == others ]]; then
    for language in java go csharp rust typescript-fetch; do
        "$work/venv/bin/openapi-generator-cli" generate -i "$document" -g "$language" -o "$work/$language" >"$work/$language.log" 2>&1 &&
            ! grep -E '^\[main\] ERROR|^Exception' "$work/$language.log" || { tail -20 "$work/$language.log" >&2; exit 1; }
        echo "$language: generated"
    done
    exit
fi

cargo build --locked --bin allotd
rm -rf "$work/allotd_client"
warnings=$("$work/venv/bin/openapi-python-client" generate --path "$document" --config tests/clients/openapi-python-client.yml \
    --meta none --output-path "$work/allotd_client" 2>&1 | grep -v '^Generating\|^$' || true)
[[ -z $warnings ]] || { echo "$warnings" >&2; exit 1; }

# The client of docs/clients.md in a language.
code_of() { sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" docs/clients.md | sed '/^```/d'; }
cp tests/clients/{package.json,package-lock.json,use.ts,restarts.ts} "$work/"
code_of ts >"$work/client.ts"
(
    cd "$work"
    [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    npx openapi-typescript "$document" -o allotd.d.ts >/dev/null
    npx tsc --strict --target es2022 --module nodenext --moduleResolution nodenext --skipLibCheck --types node use.ts restarts.ts
)

# The clients of the page in languages that not every machine has.
rm -rf "$work/page"
if command -v go >/dev/null; then
    mkdir -p "$work/page/go/allotd"
    code_of go >"$work/page/go/allotd/client.go"
    cp tests/clients/restarts.go "$work/page/go/main.go"
    printf 'module restarts\n\ngo 1.18\n' >"$work/page/go/go.mod"
    badly=$(gofmt -l "$work/page/go")
    [[ -z $badly ]] || { echo "not as gofmt has it: $badly" >&2; exit 1; }
    (cd "$work/page/go" && go vet ./... && go build -o restarts .)
else
    echo "no go: the client in Go is left out"
fi
if command -v javac >/dev/null; then
    mkdir -p "$work/page/java"
    code_of java >"$work/page/java/Allotd.java"
    javac -Xlint:all,-serial -Werror -d "$work/page/java" "$work/page/java/Allotd.java" tests/clients/Restarts.java
else
    echo "no javac: the client in Java is left out"
fi

data=$(mktemp -d)
: >"$data/out" # Before the loop looks at it.
target/debug/allotd serve --data "$data/data" --listen 127.0.0.1:0 --events-keep "16MiB,1h" >"$data/out" 2>"$data/log" &
daemon=$!
trap 'kill "$daemon"; wait "$daemon" || true; rm -rf "$data"' EXIT
for ((tries = 0; tries < 300; tries++)); do
    address=$(sed -n 's/^listening on //p' "$data/out")
    [[ -z $address ]] || break
    kill -0 "$daemon" || { cat "$data/log" >&2; exit 1; }
    sleep 0.1
done
url=http://${address#http://}
PYTHONPATH=$work timeout 120 "$python" tests/clients/use.py "$url"
(cd "$work" && timeout 120 node use.js "$url")

timeout 300 "$python" tests/clients/restarts.py "$PWD/target/debug/allotd" "$work"
