# The stack of DEV_STACK=compose: Patroni, etcd, Redis and two services in containers. Sourced, after
# settings.sh.
#
# Owns how Compose is called, the names of containers and volumes, who leads, and whether the cluster
# is ready. What is in the containers is scripts/stack. Everything about the cluster is asked from
# inside of it, so neither curl nor a client program is needed here.
# shellcheck shell=sh
# shellcheck disable=SC2154 # set by settings.sh

nodes='patroni1 patroni2 patroni3'

# Fills in the defaults, and tells the compose file what it may know.
compose_names() {
    : "${DEV_PROJECT:=paws360}" "${DEV_PORT:=15431}" "${DEV_REST_PORT:=8008}" "${DEV_REDIS_PORT:=16379}"
    case $DEV_PROJECT in
        '' | [!a-z0-9]* | *[!a-z0-9_-]*)
            die 2 "DEV_PROJECT is '$DEV_PROJECT': it can have small letters, digits, '-' and '_'"
            ;;
    esac
    # The names that people know belong to the stack of the usual name.
    volumes=$DEV_PROJECT-
    [ "$DEV_PROJECT" != paws360 ] || volumes=''
    export STACK_NAME="$DEV_PROJECT" STACK_VOLUMES="$volumes" STACK_REDIS="$DEV_REDIS_PORT"
    export STACK_PG1="$DEV_PORT" STACK_PG2=$((DEV_PORT + 1)) STACK_PG3=$((DEV_PORT + 2))
    export STACK_REST1="$DEV_REST_PORT" STACK_REST2=$((DEV_REST_PORT + 1)) STACK_REST3=$((DEV_REST_PORT + 2))
    [ -z "$POSTGRES_PASSWORD" ] || export POSTGRES_PASSWORD
}

# Whatever is done begins with it. In the order in which the programs look for Compose
# (bins/kit/services.rs), which must find the same one.
find_compose() {
    [ -z "${engine:-}" ] || return 0
    compose=''
    for words in 'docker compose' docker-compose 'podman compose' podman-compose; do
        $words version >/dev/null 2>&1 || continue
        compose=$words
        break
    done
    case $compose in
        '') die 4 "cannot find Docker Compose" "Run 'make dev-setup'." ;;
        podman*) engine=podman ;;
        *) engine=docker ;;
    esac
    "$engine" info >/dev/null 2>&1 || die 5 "$engine does not answer" "Run 'make dev-setup', which starts it, or start it."
}

# compose WORD…
compose() { $compose -p "$DEV_PROJECT" -f "$pgkeep_home/scripts/stack/compose.yml" "$@"; }

# compose_quietly WORD…: its words are worth reading only when it fails.
compose_quietly() {
    said=$(compose "$@" 2>&1) && return
    printf '%s\n' "$said" >&2
    die 5 "'$compose $1' failed" "Is a port taken? DEV_PORT, DEV_REST_PORT and DEV_REDIS_PORT choose others."
}

# inside NODE COMMAND…: runs it in the container; nothing there takes longer than this.
inside() {
    container=$DEV_PROJECT-$1
    shift
    bounded 20 "$engine" exec "$container" "$@" </dev/null
}

# Prints the names of those containers that run.
running() { "$engine" ps --format '{{.Names}}'; }

