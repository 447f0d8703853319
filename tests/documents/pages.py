"""What the pages take for granted, and what is not run."""

# Why a block is not run, by its page and first line; or a whole page.
NOT_RUN = {
    "README.md: bash tests/all.sh               # all tests and checks": "it is what runs this",
    "docs/bench.md: allotd bench demo                                           # leases, 64 connections, as fast as it goes":
        "it takes minutes, and its figures are the machine's; tests/http/bench.rs runs the command",
    "docs/command-line.md: man allotd-pool-create": "man has its own directories of pages; tests/daemon/command_line.rs reads them with groff",
    "docs/command-line.md: allotd cluster status": "it needs etcd and a build with clusters; tests/cluster runs these three",
    "docs/command-line.md: allotd cluster handover b": "as above",
    "docs/command-line.md: allotd cluster forget c": "as above",
    "docs/backup.md: systemctl enable --now allotd-backup.timer": "systemd; tests/package.sh looks at the package",
    "docs/durability.md: allotd pool show ru                                    # ttl_max": "it follows the recovery of a damaged directory; tests/durability has one",
    "docs/examples/phone-bank/README.md": "it installs packages from PyPI; the example has tests of its own",
    "docs/operations/access.md: allotd serve --data ./data --listen 127.0.0.1:7979 --listen 10.1.0.5:7979,tls,calls=lease \\":
        "another machine's address and users; tests/daemon/listeners.rs has such listeners",
    "docs/operations/access.md: export ALLOTD_SERVER=https://localhost:7979 ALLOTD_CA=ca.crt": "it follows that daemon; tests/tls/readme.rs runs it",
    "docs/operations/cluster.md": "it needs etcd and a build with clusters; tests/cluster has the same",
    "docs/operations/kubernetes.md": "it needs a cluster of Kubernetes; tests/kubernetes.sh holds the manifest",
    "docs/operations/metrics.md": "promtool is not everywhere; tests/http/stats.rs runs it where it is",
    "docs/operations/running.md: cargo install --locked cargo-deb": "it builds and installs a package; tests/package.sh does",
    "docs/operations/running.md: $ systemd-analyze security --offline=true docs/packaging/allotd.service | tail -n 1": "systemd; tests/daemon/service_manager.rs looks at the unit",
    "docs/operations/running.md: docker build -f docs/packaging/Dockerfile -t allotd .": "Docker; tests/package.sh says what was built",
    "docs/operations/upgrading.md: allotd backup --verify --name before-upgrade   # 1. a backup, on another disk if there is one":
        "it installs a package; tests/daemon/upgrade.rs upgrades a daemon",
}

# Programs without which a page is not run.
NEEDS = {
    "docs/guides/redis.md": ["redis-server", "redis-cli"],
    "docs/guides/skip-locked.md": ["initdb", "postgres", "psql"],
    "docs/guides/proxy.md": ["nginx", "haproxy"],
}

SERVE = "allotd serve --data data --events-keep 64MiB,24h >/dev/null\n"
# What most examples of the commands are about.
RU = "pool ru 79120000000-79120001000 --order lowest\n"
LISTS = """
allotd list create optouts >/dev/null 2>&1 || true
printf '79120000005\\n79130000001\\n' | allotd list replace optouts - >/dev/null
"""
# Hours that are over now and open within days, whenever this runs.
CLOSED = """
day=$(date -u -d '+3 days' +%a | tr A-Z a-z)
curl -X PATCH --json "{\\"hours\\":{\\"rules\\":[{\\"days\\":\\"$day\\",\\"from\\":\\"09:00\\",\\"to\\":\\"21:00\\"}],\\"zone\\":\\"Etc/UTC\\"}}" $URL/v1/pools/ru >/dev/null
"""

