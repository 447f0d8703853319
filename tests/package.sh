#!/usr/bin/env bash
# The Debian package, from its build to its purge, in a clean Debian of its own: build it, install it, start the
# daemon by the unit's command line, use it, stop it, remove it, and look what is left.
#
# Needs root, cargo-deb, debootstrap and Debian's packages. Takes five to ten minutes, most of it the release build and
# the clean Debian; so tests/all.sh does not call it. MIRROR names another mirror, SUITE another Debian,
# DEB a package that is built already.
set -euo pipefail
cd "$(dirname "$0")/.."

SUITE="${SUITE:-bookworm}"
# No step waits longer, in seconds.
BUILD_SECONDS=1200
DEBOOTSTRAP_SECONDS=600
COMMAND_SECONDS=60

step() { printf '== %s (%d s so far)\n' "$*" "$SECONDS"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

((EUID == 0)) || fail "run it as root: it makes a Debian in a directory and installs into it"
for tool in debootstrap cargo-deb; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install debootstrap; cargo install cargo-deb"
done

work=$(mktemp -d)
root="$work/root"
daemon=""
clean_up() {
    [[ -z "$daemon" ]] || kill -KILL "$daemon" 2>/dev/null || true
    ! mountpoint -q "$root/proc" || umount "$root/proc"
    rm -rf "$work"
}
trap clean_up EXIT

inside() { timeout "$COMMAND_SECONDS" chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
# Every path but those in which dpkg, the log of the installation and the copies of the lists of users change.
paths() {
    (cd "$root" && find . -xdev \( -path ./proc -o -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache \) -prune -o -print) |
        grep -vE '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)-$' | sort
}

step "the package"
if [[ -z "${DEB:-}" ]]; then
    timeout "$BUILD_SECONDS" docs/packaging/build-deb.sh --output "$work/allotd.deb" >/dev/null
    DEB="$work/allotd.deb"
fi
dpkg-deb --info "$DEB" | sed -n 's/^ \(Package\|Version\|Depends\|Installed-Size\)/\1/p'

step "a clean Debian ($SUITE)"
timeout "$DEBOOTSTRAP_SECONDS" debootstrap --variant=minbase "$SUITE" "$root" ${MIRROR:+"$MIRROR"} >"$work/debootstrap.log" 2>&1 ||
    fail "debootstrap: $(tail -n 3 "$work/debootstrap.log")"
mount -t proc proc "$root/proc"
paths >"$work/before"

step "installation"
cp "$DEB" "$root/tmp/allotd.deb"
inside dpkg --install /tmp/allotd.deb
rm "$root/tmp/allotd.deb"
for path in /usr/bin/allotd /etc/allotd/allotd.toml /usr/share/doc/allotd/copyright /usr/share/man/man1/allotd-serve.1.gz \
    /usr/share/bash-completion/completions/allotd /usr/share/doc/allotd/allotd.cdx.json; do
    [[ -s "$root$path" ]] || fail "$path is not there"
done
inside dpkg --status allotd | grep -q '^ /etc/allotd/allotd.toml ' || fail "the config file is no conffile"
[[ "$(inside stat --format '%U:%G %a' /var/lib/allotd)" == "allotd:allotd 750" ]] || fail "/var/lib/allotd is not the daemon's alone"
unit=$(find "$root/usr/lib/systemd/system" "$root/lib/systemd/system" -name allotd.service 2>/dev/null | head -n 1)
[[ -n "$unit" ]] || fail "the unit is not there"

step "what it is made of"
python3 - "$root/usr/share/doc/allotd/allotd.cdx.json" Cargo.lock <<'P' || fail "allotd.cdx.json is not that of Cargo.lock"
import json, sys, tomllib
document = json.load(open(sys.argv[1]))
locked = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(open(sys.argv[2], "rb"))["package"]}
parts = document["components"]
assert len(parts) > 100 and {"hyper", "rustls", "tokio"} <= {part["name"] for part in parts}
for part in parts:
    assert part["hashes"][0]["content"] == locked[part["name"], part["version"]], part
    assert part["licenses"] and part["purl"].startswith("pkg:cargo/"), part
print(f"{len(parts)} crates, each with licence and checksum")
P

step "the daemon, by the unit's command line"
read -ra exec_start <<<"$(sed -n 's/^ExecStart=//p' "$unit")"
user=$(sed -n 's/^User=//p' "$unit")
printf '%s, as %s\n' "${exec_start[*]}" "$user"
# A port that is free on this machine; all else is of the installed config file.
timeout 120 chroot --userspec="$user:$user" "$root" /usr/bin/env -i ALLOTD_LISTEN=127.0.0.1:0 "${exec_start[@]}" \
    >"$work/stdout" 2>"$work/log" &
daemon=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$work/stdout" && break
    kill -0 "$daemon" || fail "the daemon ended: $(cat "$work/log")"
    sleep 0.1
done
url="http://$(sed -n 's/^listening on //p' "$work/stdout")"
client() { inside ALLOTD_SERVER="$url" /usr/bin/allotd "$@"; }
echo 79120000000-79120000999 >"$root/tmp/numbers.txt"
client pool create ru /tmp/numbers.txt
rm "$root/tmp/numbers.txt"
client lease ru --json | grep -q '"number":7912' || fail "no lease"
client pool show ru --json | grep -q '"leased":1' || fail "the lease is not counted"

step "SIGTERM"
# timeout passes the signal on.
kill -TERM "$daemon"
wait "$daemon" || fail "the daemon ended with $?: $(cat "$work/log")"
daemon=""
grep -q '"event":"stopped"' "$work/log" || fail "the log has no stop: $(cat "$work/log")"
inside /usr/bin/allotd check /var/lib/allotd

step "removal and purge"
inside dpkg --remove allotd
[[ -s "$root/etc/allotd/allotd.toml" && ! -e "$root/usr/bin/allotd" ]] || fail "a removal keeps the config file alone"
inside dpkg --purge allotd
paths >"$work/after"
gone=$(comm -23 "$work/before" "$work/after")
[[ -z "$gone" ]] || fail "the package took away what was not its own: $gone"
left=$(comm -13 "$work/before" "$work/after" | grep -v '^\./var/lib/allotd\(/\|$\)' || true)
[[ -z "$left" ]] || fail "left behind: $left"
[[ -d "$root/var/lib/allotd/pools/ru" ]] || fail "a purge took the data"
printf 'left, by policy: /var/lib/allotd with the pool, and its user\n'
step "1 passed, 0 failed"