# Whether the cluster is ready; then `leader` leads it. Else `missing` is what it lacks, and a status
# of 2 says that it is no use to wait.
compose_missing() {
    find_compose
    missing='' leader='' seen='' up=$(running)
    for node in etcd $nodes; do
        printf '%s\n' "$up" | grep -qx "$DEV_PROJECT-$node" || missing="$missing; container $DEV_PROJECT-$node does not run"
    done
    printf '%s\n' "$up" | grep -q "^$DEV_PROJECT-patroni[123]\$" || { missing="the stack is not up" && return 2; }
    for node in $("$engine" ps --filter status=restarting --format '{{.Names}}' | grep "^$DEV_PROJECT-"); do
        missing="$missing; container $node ends again and again: $("$engine" logs --tail 1 "$node" 2>&1)"
    done
    for node in $nodes; do
        # shellcheck disable=SC2086 # a list of names
        if seen=$(inside "$node" cluster-health $nodes 2>/dev/null); then
            leader=$seen
            break
        fi
        [ -z "$seen" ] || break
    done
    [ -n "$leader" ] || missing="$missing; $(printf '%s\n' "${seen:-no node can be asked}" | paste -s -d ';' - | sed 's/;/; /g')"
    missing=${missing#; }
    [ -z "$missing" ]
}

# Sets `leader` to the node that leads, whatever else is missing. Where none does just now, or where
# it has changed before it was reached, it is looked for again, WAIT_SECONDS at most.
find_leader() {
    find_compose
    until=$(($(date +%s) + WAIT_SECONDS))
    while :; do
        for leader in $nodes; do
            [ "$(inside "$leader" sh -c 'curl -fsS -m 3 -o /dev/null http://localhost:8008/primary &&
                psql -XAtqw -d postgres -c "SELECT NOT pg_is_in_recovery()"' 2>/dev/null)" != t ] || return 0
        done
        [ "$(date +%s)" -lt "$until" ] || break
        running | grep -q "^$DEV_PROJECT-patroni[123]\$" || die 5 "the stack is not up" "Run 'make dev-up'."
        sleep 1
    done
    compose_missing || :
    die 5 "there is no leader: $missing"
}

# The way to the leader: for psql a prefix, with `terminal` set for somebody at one; for what
# DEV_MIGRATE_CMD runs on this side, a port.
compose_settings() {
    find_leader
    # shellcheck disable=SC2086 # a list of names
    unset $connection
    PG_VIA="$engine exec -i${terminal:+t} $DEV_PROJECT-$leader"
    port=$((DEV_PORT + ${leader#patroni} - 1))
    export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE="$DEV_DB" PGPASSWORD="${POSTGRES_PASSWORD:-postgres}"
    DATABASE_URL=postgresql://postgres:$(url_quote "$PGPASSWORD")@127.0.0.1:$port/$(url_quote "$DEV_DB")
    export DATABASE_URL
}

# The same for our programs, which find the leader by themselves, and the services by Compose.
compose_reach() {
    find_compose
    # shellcheck disable=SC2086 # a list of names
    unset $connection
    PG_VIA="$engine exec -i $DEV_PROJECT-{leader}"
    PATRONI_URLS=http://127.0.0.1:$STACK_REST1,http://127.0.0.1:$STACK_REST2,http://127.0.0.1:$STACK_REST3
    # with a host in the environment, nothing about the server is taken from `.env`
    export PG_VIA PATRONI_URLS PGHOST=/run/postgresql PGUSER=postgres PGDATABASE=postgres
    [ -z "$DEV_STOP_CMD$DEV_START_CMD" ] || return 0
    : "${DEV_SERVICES:=backend frontend}"
    export COMPOSE_PROJECT_NAME="$DEV_PROJECT" COMPOSE_FILE="$pgkeep_home/scripts/stack/compose.yml"
    # Before 1.1 it cannot tell which services there are.
    if [ "$compose" = podman-compose ]; then
        up='' names=$(running)
        for service in $DEV_SERVICES; do
            ! printf '%s\n' "$names" | grep -qx "$DEV_PROJECT-$service" || up="$up $DEV_PROJECT-$service"
        done
        DEV_SERVICES='' DEV_STOP_CMD=${up:+podman stop$up} DEV_START_CMD=${up:+podman start$up}
    fi
}

# The names are plain ones, so a stack of the user's own may have them already; `down -v` would take
# them. A volume without a label may be one that was restored.
refuse_foreign_volumes() {
    for name in patroni1-data patroni2-data patroni3-data etcd-data redis-data wal-archive; do
        name=$volumes$name
        of=$("$engine" volume inspect -f '{{index .Labels "com.docker.compose.project"}}' "$name" 2>/dev/null) || continue
        case $of in
            '' | '<no value>' | "$DEV_PROJECT") ;;
            *) die 4 "the volume '$name' belongs to the project '$of'" "DEV_PROJECT=NAME makes a stack beside it." ;;
        esac
    done
}

# The image that the stack runs, made where it is missing.
compose_image() {
    find_compose
    STACK_IMAGE=$(STACK_ENGINE=$engine PGKEEP_BIN=$PGKEEP_BIN sh "$pgkeep_home/scripts/stack/image") || die 5 "there is no image to start"
    export STACK_IMAGE
}

compose_up() {
    find_compose
    refuse_foreign_volumes
    compose_image
    compose_quietly up -d
    wait_healthy
    compose_settings
    [ -n "$(query postgres "SELECT 1 FROM pg_database WHERE datname = $(sql_quote "$DEV_DB")")" ] ||
        client createdb -w "$DEV_DB"
    say "the stack is up: $leader leads, PostgreSQL at 127.0.0.1:$DEV_PORT and the next two, Patroni at 127.0.0.1:$DEV_REST_PORT"
}

# All nodes at once: one after another, each would hand the lead to the next.
compose_down() {
    find_compose
    compose_quietly down
    say "the stack is stopped; its volumes stay"
}

compose_destroy() {
    find_compose
    refuse_foreign_volumes
    compose_quietly down -v
}

# Whether there is something to back up, started if need be.
compose_data() {
    find_compose
    "$engine" volume inspect "${volumes}patroni1-data" >/dev/null 2>&1 || return 1
    running | grep -q "^$DEV_PROJECT-patroni[123]\$" || compose_up
}

[ "$DEV_STACK" != compose ] || compose_names