# Commands that make what a page, a section (`page#section`) or a block (`page: first line`) takes for granted.
SETUP = {
    "README.md: allotd check ./data": "allotd stop",
    "README.md#On a network": "unset ALLOTD_SERVER",
    "docs/quick-start.md: allotd check ./data": "allotd stop",
    "docs/backup.md": SERVE + RU,
    "docs/guides/redis.md": SERVE + """
redis-server --port 6379 --save '' --daemonize yes --pidfile $DOCUMENTS_DIRECTORY/redis.pid >/dev/null
redis-cli() { command redis-cli -p 6379 "$@"; }
until redis-cli ping >/dev/null 2>&1; do sleep 0.05; done
seq -f "SADD free %.0f" 79120000000 79120000999 | redis-cli >/dev/null
for number in 79120000003 79120000004; do redis-cli SMOVE free taken $number; redis-cli ZADD leased $(( $(date +%s) + 600 )) $number; done >/dev/null
""",
    "docs/guides/skip-locked.md": SERVE + """
export PGHOST=$DOCUMENTS_DIRECTORY PGDATABASE=postgres PGPORT=5432 PGUSER=postgres
as() { if [ "$(id -u)" = 0 ]; then chmod 755 $DOCUMENTS_DIRECTORY; runuser -u nobody -- "$@"; else "$@"; fi; }
install -d $( [ "$(id -u)" = 0 ] && echo -o nobody ) $DOCUMENTS_DIRECTORY/pg
as initdb -U postgres -A trust -D $DOCUMENTS_DIRECTORY/pg/data >/dev/null
as postgres -D $DOCUMENTS_DIRECTORY/pg/data -p 5432 -k $DOCUMENTS_DIRECTORY/pg -c listen_addresses= >$DOCUMENTS_DIRECTORY/pg.log 2>&1 &
echo $! > $DOCUMENTS_DIRECTORY/postgres.pid
export PGHOST=$DOCUMENTS_DIRECTORY/pg
until psql -c 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done
psql -q -c "CREATE TABLE numbers (number bigint PRIMARY KEY, leased_until timestamptz NOT NULL DEFAULT 'epoch', holder text, retired boolean NOT NULL DEFAULT false)" \\
    -c "INSERT INTO numbers SELECT generate_series(79120000000, 79120000999)" \\
    -c "UPDATE numbers SET leased_until = now() + interval '10 min' WHERE number <= 79120000001" \\
    -c "UPDATE numbers SET retired = true WHERE number >= 79120000997"
""",
    "docs/guides/spreadsheet.md": SERVE + """
python3 $ROOT/tests/documents/workbook.py numbers.xlsx Name,Phone 'Anna,020 7946 0018' 'Ben,020 7946 0019' 'Cem,020 7946 0020'
printf 'indicatif;num\\351ro\\n33;123456789\\n33;123456790\\n' > export.csv
""",
    "docs/guides/proxy.md: cat > nginx.conf <<'END'": "pool ru 79120000000-79120000999",
    "docs/operations/apply.md": SERVE + "echo 79120000000-79120001000 > ru.txt; printf '79120000005\\n79130000001\\n' > optouts.txt",
    "docs/command-line.md#allotd apply": "printf '[pools.ru.settings]\\nttl = 60\\n' > pools.toml",
    "docs/number-lists.md": SERVE + "printf '79120000000-79120000999\\n+7 (912) 345-67-89\\n' > plan.txt\n",
    "docs/operations/access.md: openssl x509 -in client.crt -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum":
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=c -keyout client.key -out client.crt 2>/dev/null",
    "docs/operations/logs.md": SERVE + RU,
    "docs/operations/runbook.md": SERVE + RU,
    "docs/operations/sizing.md": SERVE + "pool POOL 79120000000-79120000999\nallotd backup >/dev/null\n",
    "docs/operations/tokens.md: allotd token new root --role admin --pools '*' --out root.token >> tokens.toml": SERVE + RU,
    "docs/command-line.md": SERVE.replace(" >", " --listen 127.0.0.1:$DOCUMENTS_PORT --listen unix:/run/allotd.sock >"),
    "docs/command-line.md#allotd pool create": "allotd demo --data data --events-keep 64MiB,24h >/dev/null\nallotd pool delete ru --force >/dev/null 2>&1 || true\n"
        "echo 79120000000-79120001000 > numbers.txt\n",
    "docs/command-line.md#allotd pool list": "allotd lease ru --count 2 >/dev/null",
    "docs/command-line.md#allotd pool number": RU + "allotd lease ru --within 79120000005 >/dev/null",
    "docs/command-line.md#allotd pool why": LISTS + "allotd pool set ru --blocked-by optouts >/dev/null\n" + CLOSED,
    "docs/command-line.md#allotd pool map": RU + "for number in 79120000321 79120000876; do allotd lease ru --within $number >/dev/null; done",
    "docs/command-line.md#allotd pool note": "printf '# The survey\\n\\nAsk for *five* minutes.\\n' | allotd pool set ru --note - >/dev/null",
    "docs/command-line.md#allotd pool hours": CLOSED,
    "docs/command-line.md#allotd pool zones": "printf 'prefix,zones\\n7912,Asia/Yekaterinburg\\n' > zones.csv",
    "docs/command-line.md#allotd pool delete": RU + "allotd lease ru --count 4 >/dev/null",
    "docs/command-line.md#allotd pool reinstate": "echo 79130000001 | allotd pool retire ru - >/dev/null",
    "docs/command-line.md#allotd pool release": RU + "allotd lease ru --count 3 >/dev/null",
    "docs/command-line.md#allotd pool holders": RU + "allotd pool set ru --holders true --outcome no_answer=rest:14400 >/dev/null\n"
        "allotd lease ru --count 400 --holder c-17 >/dev/null\nallotd lease ru --count 12 --holder c-3 >/dev/null",
    "docs/command-line.md#allotd pool return-holder": RU + "allotd pool set ru --holders true --outcome no_answer=rest:14400 >/dev/null; allotd lease ru --count 17 --holder c-17 >/dev/null",
    "docs/command-line.md#allotd pool export": RU + "allotd lease ru >/dev/null\nallotd lease ru | cut -f 1 | xargs -I LEASE allotd return ru LEASE --then rest:14400 >/dev/null",
    "docs/command-line.md#allotd list create": "allotd pool set ru --blocked-by '' >/dev/null; allotd list delete optouts >/dev/null",
    "docs/command-line.md#allotd list show": LISTS + "allotd pool set ru --blocked-by optouts >/dev/null",
    "docs/command-line.md#allotd list add": "printf 'phone\\n79120000001\\n' > today.csv",
    "docs/command-line.md#allotd list replace": "allotd list create national >/dev/null; printf 'phone\\n79120000001\\n' > december.csv",
    "docs/command-line.md#allotd list delete": "allotd pool set ru --blocked-by '' >/dev/null",
    "docs/command-line.md#allotd lease": RU + "pool ru-a 79120000000-79120000009\npool ru-b 79120000000-79120000009 --order lowest\nallotd lease ru-a --count 10 >/dev/null",
    "docs/command-line.md#allotd renew": RU + "given ru 79120000001 VE3e7C-ZfFQ",
    "docs/command-line.md#allotd return": RU + "allotd pool set ru --outcome no_answer=rest:14400 >/dev/null\ngiven ru 79120000001 GbJjqLFGb9w",
    "docs/command-line.md#allotd events": RU + "allotd lease ru --within 79120000001 >/dev/null\nevents_from ru 228736648618592",
    "docs/command-line.md#allotd bench": "pool demo 79120000000-79120099999",
    "docs/command-line.md#allotd doctor": "pool ru 79120000000-79120000009\nallotd lease ru --count 10 >/dev/null\nallotd backup >/dev/null",
    "docs/command-line.md#allotd audit": RU + "allotd pool pause ru --reason 'carrier is down' >/dev/null",
    "docs/command-line.md#allotd token check": "rm -f tokens.toml root.token shop.token\n(umask 077; allotd token new root --role admin --pools '*' --out root.token > tokens.toml\n"
        "allotd token new shop --role client --pools 'ru*' --expires 90d --out shop.token >> tokens.toml)",
    "docs/command-line.md#allotd backup": RU + "pool demo 79000000000-79000399999\nallotd pool delete ru-a --force >/dev/null; allotd pool delete ru-b --force >/dev/null\nallotd lease ru --count 2 >/dev/null",
    "docs/command-line.md#allotd new-secret": "allotd stop; allotd restore data/backups/monday /srv/allotd >/dev/null",
    "docs/command-line.md#allotd completions": "mkdir -p ~/.local/share/bash-completion/completions ~/.config/fish/completions; fpath=(. .)",
    "docs/http-api.md": "allotd demo --data data --events-keep 64MiB,24h >/dev/null\n",
    "docs/http-api.md#Lease": "pool ru 100-109 --order lowest",
    "docs/http-api.md#Wait for a number": RU,
    "docs/http-api.md#Lease from several pools": "pool ru-a 100-109\nallotd lease ru-a --count 10 >/dev/null\npool ru-b 79120000000-79120000019 --order lowest",
    "docs/http-api.md#Return": RU + "allotd pool set ru --outcome no_answer=rest:14400 >/dev/null\ngiven ru 79120000001 GbJjqLFGb9w",
    "docs/http-api.md#One lease without a body": "allotd pool set demo --outcome no_answer=rest:14400 >/dev/null",
    "docs/http-api.md#Holders": RU + "allotd pool set ru --outcome no_answer=rest:14400 >/dev/null",
    "docs/http-api.md#List and show pools": "pool ru 100-109 --order lowest --ttl 120\nallotd pool set ru --outcome answered=done --outcome no_answer=rest:14400 >/dev/null\n"
        "allotd pool round ru >/dev/null\nallotd lease ru --count 10 >/dev/null",
    "docs/http-api.md#Create a pool": "allotd pool delete ru --force >/dev/null\nprintf '%s\\n' 100 'not a number' 101 102 103 104 105 106 107 108 109 100 > numbers.txt",
    "docs/http-api.md#Hours": "pool ru 100-109",
    "docs/http-api.md#Add numbers": "pool ru 100-109 --order lowest",
    "docs/http-api.md#Events": RU + "allotd pool set ru --holders true --outcome no_answer=rest:14400 >/dev/null\n"
        "allotd lease ru --within 79120000001 --holder c-17 | cut -f 1 | xargs -I LEASE allotd return ru LEASE --outcome no_answer >/dev/null\nevents_from ru 228736648618592",
    "docs/http-api.md#Export": "pool ru 100-209 --order lowest\nallotd lease ru >/dev/null\necho 201 | allotd pool retire ru - >/dev/null",
    "docs/http-api.md#One number": RU + "allotd lease ru --within 79120000003 >/dev/null\n" + LISTS.replace("79120000005", "79120000003")
        + "allotd pool set ru --blocked-by optouts >/dev/null\n" + CLOSED,
    "docs/http-api.md#Map": "allotd pool release demo --state leased,resting >/dev/null",
    "docs/http-api.md#Retire and reinstate": RU + "printf '79120000007\\n79120000008\\n79130000000\\n' > do-not-call.txt",
    "docs/http-api.md#Lists": "allotd pool delete ru --force >/dev/null; allotd list delete optouts >/dev/null\n" + RU + "allotd lease ru --within 79120000007 >/dev/null",
    "docs/http-api.md#Release": RU + "allotd pool set ru --holders true >/dev/null\nallotd lease ru --count 2 >/dev/null\nallotd lease ru --count 2 --holder c-17 >/dev/null",
    "docs/http-api.md#Next round": "pool ru 100-109",
    "docs/http-api.md#Audit": RU + "allotd pool pause ru --reason 'carrier is down' >/dev/null",
    "docs/http-api.md#Backup": "pool ru 100-109; for name in ru-a ru-b ru-2; do allotd pool delete $name --force >/dev/null; done",
}
