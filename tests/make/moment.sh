#!/bin/sh
# The whole story, with make: pgbench writes, a named moment, more writes, a wrong DELETE, and back to the
# second before it, beside the live server and in place.
#
#   tests/make/moment.sh        in a temporary directory, with the programs that make build made
#   tests/make/moment.sh DIR    in DIR, which holds a Makefile that includes Makefile.dev
#
# Stops and removes what it started. Ends with 0 only when every row is where it should be.
set -eu

home=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
if [ $# -gt 0 ]; then
    cd "$1"
    own=''
else
    own=$(mktemp -d "${TMPDIR:-/tmp}/pgkeep-moment.XXXXXX")
    chmod 755 "$own"
    cd "$own"
    echo "include $home/Makefile.dev" >Makefile
fi
clean() {
    status=$?
    trap - EXIT
    [ -z "${bench:-}" ] || kill "$bench" 2>/dev/null || :
    make -s dev-pitr-beside >/dev/null 2>&1 || :
    DEV_STACK=local sh "$home/scripts/dev/stack" destroy >/dev/null 2>&1 || :
    [ -z "$own" ] || rm -rf "$own"
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s\n' "$1"; }
# is WHAT WANTED GOT
is() {
    [ "$2" = "$3" ] || { echo "FAILED: $1 is '$3', not '$2'" >&2 && exit 1; }
    echo "$1: $3"
}
ask() { psql -XAtqw "$@"; }
whole="SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"

step 'a server, its log archived, a snapshot while it runs'
make -s dev-up dev-wal-on
# shellcheck source=/dev/null
. .dev/env
pgbench -i -q -s 1 2>/dev/null
ask -c 'CREATE TABLE grades AS SELECT generate_series(1, 500) AS id'

step 'pgbench writes all along; a named moment'
pgbench -n -c 2 -T 60 >/dev/null 2>&1 &
bench=$!
sleep 1
place=$(ask -c "SELECT pg_create_restore_point('before the mistake')")
moment=$(ask -c "SELECT clock_timestamp() AT TIME ZONE 'UTC'")
echo "the moment: $moment"
sleep 1

step 'the mistake'
ask -c 'DELETE FROM grades'
sleep 1
kill "$bench"
wait "$bench" 2>/dev/null || :
bench=''
is 'grades now' 0 "$(ask -c 'SELECT count(*) FROM grades')"
present=$(ask -c 'SELECT count(*) FROM pgbench_history')

step 'which second it was, out of the log'
file=$(ask -c "SELECT pg_relation_filenode('grades')")
# the log ends where nothing was written yet, which pg_waldump tells as an error
pg_waldump -p .dev/data/pg_wal -s "$place" 2>/dev/null |
    awk -v file="/$file" '/desc: DELETE/ && index($0, file " ") { n[$8]++ } /desc: COMMIT/ && n[$8] { print n[$8], "rows", $0 }' >found || :
sed 's/rmgr.*tx:/tx:/' found
is 'rows that one transaction deleted' 500 "$(cut -d' ' -f1 found)"

step 'beside the live server'
url=$(make -s dev-pitr-beside UNTIL="$moment" | tail -n 1)
is 'grades beside' 500 "$(ask -d "$url" -c 'SELECT count(*) FROM grades')"
is 'whole transactions only' t "$(ask -d "$url" -c "$whole")"
is 'grades in the live server' 0 "$(ask -c 'SELECT count(*) FROM grades')"
is 'its transactions' "$present" "$(ask -c 'SELECT count(*) FROM pgbench_history')"
make -s dev-pitr-beside

step 'in place'
if make -s dev-pitr UNTIL="$moment" </dev/null; then echo 'FAILED: nobody was asked' >&2 && exit 1; fi
is 'grades, when nobody said DESTROY' 0 "$(ask -c 'SELECT count(*) FROM grades')"
make -s dev-pitr UNTIL="$moment" YES=1
# shellcheck source=/dev/null
. .dev/env
is 'grades' 500 "$(ask -c 'SELECT count(*) FROM grades')"
is 'whole transactions only' t "$(ask -c "$whole")"
is 'the timeline' 2 "$(ask -c "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int")"
make -s dev-wal-status >/dev/null
echo
echo 'Every row is where it should be.'
