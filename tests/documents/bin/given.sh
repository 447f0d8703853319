# Leases a number of a pool, in the place of the lease with a token that the page shows: given POOL NUMBER TOKEN
given() {
    local lease
    lease=$(allotd lease "$1" --within "$2" --ttl 600) || return
    lease=${lease%%[[:space:]]*}
    echo "$3 ${lease#*:}" >>"$DOCUMENTS_DIRECTORY/given"
}
# The first event of a pool that is kept, in the place of the one that the page shows: events_from POOL SEQ
events_from() {
    local first
    # An event is there a moment after its change.
    until first=$(allotd events "$1" --limit 1 | grep -o '"seq":[0-9]*'); do sleep 0.05; done
    echo "$2 ${first#*:}" >>"$DOCUMENTS_DIRECTORY/given"
}
# Makes a pool anew: pool NAME FIRST-LAST [SETTING...]
pool() {
    allotd pool delete "$1" --force >/dev/null 2>&1 || true
    printf 'first,last\n%s\n' "${2/-/,}" | allotd pool create "$1" - --format csv "${@:3}" >/dev/null
}
