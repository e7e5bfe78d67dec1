# The private PostgreSQL of DEV_STACK=local. Sourced, after settings.sh and places.sh.
#
# Owns its making, its start and stop, and .dev/env with the settings that reach it. The data in it
# are not its business.
#
# Nobody else on the machine gets in: the socket is in a directory of mode 0700 and asks for no
# password; the loopback port, for programs that know no sockets, asks for the one in .dev/pgpass.
# shellcheck shell=sh
# shellcheck disable=SC2154 # set by settings.sh and places.sh

# find_postgres [MAJOR]: sets pg_bin and pg_major to the newest server programs here, or to those
# of one major version.
find_postgres() {
    pg_bin='' pg_major=0
    # A link in PATH may stand alone, without psql beside it.
    in_path=$(command -v initdb) && in_path=$(readlink -f "$in_path") || in_path=''
    for dir in "${in_path%/initdb}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        [ -x "$dir/initdb" ] || continue
        [ -x "$dir/pg_ctl" ] || continue
        version=$("$dir/initdb" --version) || continue
        version=${version#*) }
        version=${version%%[!0-9]*}
        [ "${1:-$version}" = "$version" ] || continue
        if [ "$version" -gt "$pg_major" ]; then pg_bin=$dir pg_major=$version; fi
    done
    [ -n "$pg_bin" ]
}

# Prints the postmaster's process id, or fails. A number in a pid file may by now be any process:
# where /proc tells, only one that stands in the data directory counts.
server_pid() {
    [ -s "$data/postmaster.pid" ] && read -r pid <"$data/postmaster.pid" || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    kill -0 "$pid" 2>/dev/null || return 1
    if [ -d /proc/self ]; then
        [ "$(readlink "/proc/$pid/cwd")" = "$(cd "$data" && pwd -P)" ] || return 1
    fi
    echo "$pid"
}

log_tail() {
    [ ! -s "$log" ] || { say "the last lines of '$log':" && tail -n 8 "$log" >&2; }
}

find_programs_of_data() {
    major=$(cat "$data/PG_VERSION")
    find_postgres "$major" || die 1 "the data in '$dev/data' are PostgreSQL $major's, and its programs are not here" \
        "Install postgresql-$major, or begin anew: make dev-reset SKIP_BACKUP=1."
}

# Makes the data directory beside its final name, so that half of one is never taken for a whole.
make_data() {
    if [ -f "$data/PG_VERSION" ]; then
        find_programs_of_data
        return
    fi
    [ ! -d "$data" ] || rmdir "$data" 2>/dev/null || die 1 "'$data' is not empty, and no data directory of PostgreSQL"
    find_postgres || die 1 "cannot find PostgreSQL's server programs (initdb, pg_ctl)" "Run 'make dev-setup'."
    rm -rf "$data.new"
    mkdir -m 700 "$data.new"
    give_runner "$data.new"
    locale=$(locale -a 2>/dev/null | sed -n '/^C\.[Uu][Tt][Ff]-*8$/{p;q;}')
    # The quoting of initdb and pg_ctl ends at a quote or a dollar in a path: they get relative ones.
    if ! made=$(cd "$base" && as_runner "$pg_bin/initdb" -D data.new -U postgres -E UTF8 --locale="${locale:-C}" \
        --data-checksums --auth-local=trust --auth-host=reject 2>&1); then
        printf '%s\n' "$made" >&2
        die 1 "initdb failed"
    fi
    runner_file "$data.new/pg_hba.conf" <<'END'
# The socket is in a directory that only its owner can enter.
local  all          all                trust
local  replication  all                trust
host   all          all  127.0.0.1/32  scram-sha-256
host   all          all  ::1/128       scram-sha-256
END
    # shellcheck disable=SC2016
    as_runner sh -c 'echo "include '\''dev.conf'\''  # written by every dev-up" >>"$1"' sh "$data.new/postgresql.conf"
    mv "$data.new" "$data"
    say "made a PostgreSQL $pg_major in '$dev/data'"
}

# The archive of this server's log.
wal_archive() {
    identifier=$(LC_ALL=C as_runner "$pg_bin/pg_controldata" "$data" | sed -n 's/^Database system identifier: *//p')
    printf '%s/wal/%s' "$base" "$identifier"
}

# Prints the settings that have the log archived, once dev-wal-on has asked for it.
wal_settings() {
    [ -f "$base/wal/on" ] || return 0
    program=$(find_program wal-archive)
    if ! as_runner test -x "$program"; then
        # shellcheck disable=SC2016
        as_runner sh -c 'cat >"$1.new" && chmod 700 "$1.new" && mv "$1.new" "$1"' sh "$base/wal/wal-archive" <"$program"
        program=$base/wal/wal-archive
    fi
    archive=$(wal_archive)
    as_runner "$program" init -a "$archive" && as_runner "$program" config -a "$archive" --compress zstd --ahead 4
}

try_start() {
    archiving=$(wal_settings) || die 1 "cannot archive the log"
    runner_file "$data/dev.conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$run'
password_encryption = 'scram-sha-256'
cluster_name = 'pgkeep-dev'
$archiving
END
    [ ! -f "$log" ] || mv -f "$log" "$log.1"
    : >"$log"
    give_runner "$log"
    chmod 600 "$log"
    rm -f "$run"/.s.PGSQL.*
    # What a full disk leaves of a pid file, pg_ctl would stop at.
    [ ! -f "$data/postmaster.pid" ] || grep -qx '[0-9][0-9]*' "$data/postmaster.pid" || rm -f "$data/postmaster.pid"
    # What lives on must not hold the lock, nor make's own descriptors.
    said=$(cd "$data" && as_runner "$pg_bin/pg_ctl" -D . -l ../postgres.log -s -w -t "$WAIT_SECONDS" start \
        </dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-)
}

start_server() {
    port=${DEV_PORT:-$(server_setting port)}
    : "${port:=$((15432 + ${sum%-*} % 10000))}"
    ports=0 waited=0
    until try_start; do
        if grep -q 'could not create any TCP/IP sockets' "$log"; then
            [ -z "$DEV_PORT" ] || die 5 "port $port of 127.0.0.1 is taken" "Leave DEV_PORT empty for a free one."
            ports=$((ports + 1))
            [ $ports -le 50 ] || die 5 "50 ports up to $port of 127.0.0.1 are taken" "Choose one with DEV_PORT."
            port=$((port + 1))
        elif grep -q -e 'shared memory block' -e 'lock file .* already exists' "$log" &&
            [ $waited -lt "$WAIT_SECONDS" ]; then
            # After a kill, the children of the server live a moment longer. A pid file whose process
            # is another one by now was left by a crash; PostgreSQL's shared memory still guards the data.
            grep -q 'shared memory block' "$log" || server_pid >/dev/null || rm -f "$data/postmaster.pid"
            waited=$((waited + 1))
            sleep 1
        else
            log_tail
            die 5 "PostgreSQL does not start: $said"
        fi
    done
}

# The password of the loopback port survives a reset of the data, and a restore that brought an older one.
keep_password() {
    if [ ! -s "$dev/pgpass" ]; then
        word=$(od -An -v -N16 -tx1 /dev/urandom | tr -d ' \n')
        (umask 077 && printf '%s:*:*:postgres:%s\n' 127.0.0.1 "$word" localhost "$word" >"$dev/pgpass.new")
        mv "$dev/pgpass.new" "$dev/pgpass"
    fi
    if [ -z "${made:-}" ] &&
        PGHOST=127.0.0.1 PGPASSFILE=$dev/pgpass psql -XAtqw -d template1 -c 'SELECT 1' >/dev/null 2>&1; then
        return
    fi
    word=$(sed -n '1s/.*://p' "$dev/pgpass")
    psql -XAtqw -v ON_ERROR_STOP=1 -d template1 >/dev/null <<END
ALTER ROLE postgres PASSWORD '$word';
END
}

# Percent-encodes what is not plain.
url_quote() {
    case $1 in
        *[!A-Za-z0-9_.-]*) printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g' ;;
        *) printf '%s' "$1" ;;
    esac
}

