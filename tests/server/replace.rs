//! What a restore replaces and what it keeps: settings and owners, roles, `--clean`, the databases that
//! every cluster has.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::lab::{Server, run};
use crate::stage::{back_up, identities, same};

fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Everything about a database as such that a dump of it alone does not carry.
pub(crate) fn nature(server: &Server, database: &str) -> String {
    server.sql(
        "postgres",
        &format!(
            "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datistemplate, \
            datallowconn, datconnlimit, array_to_string(ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1), ','), \
            shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{database}'; \
            SELECT setrole::regrole, array_to_string(setconfig, ',') FROM pg_db_role_setting s \
            JOIN pg_database d ON d.oid = setdatabase WHERE datname = '{database}' ORDER BY 1"
        ),
    )
}

#[test]
fn a_dump_of_one_database_keeps_what_it_does_not_carry() {
    let server = Server::start();
    server.sql(
        "postgres",
        r#"
CREATE ROLE clerk LOGIN; CREATE ROLE "the owner"; CREATE ROLE auditor;
CREATE DATABASE shop OWNER "the owner" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 7;
COMMENT ON DATABASE shop IS E'It''s the shop;\n\\! not a command';
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO clerk WITH GRANT OPTION;
GRANT TEMPORARY, CREATE ON DATABASE shop TO auditor;
ALTER DATABASE shop SET search_path = "$user", public, 'odd; "schema"';
ALTER DATABASE shop SET work_mem = '5MB';
ALTER ROLE clerk IN DATABASE shop SET statement_timeout = '9s';
"#,
    );
    server.sql(
        "shop",
        "CREATE TABLE grades AS SELECT 1 AS id, 'Zürich' AS town; ALTER TABLE grades OWNER TO clerk",
    );
    let (before, want) = (nature(&server, "shop"), server.everything());
    assert!(before.contains("LATIN1") && before.contains("statement_timeout=9s"), "{before}");
    for args in [
        &["-d", "shop"][..],
        &["-d", "shop", "--format", "custom"],
        &["-d", "shop", "--pg-dump-arg", "--create"],
    ] {
        let backup = back_up(&server, args);
        server.sql("shop", "DELETE FROM grades");
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        assert_eq!(nature(&server, "shop"), before, "{args:?}");
        same(&server.everything(), &want);
    }
}

#[test]
fn a_database_that_is_read_only_by_default_comes_back() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "ALTER DATABASE shop SET default_transaction_read_only = on");
    let want = server.everything();
    for args in [&["-d", "shop"][..], &[]] {
        let backup = back_up(&server, args);
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500", "{args:?}");
        same(&server.everything(), &want);
    }
}

#[test]
fn a_template_database_comes_back_as_one() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "ALTER DATABASE shop IS_TEMPLATE true");
    let want = server.everything();
    for args in [&["-d", "shop"][..], &[]] {
        let backup = back_up(&server, args);
        server.sql("shop", "TRUNCATE grades");
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        same(&server.everything(), &want);
    }
}

