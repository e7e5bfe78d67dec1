# Where the private PostgreSQL of DEV_STACK=local has its files, and who runs it. Sourced, after
# settings.sh.
#
# Owns the directories .dev and those it stands in for, the unprivileged user, and the lock.
# Does not own what the server does in them (server.sh).
# shellcheck shell=sh
# shellcheck disable=SC2154 # set by settings.sh

here=$(pwd -P)
dev=$here/.dev

owner_of() { find "$1" -prune -exec ls -ldn {} + | awk '{ print $3, $4; exit }'; }

# PostgreSQL refuses to be run by root. Sets run_uid and run_gid, empty when we are not root.
choose_runner() {
    run_uid='' run_gid=''
    [ "$(id -u)" = 0 ] || return 0
    if [ -d "$dev/data/" ]; then
        owner=$(owner_of "$dev/data/")
    elif id postgres >/dev/null 2>&1; then
        owner="$(id -u postgres) $(id -g postgres)"
    else
        owner="$(id -u nobody) $(id -g nobody)"
    fi
    run_uid=${owner% *} run_gid=${owner#* }
    [ "$run_uid" != 0 ] || die 1 "'$dev/data' belongs to root, who cannot run PostgreSQL"
    command -v setpriv >/dev/null || command -v runuser >/dev/null ||
        die 1 "cannot run PostgreSQL as root, and neither setpriv nor runuser is here" "Be an ordinary user."
}

as_runner() {
    if [ -z "$run_uid" ]; then
        "$@"
    elif command -v setpriv >/dev/null; then
        setpriv --reuid="$run_uid" --regid="$run_gid" --clear-groups -- "$@"
    else
        runuser -u "$(id -nu "$run_uid")" -- "$@"
    fi
}

is_runners() { [ -n "$(find "$1" -prune -type d -user "${run_uid:-$(id -u)}" -perm 700 2>/dev/null)" ]; }

# Makes a directory of the runner's own at a path that others can write to, or makes sure that what
# is there is one: anybody may have been there first.
claim_dir() {
    as_runner mkdir -m 700 "$1" 2>/dev/null || is_runners "$1" ||
        die 4 "'$1' is in the way: it is not a directory of mode 0700 of the user who runs the server"
}

# give_runner PATH…: what we made becomes the runner's.
give_runner() { [ -z "$run_uid" ] || chown -h "$run_uid:$run_gid" "$@"; }

# Sets base (where the server's files are) and run (where its socket is), and makes neither. Below
# a directory that the runner cannot enter, as /root, the files are under /var/tmp.
find_places() {
    choose_runner
    sum=$(printf '%s' "$here" | cksum)
    sum=${sum% *}-${sum#* }
    base=$dev
    if [ -L "$dev/data" ] && [ -d "$dev/data/" ]; then
        base=$(readlink "$dev/data")
        # Where it points, dev-reset removes: only a place of our own making will do.
        case $base in
            /var/tmp/pgkeep-dev.*/data) base=${base%/data} ;;
            *) die 4 "'$dev/data' is a link to '$base', which dev-up did not make" ;;
        esac
    elif [ ! -d "$dev/data/" ] && ! as_runner test -x "$dev/."; then
        base=/var/tmp/pgkeep-dev.$sum
    fi
    data=$base/data log=$base/postgres.log run=$base/run
    # A copy of a folder has a link to the server of the first one, and no right to it.
    if [ "$base" != "$dev" ] && [ -f "$base/of" ]; then
        other=$(cat "$base/of")
        [ "$other" = "$here" ] || [ "$(readlink "$other/.dev/data")" != "$data" ] ||
            die 4 "the server in '$base' belongs to '$other'" "Remove '$dev/data' to get one of its own here."
    fi
    # A socket's path has 107 bytes at most; in PGHOST a comma would end it, and in postgresql.conf
    # and .dev/env the plainest path needs no quotes.
    case $run in
        *[!A-Za-z0-9_./-]*) run=/tmp/pgkeep-dev.$sum ;;
        *) [ ${#run} -lt 90 ] || run=/tmp/pgkeep-dev.$sum ;;
    esac
}

make_dev() {
    if [ "$(id -u)" = 0 ]; then mode=755; else mode=700; fi
    [ -d "$dev" ] || mkdir -m "$mode" "$dev" 2>/dev/null || [ -d "$dev" ] || die 1 "cannot make '$dev'"
    [ -f "$dev/.gitignore" ] || [ ! -w "$dev" ] || echo '*' >"$dev/.gitignore"
}

# runner_file PATH: writes stdin to a file that the runner owns.
# shellcheck disable=SC2016
runner_file() { as_runner sh -c 'umask 077 && cat >"$1"' sh "$1"; }

make_base() {
    if [ "$base" != "$dev" ]; then
        claim_dir "$base"
        printf '%s\n' "$here" | runner_file "$base/of"
        ln -sfn "$data" "$dev/data"
        ln -sfn "$log" "$dev/postgres.log"
    fi
    if [ "$run" != "$base/run" ]; then
        claim_dir "$run"
    elif [ ! -d "$run" ]; then
        mkdir -m 700 "$run"
        give_runner "$run"
    fi
}

# One at a time in a working directory. Children that live on must not inherit descriptor 9.
take_lock() {
    [ -z "${locked:-}" ] || return 0
    [ -w "$dev" ] || die 1 "cannot write in '$dev': it belongs to another user"
    locked=yes
    if command -v flock >/dev/null; then
        exec 9>"$dev/lock"
        flock -w "$((WAIT_SECONDS + 30))" 9 || die 5 "another make is at work on '$dev'"
        return
    fi
    waited=0
    until mkdir "$dev/lock.d" 2>/dev/null; do
        waited=$((waited + 1))
        [ "$waited" -le "$((WAIT_SECONDS + 30))" ] ||
            die 5 "another make is at work on '$dev'" "If none is, remove '$dev/lock.d'."
        sleep 1
    done
    trap 'rmdir "$dev/lock.d"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# Whether another make starts or stops the server just now.
lock_is_held() {
    if command -v flock >/dev/null; then
        [ -f "$dev/lock" ] && ! flock -n "$dev/lock" true
    else
        [ -d "$dev/lock.d" ]
    fi
}
