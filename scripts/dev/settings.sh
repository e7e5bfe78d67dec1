# The settings of the dev-* targets. Sourced by the scripts beside it, not run.
#
# dev_scripts is the directory of the script that sources it.
#
# Owns which variables there are, where their values come from, and how the scripts speak: stdout
# is data, stderr is speech, exit statuses are those of the programs (2 usage, 4 refused by a
# guardrail, 5 worth a retry).
#
# A value comes from make (which passes NAME as pgkeep_NAME), else from the environment, else from
# `.env` in the working directory, else from the defaults here. Empty counts as absent.
# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # names that `eval` assigns, and names for the scripts

pgkeep_home=${dev_scripts%/scripts/dev}
settings='DEV_STACK DEV_PROJECT DEV_DB DEV_PORT DEV_REST_PORT DEV_REDIS_PORT DEV_MIGRATE_CMD DEV_SEED_CMD DEV_SERVICES DEV_STOP_CMD
    DEV_START_CMD DEV_ARGS
    WAIT_SECONDS BACKUP_DIR BACKUP_COMPRESS BACKUP_KEEP BACKUP_TAG BACKUP SNAPSHOT SNAPSHOT_COMPRESS UNTIL
    TABLE TABLE_AS YES SKIP_BACKUP MIGRATIONS_DIR HOOK_SECONDS PG_VIA PATRONI_URLS PGKEEP_BIN POSTGRES_PASSWORD'

say() { printf 'dev: %s\n' "$*" >&2; }
hint() { printf 'dev: hint: %s\n' "$*" >&2; }

# die STATUS MESSAGE [HINT]
die() {
    say "$2"
    [ -z "${3:-}" ] || hint "$3"
    exit "$1"
}

# Prints what follows the = of a line of `.env`: without its quotes, or without a comment and the
# space at its end. Values are taken as they stand, nothing is expanded or run.
dotenv_value() {
    case $1 in
        \"*\"*) value=${1#\"}; value=${value%%\"*} ;;
        \'*\'*) value=${1#\'}; value=${value%%\'*} ;;
        *) value=${1%%[[:space:]]#*}; value=${value%"${value##*[![:space:]]}"} ;;
    esac
    printf '%s' "$value"
}

# dotenv NAME…: fills those of the variables that are empty.
dotenv() {
    [ -f .env ] || return 0
    wanted=" $* "
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#export }
        name=${line%%=*}
        case $name in '' | "$line" | *[!A-Z0-9_]*) continue ;; esac
        case $wanted in *" $name "*) ;; *) continue ;; esac
        eval "[ -z \"\${$name:-}\" ]" || continue
        eval "$name=\$(dotenv_value \"\${line#*=}\")"
    done <.env
}

for name in $settings; do
    eval "$name=\${pgkeep_$name:-\${$name:-}}"
done
# shellcheck disable=SC2086 # a list of names
dotenv $settings
: "${DEV_STACK:=local}" "${HOOK_SECONDS:=60}"
: "${BACKUP_DIR:=backups}" "${BACKUP_COMPRESS:=none}" "${BACKUP_KEEP:=10}" "${SNAPSHOT_COMPRESS:=gzip}"

# Whether DEV_DB was chosen: on somebody's own server psql goes where libpq's settings say, if not.
dev_db_chosen=$DEV_DB
: "${DEV_DB:=university}"

case $DEV_STACK in
    local | none) : "${WAIT_SECONDS:=30}" ;;
    compose) : "${WAIT_SECONDS:=120}" ;;
    *)
        die 2 "DEV_STACK is '$DEV_STACK': it can be local (a private PostgreSQL under .dev), compose (Patroni in containers) or none (your own)"
        ;;
esac
[ "$DEV_STACK" = none ] || [ -z "$PG_VIA$PATRONI_URLS" ] ||
    die 2 "PG_VIA or PATRONI_URLS is set, and DEV_STACK=$DEV_STACK is not reached by it" "Your own server: DEV_STACK=none."
case $WAIT_SECONDS in 0* | *[!0-9]*) die 2 "WAIT_SECONDS is '$WAIT_SECONDS': it must be a number of seconds" ;; esac
case $HOOK_SECONDS in 0* | *[!0-9]*) die 2 "HOOK_SECONDS is '$HOOK_SECONDS': it must be a number of seconds" ;; esac
for name in DEV_PORT DEV_REST_PORT DEV_REDIS_PORT; do
    eval "value=\$$name"
    case $value in *[!0-9]*) die 2 "$name is '$value': it must be a number" ;; esac
done
for name in YES SKIP_BACKUP; do
    eval "value=\$$name"
    case $value in
        '' | 0 | no | false) eval "$name=" ;;
        1 | yes | true) eval "$name=1" ;;
        *) die 2 "$name is '$value': it can be 1 or nothing" ;;
    esac
done
