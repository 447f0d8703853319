#!/usr/bin/env bash
# Holds docs/packaging/kubernetes.yaml against the schemas of the Kubernetes API, and starts the daemon with its arguments.
set -euo pipefail
cd "$(dirname "$0")/.."

manifest=docs/packaging/kubernetes.yaml
venv=target/kubernetes-venv
[[ -x $venv/bin/kubernetes-validate ]] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q kubernetes-validate==1.37.0; }
"$venv/bin/kubernetes-validate" --strict "$manifest"

cargo build --locked --bin allotd
work=$(mktemp -d)
daemon=""
trap '[[ -z $daemon ]] || { kill "$daemon"; wait "$daemon" || true; }; rm -rf "$work"' EXIT
mkdir -p "$work/tls" "$work/tokens"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=allotd -addext basicConstraints=CA:FALSE \
    -addext subjectAltName=DNS:localhost -keyout "$work/tls/tls.key" -out "$work/tls/tls.crt" 2>/dev/null
(umask 077 && target/debug/allotd token new root --role admin --pools '*' --out "$work/root.token" >"$work/tokens/tokens.toml")
chmod 440 "$work/tls/tls.key" "$work/tokens/tokens.toml"
mapfile -t arguments < <("$venv/bin/python" - "$manifest" "$work" <<'END'
import sys
import yaml
manifest, work = sys.argv[1:]
for part in yaml.safe_load_all(open(manifest)):
    if part["kind"] == "StatefulSet":
        for argument in part["spec"]["template"]["spec"]["containers"][0]["args"]:
            for mounted, here in (("/var/lib/allotd", "/data"), ("/etc/allotd/", "/"), ("0.0.0.0:7979", None)):
                argument = argument.replace(mounted, "127.0.0.1:0" if here is None else work + here)
            print(argument)
END
)
: >"$work/out" # Before the loop looks at it.
target/debug/allotd "${arguments[@]}" >"$work/out" 2>"$work/log" &
daemon=$!
for ((tries = 0; tries < 300; tries++)); do
    address=$(sed -n 's/^listening on //p' "$work/out")
    [[ -z $address ]] || break
    kill -0 "$daemon" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
url=https://localhost:${address##*:}
# A probe does not verify, and names the pod by its address.
[[ $(curl -sk -o /dev/null -w '%{http_code}' "https://${address}/readyz") == 200 ]]
echo 79120000000-79120000009 | target/debug/allotd pool create ru - --server "$url" --ca "$work/tls/tls.crt" --token-file "$work/root.token" >/dev/null
[[ $(curl -sk -o /dev/null -w '%{http_code}' "$url/v1/pools") == 401 ]]
echo "the manifest is valid, and the daemon serves as it says"