# The value that the server was last started with.
server_setting() { [ ! -f "$data/dev.conf" ] || sed -n "s/^$1 = //p" "$data/dev.conf" | tr -d "'"; }

# database_url NAME
database_url() {
    printf 'postgresql://postgres@/%s?host=%s&port=%s' "$(url_quote "$1")" \
        "$(printf '%s' "$PGHOST" | sed 's|/|%2F|g')" "$PGPORT"
}

# Writes .dev/env for the server that runs, and reads it.
write_env() {
    PGHOST=$(server_setting unix_socket_directories) PGPORT=$(server_setting port)
    {
        echo "# How to reach the PostgreSQL of this folder: . .dev/env && psql"
        echo "# Without a socket: 127.0.0.1, port $PGPORT, user postgres, the password is in .dev/pgpass."
        echo 'unset PGSERVICE PGSERVICEFILE PGHOSTADDR PGPASSWORD PGOPTIONS PGSSLMODE PGCHANNELBINDING'
        echo 'unset PGREQUIREAUTH PGREQUIREPEER PGTARGETSESSIONATTRS'
        echo "PGHOST=$PGHOST PGPORT=$PGPORT PGUSER=postgres PGDATABASE=$(sh_quote "$DEV_DB")"
        echo "PGPASSFILE=$(sh_quote "$dev/pgpass")"
        echo "DATABASE_URL='$(database_url "$DEV_DB")'"
        echo "case \$PATH in $(sh_quote "$pg_bin"):*) ;; *) PATH=$(sh_quote "$pg_bin"):\$PATH ;; esac"
        echo 'export PGHOST PGPORT PGUSER PGDATABASE PGPASSFILE DATABASE_URL PATH'
    } >"$dev/env.new"
    mv "$dev/env.new" "$dev/env"
    # shellcheck source=/dev/null
    . "$dev/env"
}

