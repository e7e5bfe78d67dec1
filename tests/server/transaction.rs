//! A database that is emptied and filled in one transaction.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::{Server, run, wait_until};
use crate::stage::{back_up, identities, plain_dump, same, start, with_last_act};

#[test]
fn the_database_stays_the_same_and_its_contents_are_those_of_the_dump() {
    let server = Server::start();
    server.seed("university");
    let want = server.everything();
    let cluster = back_up(&server, &[]);
    let (single, created) = (
        back_up(&server, &["-d", "university"]),
        back_up(&server, &["-d", "university", "--pg-dump-arg", "--create"]),
    );
    let before = identities(&server);
    for (file, more) in [(&single, &[][..]), (&created, &[]), (&cluster, &["--only", "university"])] {
        server.sql(
            "university",
            "TRUNCATE grades; CREATE SCHEMA later; CREATE TABLE later.t (n int); DROP VIEW transcript; \
            SELECT lo_create(0)",
        );
        let args = [&[file.to_str().unwrap(), "--single-transaction", "--yes"], more].concat();
        server.restore(&args).exits(0).says("in one transaction");
        assert_eq!(identities(&server), before);
        same(&server.everything(), &want);
    }
    server.restore(&[cluster.to_str().unwrap(), "-1", "--yes"]).exits(0);
    server.make("other");
    let two = back_up(&server, &[]);
    server.restore(&[two.to_str().unwrap(), "-1", "--yes"]).exits(4).says("--only");
    server.restore(&[single.to_str().unwrap(), "-1", "--yes", "-d", "nowhere"]).exits(4).says("is not there");
}

#[test]
fn nothing_is_lost_when_it_fails_at_the_very_end() {
    let server = Server::start();
    server.make("shop");
    let dump = plain_dump(&server, "shop");
    server.sql("shop", "DELETE FROM grades WHERE id > 9");
    let want = server.everything();
    for act in ["SELECT 1 / 0;", "DELETE FROM public.grades WHERE id = 7;"] {
        fs::write(server.home().join("bad.sql"), with_last_act(dump.as_bytes(), act.as_bytes())).unwrap();
        let args = ["bad.sql", "-1", "--yes", "-d", "shop", "--force=guard"];
        server.restore(&args).exits(1).says("Every database is as it was.");
        same(&server.everything(), &want);
    }
}

#[test]
fn an_owner_who_may_not_create_databases_restores_his() {
    let server = Server::start();
    server.sql("postgres", "CREATE ROLE clerk LOGIN; CREATE DATABASE shop OWNER clerk");
    server.sql("shop", "SET ROLE clerk; CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 50) n");
    let as_clerk = |tool: &str, args: &[&str]| run(server.tool(tool).env("PGUSER", "clerk").args(args));
    let backup = server.home().join(as_clerk("pgdump-rotate", &["-d", "shop"]).exits(0).line());
    server.sql("shop", "TRUNCATE t");
    let backup = backup.to_str().unwrap();
    as_clerk("pgdump-restore", &[backup, "--yes"]).exits(4).says("CREATEDB");
    as_clerk("pgdump-restore", &[backup, "--yes", "-1"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM t"), "50");
}

#[test]
fn what_types_and_extensions_have_made_by_themselves_goes_with_them() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE EXTENSION citext SCHEMA a; \
        CREATE TYPE fr AS RANGE (subtype = float8, subtype_diff = float8mi); \
        CREATE TYPE a.dr AS RANGE (subtype = date, multirange_type_name = b.dm); \
        CREATE TYPE a.pair AS (one fr, two a.dr[]); CREATE DOMAIN b.many AS b.dm; \
        CREATE TABLE b.ranges (one fr, several fr[], many b.many, pairs a.pair[], name a.citext); \
        INSERT INTO b.ranges VALUES ('[1,2)', '{}', '{[2025-01-01,2025-02-01)}', NULL, 'X'); \
        CREATE VIEW both_of AS SELECT one::fr_multirange, a.dr('2025-01-01', NULL) FROM b.ranges; \
        CREATE FUNCTION points(people) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
        CREATE CAST (people AS int) WITH FUNCTION points(people); \
        CREATE FUNCTION quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
        CREATE EVENT TRIGGER quiet ON ddl_command_end EXECUTE FUNCTION quiet(); \
        CREATE EVENT TRIGGER of_citext ON ddl_command_end EXECUTE FUNCTION quiet(); \
        ALTER EXTENSION citext ADD FUNCTION quiet(); ALTER EXTENSION citext ADD EVENT TRIGGER of_citext; \
        ALTER EXTENSION citext DROP FUNCTION quiet()",
    );
    let (backup, before) = (back_up(&server, &["-d", "shop"]), identities(&server));
    // an extension makes anew what its script makes, not what was added to it
    server.restore(&[backup.to_str().unwrap(), "-1", "--yes"]).exits(0);
    let backup = back_up(&server, &["-d", "shop"]);
    let want = server.everything();
    server.sql("shop", "TRUNCATE grades; DROP TABLE b.ranges CASCADE");
    server.restore(&[backup.to_str().unwrap(), "-1", "--yes"]).exits(0).says("restored and proven");
    same(&server.everything(), &want);
    assert_eq!(identities(&server), before);
}

/// Has the server commit, and keep the answer for itself: it waits for a standby that is not there.
fn keep_answers(server: &Server) {
    server.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    server.sql("postgres", "SELECT pg_reload_conf()");
    let set = || server.sql("postgres", "SHOW synchronous_standby_names") == "nobody";
    wait_until("the server knows", set);
}

fn wait_for_commit(server: &Server) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("the commit waits", || server.sql("postgres", waits) == "1");
}

#[test]
fn a_commit_whose_answer_is_lost_is_asked_for() {
    let mut server = Server::start_with("wal_level = replica\nmax_wal_senders = 2\n");
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    let ways = [&["--single-transaction"][..], &["-t", "grades", "--replace"]];
    for way in ways {
        server.sql("shop", "DELETE FROM grades WHERE id > 9");
        let mut command = server.tool("pgdump-restore");
        command.arg(&backup).args(["--yes", "--no-safety"]).args(way);
        keep_answers(&server);
        let restore = start(&mut command);
        wait_for_commit(&server);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        server.sql("postgres", end);
        let ran = crate::lab::end(restore).exits(5).says("It was committed all the same.");
        assert!(!ran.err.contains("as it was") && !ran.err.contains("Nothing was changed"), "{}", ran.err);
        server.sql("postgres", "ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()");
        assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    }
    for way in ways {
        server.sql("shop", "SET synchronous_commit = off; DELETE FROM grades WHERE id > 9");
        let mut command = server.tool("pgdump-restore");
        command.arg(&backup).args(["--yes", "--no-safety"]).args(way);
        keep_answers(&server);
        let restore = start(&mut command);
        wait_for_commit(&server);
        server.stop();
        let ran = crate::lab::end(restore).exits(5).says("Perhaps it was committed").says("If it was not: ");
        server.start_again();
        server.sql("postgres", "ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()");
        let question = ran.err.split('"').find(|words| words.starts_with("SELECT txid_status")).unwrap();
        assert_eq!(server.sql("postgres", question), "committed");
        assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    }
}