#[test]
fn an_owner_who_is_no_superuser_restores_his_database() {
    let server = Server::start();
    server.sql("postgres", "CREATE ROLE clerk LOGIN CREATEDB; CREATE DATABASE shop OWNER clerk");
    server
        .sql("shop", "SET ROLE clerk; CREATE TABLE grades AS SELECT n AS id FROM generate_series(1, 500) n");
    let as_clerk = |tool: &str, args: &[&str]| run(server.tool(tool).env("PGUSER", "clerk").args(args));
    let backup = server.home().join(as_clerk("pgdump-rotate", &["-d", "shop"]).exits(0).line());
    server.sql("shop", "TRUNCATE grades");
    as_clerk("pgdump-restore", &[arg(&backup), "--yes"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn a_cluster_dump_with_clean_is_restored_over_its_own_cluster_and_into_an_empty_one() {
    let server = Server::start();
    server.make("shop");
    server.make("odd \"name\"");
    server.sql(
        "postgres",
        "CREATE ROLE clerk LOGIN PASSWORD 'x'; CREATE ROLE staff; GRANT staff TO clerk; ALTER ROLE clerk SET work_mem = '7MB'; \
        ALTER DATABASE shop OWNER TO clerk; CREATE TABLE of_postgres AS SELECT 1 AS n; \
        COMMENT ON ROLE staff IS 'it''s staff'",
    );
    server.sql("shop", "GRANT SELECT ON grades TO staff; ALTER TABLE people OWNER TO clerk");
    let want = server.everything();
    for clean in [&[][..], &["--clean"], &["--clean", "--if-exists"]] {
        let args: Vec<&str> = clean.iter().flat_map(|arg| ["--pg-dump-arg", arg]).collect();
        let backup = back_up(&server, &args);
        server.sql("shop", "TRUNCATE grades; REVOKE SELECT ON grades FROM staff; CREATE TABLE later (n int)");
        server.sql(
            "postgres",
            "ALTER ROLE clerk NOLOGIN; ALTER ROLE clerk RESET work_mem; DROP TABLE of_postgres",
        );
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        same(&server.everything(), &want);

        let empty = Server::start();
        let ran = empty.restore(&[arg(&backup), "--yes"]).exits(0);
        assert!(ran.err.contains("create  database shop"), "{}", ran.err);
        same(&empty.everything(), &want);
    }
}

#[test]
fn a_dump_of_one_database_with_clean_is_restored() {
    let server = Server::start();
    server.seed("university");
    let want = server.everything();
    for clean in [&["--clean"][..], &["--clean", "--if-exists"], &["--clean", "--if-exists", "--create"]] {
        let options = clean.iter().flat_map(|arg| ["--pg-dump-arg", arg]);
        let args: Vec<&str> = ["-d", "university"].into_iter().chain(options).collect();
        let backup = back_up(&server, &args);
        server.sql("university", "TRUNCATE grades; DROP VIEW transcript");
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        same(&server.everything(), &want);
    }
}

#[test]
fn what_stands_in_the_databases_that_every_cluster_has_comes_back() {
    let server = Server::start();
    server.sql("postgres", "CREATE TABLE of_postgres AS SELECT generate_series(1, 9) AS n; COMMENT ON DATABASE postgres IS 'ours'");
    server.sql(
        "template1",
        "CREATE TABLE of_template AS SELECT generate_series(1, 5) AS n; CREATE EXTENSION citext",
    );
    server.sql(
        "postgres",
        "ALTER DATABASE template1 SET work_mem = '6MB'; ALTER DATABASE postgres SET work_mem = '5MB'",
    );
    server.make("shop");
    let (want, nature_of) = (server.everything(), |d| nature(&server, d));
    let before = [nature_of("postgres"), nature_of("template1")];
    for args in [&[][..], &["--pg-dump-arg", "--clean"]] {
        let backup = back_up(&server, args);
        server.sql("postgres", "DELETE FROM of_postgres; CREATE TABLE later (n int)");
        server.sql("template1", "DROP TABLE of_template");
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        same(&server.everything(), &want);
        assert_eq!([nature_of("postgres"), nature_of("template1")], before, "{args:?}");
    }
    // what was not there when the dump was made goes, as in every database of the dump
    let pristine = Server::start();
    let backup = back_up(&pristine, &[]);
    pristine.sql("postgres", "CREATE TABLE later (n int)");
    pristine.restore(&[arg(&backup), "--yes"]).exits(0);
    assert_eq!(pristine.sql("postgres", "SELECT count(*) FROM pg_class WHERE relname = 'later'"), "0");
}

#[test]
fn tablespaces_that_are_there_already_stay() {
    let server = Server::start();
    // only the server itself can make a folder that is its own
    let folder = server.host().join("space");
    server
        .sql("postgres", &format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; mkdir {}'", folder.display()));
    server.sql("postgres", &format!("CREATE TABLESPACE \"fast disk\" LOCATION '{}'", folder.display()));
    server.make("shop");
    server.sql("postgres", "ALTER DATABASE shop SET TABLESPACE \"fast disk\"");
    let want = server.everything();
    for args in [&[][..], &["--pg-dump-arg", "--clean"], &["-d", "shop"]] {
        let backup = back_up(&server, args);
        server.sql("shop", "TRUNCATE grades");
        server.restore(&[arg(&backup), "--yes"]).exits(0);
        same(&server.everything(), &want);
    }
}

#[test]
fn a_dump_of_the_roles_alone_brings_back_the_roles_and_touches_no_database() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE clerk LOGIN; ALTER ROLE clerk SET work_mem = '7MB'");
    let backup = back_up(&server, &["--pg-dump-arg", "--globals-only"]);
    let (want, before) = (server.everything(), identities(&server));
    server.sql("postgres", "DROP ROLE clerk");
    let ran = server.restore(&[arg(&backup), "--yes"]).exits(0);
    assert_eq!(ran.out, "");
    same(&server.everything(), &want);
    assert_eq!(identities(&server), before);
    // it is no dump of a database
    server.restore(&[arg(&backup), "--yes", "-d", "shop"]).exits(4);
    assert_eq!(identities(&server), before);
}

#[test]
fn a_database_that_was_dropped_comes_back_though_the_settings_name_it() {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &[]);
    let single = back_up(&server, &["-d", "shop"]);
    for file in [&backup, &single] {
        server.sql("postgres", "DROP DATABASE shop");
        let mut restore = server.tool("pgdump-restore");
        run(restore.env("PGDATABASE", "shop").args([arg(file), "--yes"])).exits(0);
        assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    }
}

#[test]
fn databases_that_a_dump_drops_are_dropped_by_no_dump() {
    let server = Server::start();
    server.make("shop");
    server.make("other");
    let want = server.everything();
    let dump = |program: &str, args: &[&str]| {
        run(server.client(program).args(["-w", "--clean", "-f", "dump.sql"]).args(args)).exits(0);
    };
    for (program, args, more) in [
        ("pg_dump", &["--create", "-d", "shop"][..], &[][..]),
        ("pg_dump", &["--create", "--if-exists", "-d", "shop"], &["-j", "2"]),
        ("pg_dump", &["--create", "-d", "shop"], &["--single-transaction"]),
        ("pg_dumpall", &[], &["--only", "shop"]),
        ("pg_dumpall", &["--if-exists"], &["--in-place"]),
    ] {
        dump(program, args);
        server.sql("shop", "TRUNCATE grades; CREATE TABLE later (n int)");
        server.sql("other", "CREATE TABLE IF NOT EXISTS later (n int)");
        // a database that is dropped is a finding, and one by one they are looked at
        let args = [&["dump.sql", "--yes", "--no-safety", "--force=guard"], more].concat();
        server.restore(&args).exits(0).says("restored and proven");
        // only the last one holds the other, too
        let stays = server.sql("other", "SELECT to_regclass('later') IS NOT NULL");
        assert_eq!(stays == "t", !more.contains(&"--in-place"), "{more:?}");
        server.sql("other", "DROP TABLE IF EXISTS later");
        same(&server.everything(), &want);
    }
}