local_up() {
    make_dev
    take_lock
    find_places
    make_base
    if server_pid >/dev/null; then
        find_programs_of_data
        if [ -S "$(server_setting unix_socket_directories)/.s.PGSQL.$(server_setting port)" ]; then
            state='is up already'
        else
            say "the folder was moved, or the socket removed: starting PostgreSQL anew"
            stop_by fast || die 5 "the local PostgreSQL (process $(server_pid)) does not end"
            start_server
            state='is up'
        fi
    else
        make_data
        start_server
        state='is up'
    fi
    write_env
    keep_password
    [ -n "$(query postgres "SELECT 1 FROM pg_database WHERE datname = $(sql_quote "$DEV_DB")")" ] ||
        createdb -w "$DEV_DB"
    say "PostgreSQL $pg_major $state: socket $PGHOST, 127.0.0.1:$PGPORT; '. .dev/env' gives the settings"
}

# The server that dev-pitr-beside recovered: the same port, in a directory of its own.
beside_up() {
    claim_dir "$run/b"
    said=$(cd "$base/beside/data" && as_runner "$pg_bin/pg_ctl" -D . -l ../../beside.log -s -w -t "$WAIT_SECONDS" \
        -o "-k $run/b -c listen_addresses= -c archive_mode=off -c cluster_name=pgkeep-beside" start \
        </dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-) || die 5 "the server beside does not start: $said"
}

# Stops it and removes it, if it is there.
beside_down() {
    [ -d "$base/beside" ] || return 0
    if [ -s "$base/beside/data/postmaster.pid" ]; then
        (cd "$base/beside/data" && as_runner "$pg_bin/pg_ctl" -D . -s -m immediate -w -t "$WAIT_SECONDS" stop) || :
    fi
    rm -rf "$base/beside" "$base/beside.log"
    rm -f "$run"/b/.s.PGSQL.*
    [ ! -d "$run/b" ] || rmdir "$run/b"
}

local_down() {
    [ -d "$dev" ] || { say "the local PostgreSQL is not up" && return; }
    take_lock
    find_places
    [ ! -d "$base/beside" ] || { find_programs_of_data && beside_down; }
    if ! server_pid >/dev/null; then
        say "the local PostgreSQL is not up"
    else
        find_programs_of_data
        stop_by fast || { say "it does not end within $WAIT_SECONDS s: stopping it hard" && stop_by immediate; } ||
            die 5 "the local PostgreSQL (process $(server_pid)) does not end"
        say "the local PostgreSQL is stopped"
    fi
    # A socket's directory outside .dev has no use while nothing listens.
    if [ "$run" != "$base/run" ] && is_runners "$run"; then rm -f "$run"/.s.PGSQL.*; rmdir "$run"; fi
}

stop_by() { (cd "$data" && as_runner "$pg_bin/pg_ctl" -D . -s -m "$1" -w -t "$WAIT_SECONDS" stop); }

# Stops the server and removes its data; what it was asked to keep (the password) stays.
local_destroy() {
    local_down
    [ -d "$dev" ] || return 0
    rm -rf "$base/data" "$base/data.new" "$base/run" "$base/postgres.log" "$base/postgres.log.1"
    if [ "$base" != "$dev" ]; then rm -rf "$base" "$dev/data" "$dev/postgres.log"; fi
    rm -f "$dev/env"
}

# Reads .dev/env, made to mean DEV_DB. Fails when the server is not up.
local_settings() {
    find_places
    if [ ! -f "$dev/env" ] || ! server_pid >/dev/null; then
        die 5 "the local PostgreSQL is not up" "Run 'make dev-up'."
    fi
    # shellcheck source=/dev/null
    . "$dev/env"
    DATABASE_URL=$(database_url "$DEV_DB")
    export PGDATABASE="$DEV_DB" DATABASE_URL
}

# Whether it takes connections; else `missing` is what it lacks, and a status of 2 says that it is no
# use to wait.
local_missing() {
    missing=''
    find_places
    if [ ! -f "$dev/data/PG_VERSION" ]; then
        missing="there is no local PostgreSQL here"
    elif ! server_pid >/dev/null || [ ! -f "$dev/env" ]; then
        missing="the local PostgreSQL is not running"
    fi
    if [ -z "$missing" ]; then
        local_settings
        answers postgres
    elif lock_is_held; then
        return 1
    else
        return 2
    fi
}

# Whether there is something to back up, started if need be.
local_data() {
    make_dev
    take_lock
    find_places
    [ -f "$data/PG_VERSION" ] || return 1
    server_pid >/dev/null || local_up
}
