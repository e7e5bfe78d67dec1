# What the git hooks share: which migrations come, and the backup before somebody runs them.
# Sourced, after `event` is set to what git does: merge, checkout or rebase.
#
# Owns the comparison, the time limit, and the one line that is said. How a backup is made is left
# to scripts/dev/backup, which make calls, so that the settings are those of the user's Makefile.
#
# Git must never be held up: nothing here ends with another status than 0, asks for anything, or
# waits longer than HOOK_SECONDS.
# shellcheck shell=sh
# shellcheck disable=SC2154 # set by the hooks

say() { printf 'pgkeep: %s\n' "$*" >&2; }
missed() { say "no backup was taken before $brought: $*"; }

usual_folders='migrations db/migrations db/migrate prisma/migrations alembic/versions
    src/main/resources/db/migration'

has() { git cat-file -e "$1:$prefix$2" 2>/dev/null; }

# find_paths TREE: sets `paths` to the folders of migrations as git names them, one a line. A setting
# that names a folder as a whole is that folder, whose name may have blanks in it.
find_paths() {
    folders=${MIGRATIONS_DIR:-$(git config pgkeep.migrations)}
    paths=''
    if [ -z "$folders" ]; then
        for folder in $usual_folders; do
            if has "$1" "$folder"; then paths=$prefix$folder && return; fi
        done
    elif has "$1" "$folders"; then
        paths=$prefix$folders
    else
        set -f
        for folder in $folders; do
            paths="$paths$prefix$folder
"
        done
        set +f
    fi
}

# look BEFORE AFTER: takes a backup if AFTER has migrations that BEFORE has not, or has with another
# text. What is gone in AFTER does not count: there is nothing in it to be run. Fails if none comes.
look() {
    # What git calls hooks with is the top already; a foreign hook may have gone elsewhere.
    top=$(git rev-parse --show-toplevel) && cd "$top" || return 0
    prefix=$(git config pgkeep.dir)
    find_paths "$2"
    [ -n "$paths" ] || return 1
    count=$(
        IFS='
'
        set -f
        # shellcheck disable=SC2086 # a list of lines
        git --literal-pathspecs diff-tree -r --no-renames --diff-filter=d --name-only "$1" "$2" -- $paths | wc -l
    )
    count=$((count))
    [ "$count" -gt 0 ] || return 1
    brought="$count new or changed migrations"
    [ "$count" -gt 1 ] || brought='a new or changed migration'
    back_up
    return 0
}

back_up() {
    case ${SKIP_BACKUP:-} in
        '' | 0 | no | false) ;;
        *) missed "SKIP_BACKUP=$SKIP_BACKUP" && return ;;
    esac
    for program in make timeout; do
        command -v "$program" >/dev/null || { missed "'$program' is not installed" && return; }
    done
    makefile=$(git config pgkeep.makefile)
    seconds=${HOOK_SECONDS:-$(git config pgkeep.seconds)}
    case $seconds in '' | 0* | *[!0-9]*) seconds=60 ;; esac

    # Git's own variables would bind whatever git make calls to this repository and its index, and
    # the flags of a make that called git are not for ours.
    # shellcheck disable=SC2046 # a list of names
    unset $(git rev-parse --local-env-vars) MAKEFLAGS MFLAGS MAKELEVEL
    [ -z "$prefix" ] || cd "$prefix" 2>/dev/null || { missed "'$prefix' is not on this branch" && return; }
    said=$(mktemp -d "${TMPDIR:-/tmp}/pgkeep-hook.XXXXXX" 2>&1) || { missed "$said" && return; }

    # In files: a pipe would be waited for as long as anything has it open. In the background: an
    # interrupt must reach what `timeout` has put into a group of its own.
    set -- -s "pgkeep_event=$event" dev-hook-backup
    [ -z "$makefile" ] || set -- -f "$makefile" "$@"
    stopped=''
    timeout -k 5 "$seconds" make "$@" </dev/null >"$said/out" 2>"$said/err" &
    worker=$!
    trap 'stopped=yes; kill "$worker" 2>/dev/null' HUP INT TERM
    wait "$worker"
    status=$?
    [ -z "$stopped" ] || wait "$worker" 2>/dev/null
    trap - HUP INT TERM

    made=$(tail -n 1 "$said/out")
    # The first sentence is the cause; what follows draws conclusions from it.
    reason=$(sed -e '/: hint: /d' -e 's/^dev: \(WARNING: \)*//' -e t -e '/^pgdump-rotate: /b' -e '/\*\*\* /b' -e d \
        "$said/err" | head -n 1)
    : "${reason:=$(tail -n 1 "$said/err")}"
    rm -rf "$said"
    if [ -n "$stopped" ]; then
        missed 'interrupted'
    elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
        missed "it took longer than $seconds s (HOOK_SECONDS)"
    elif [ "$status" = 0 ] && [ -f "$made" ]; then
        told_of
    else
        missed "${reason:-make ended with status $status}"
    fi
}

# Says where the backup is, seen from the top of the working tree, and the command that restores it.
told_of() {
    again='make'
    [ -z "$prefix" ] || again="$again -C $(shown "${prefix%/}")"
    [ -z "$makefile" ] || again="$again -f $(shown "$makefile")"
    name=${made##*/}
    case $made in /*) ;; *) made=$prefix$made ;; esac
    say "backup before $brought: $made; to go back: $again dev-restore BACKUP=$name"
}

# A word as one would type it.
shown() {
    case $1 in
        *[!A-Za-z0-9_./-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
        *) printf '%s' "$1" ;;
    esac
}
