# The way to the database and to the programs. Sourced, after settings.sh and the stacks.
#
# Owns how psql reaches the server of any stack, and where pgdump-rotate and pgdump-restore are.
# shellcheck shell=sh
# shellcheck disable=SC2154 # set by settings.sh and the stacks

# Where the environment may say which server is meant, and what else may be said about it in `.env`;
# the programs keep to the same rule (bins/kit/settings.rs).
naming='DATABASE_URL PGHOST PGHOSTADDR PGSERVICE'
connection="$naming PGPORT PGUSER PGPASSWORD PGDATABASE PGPASSFILE PGOPTIONS PGSSLMODE PGSSLROOTCERT
    PGSSLCERT PGSSLKEY PGCHANNELBINDING PGCONNECT_TIMEOUT PGREQUIREAUTH PGTARGETSESSIONATTRS"

# Brings the connection settings into the environment. Fails when a stack of ours is not up.
connect() { "${DEV_STACK}_settings"; }

none_settings() {
    # One server's password must never meet another server: `.env` counts only when nothing else does.
    if [ -z "${DATABASE_URL:-}${PGHOST:-}${PGHOSTADDR:-}${PGSERVICE:-}" ]; then
        # shellcheck disable=SC2086 # a list of names
        dotenv $connection
    fi
    for name in $connection; do
        eval "[ -z \"\${$name:-}\" ]" || eval "export $name"
    done
    if [ -n "${DATABASE_URL:-}" ]; then
        parts=$(sh "$dev_scripts/url") || exit
        eval "$parts"
    fi
    case $PG_VIA in
        *'{leader}'*)
            die 2 "PG_VIA holds {leader}, which only dev-backup, dev-restore, dev-restore-table and dev-undo fill in" \
                "For this target name the node."
            ;;
    esac
}

# use_database NAME: makes NAME the database of what is run next. A whole URL would contradict it.
use_database() {
    unset DATABASE_URL
    export PGDATABASE="$1"
}

# answers DATABASE: whether the server does; else `missing` is why not.
answers() {
    bound=5
    if missing=$(query "$1" 'SELECT 1' 2>&1 >/dev/null); then return; fi
    : "${missing:=no answer within $bound s}"
    return 1
}

none_missing() {
    connect
    answers "${dev_db_chosen:-${PGDATABASE:-}}"
}

# client PROGRAM [ARG]…: runs a client program where PG_VIA says. The prefix is a command line of
# the user's own, quotes and all; of our settings only the user's name goes through it, as with the
# programs (bins/kit/via.rs). With `bound` set it ends after so many seconds.
client() {
    if [ -n "$PG_VIA" ]; then
        word=$1
        shift
        [ -z "${PGUSER:-}" ] || set -- "--username=$PGUSER" "$@"
        set -- "$word" "$@"
        # ssh hands its words to another shell, which would split them again.
        case ${PG_VIA%% *} in
            ssh | */ssh) for word in "$@"; do set -- "$@" "$(sh_quote "$word")" && shift; done ;;
        esac
        eval "set -- $PG_VIA \"\$@\""
    fi
    if [ -z "${bound:-}" ]; then "$@"; else bounded "$bound" "$@"; fi
}

# bounded SECONDS COMMAND…
bounded() {
    if command -v timeout >/dev/null; then timeout "$@"; else shift && "$@"; fi
}

sh_quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }
sql_quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"; }

# query DATABASE SQL: unaligned, without the user's psqlrc, waiting for no password. Without a
# database, the one that libpq chooses.
query() {
    if [ -n "$1" ]; then
        client psql -XAtqw -v ON_ERROR_STOP=1 -d "$1" -c "$2" </dev/null
    else
        client psql -XAtqw -v ON_ERROR_STOP=1 -c "$2" </dev/null
    fi
}

# find_program NAME: prints the path of one of our programs.
find_program() {
    case $pgkeep_home in
        */share/pgkeep) installed=${pgkeep_home%/share/pgkeep}/bin ;;
        *) installed= ;;
    esac
    for dir in "$PGKEEP_BIN" "${CARGO_TARGET_DIR:-$pgkeep_home/target}/release" "$installed"; do
        if [ -n "$dir" ] && [ -f "$dir/$1" ] && [ -x "$dir/$1" ]; then
            printf '%s\n' "$dir/$1"
            return
        fi
    done
    command -v "$1" && return
    if [ -f "$pgkeep_home/Cargo.toml" ]; then
        hint="Run 'make -C $pgkeep_home build', or set PGKEEP_BIN to the folder that holds it."
    else
        hint="Set PGKEEP_BIN to the folder that holds it."
    fi
    die 1 "cannot find '$1' in PGKEEP_BIN, beside Makefile.dev, or in PATH" "$hint"
}
