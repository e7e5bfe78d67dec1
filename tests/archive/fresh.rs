//! Archives of a real server, made by the installed pg_dump in every layout.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use crate::lab::{Server, feed, run};
use crate::told::{by_pg_restore, by_us, same};

/// What the seed does not have: owners, tablespaces, and objects whose owner is set in a way of
/// its own; names that need quotes, or a second look.
const MORE: &str = r#"
CREATE ROLE "Owner ""one"""; CREATE ROLE "select"; CREATE ROLE plain_owner;
CREATE TABLESPACE "Spare space" LOCATION '';
CREATE SCHEMA "from" AUTHORIZATION "Owner ""one""";
CREATE TABLE "from"."json" (id int PRIMARY KEY USING INDEX TABLESPACE "Spare space", "order" text DEFAULT 'x');
CREATE TABLE "two
lines" (a int) TABLESPACE "Spare space";
INSERT INTO "two
lines" VALUES (1), (NULL);
CREATE VIEW "from".v AS SELECT 1 AS one; ALTER VIEW "from".v OWNER TO plain_owner;
CREATE MATERIALIZED VIEW "from".m AS SELECT * FROM "from"."json"; ALTER TABLE "from".m OWNER TO plain_owner;
CREATE SEQUENCE "from".s OWNED BY "from"."json".id;
ALTER TABLE "from"."json" OWNER TO "select";
CREATE FUNCTION "from"."do"(int, text[] DEFAULT '{}') RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION "from"."do" OWNER TO "Owner ""one""";
CREATE PROCEDURE p(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := 2; END $$;
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR <+> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
CREATE OPERATOR FAMILY f USING btree;
CREATE COLLATION c FROM "C"; CREATE TYPE pair AS (a int, b int); CREATE DOMAIN d AS int CHECK (VALUE > 0);
CREATE STATISTICS st ON id, "order" FROM "from"."json";
CREATE TEXT SEARCH CONFIGURATION tsc (COPY = simple);
CREATE FOREIGN DATA WRAPPER w; CREATE SERVER srv FOREIGN DATA WRAPPER w;
CREATE USER MAPPING FOR plain_owner SERVER srv OPTIONS (a 'b');
CREATE FOREIGN TABLE ft (a int) SERVER srv;
CREATE PUBLICATION pub FOR ALL TABLES;
CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION noticed();
COMMENT ON EVENT TRIGGER et IS 'at the end';
CREATE POLICY pol ON "from"."json" USING (id > 0); ALTER TABLE "from"."json" ENABLE ROW LEVEL SECURITY;
COMMENT ON COLUMN "from"."json"."order" IS E'it''s\na -- comment';
GRANT SELECT ON "from"."json" TO PUBLIC; GRANT "select" TO plain_owner;
CREATE CAST (pair AS text) WITH INOUT;
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'about it');
    EXECUTE format('ALTER DATABASE %I SET work_mem = ''5MB''', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO plain_owner', current_database()); END $$;
SELECT lo_from_bytea(3000000000, repeat('x', 16384)::bytea), lo_from_bytea(77, repeat('y', 40000)::bytea);
ALTER LARGE OBJECT 77 OWNER TO plain_owner; COMMENT ON LARGE OBJECT 77 IS 'seventy-seven';
"#;

fn server() -> Server {
    Server::start_with("allow_in_place_tablespaces = on\nclient_min_messages = error\n")
}

/// Runs pg_dump, which writes `name` in the server's home.
#[track_caller]
fn dump(server: &Server, name: &str, args: &[&str]) -> PathBuf {
    let path = server.home().join(name);
    run(server.client("pg_dump").args(args).arg("-f").arg(&path)).exits(0);
    path
}

#[track_caller]
fn told_alike(path: &std::path::Path) -> Vec<u8> {
    let ours = by_us(path).unwrap();
    same(&ours, &by_pg_restore(path).unwrap());
    ours
}

#[test]
fn every_layout_is_told_as_pg_restore_tells_it_and_loads() {
    let server = server();
    server.seed("shop");
    server.sql("shop", MORE);
    let piped = server.home().join("piped");
    run(server.shell("pg_dump -Fc shop | cat >piped").current_dir(server.home())).exits(0);
    let archives = [
        dump(&server, "none", &["-Fc", "-Z0", "shop"]),
        dump(&server, "gzip", &["-Fc", "-Z6", "shop"]),
        dump(&server, "tar", &["-Ft", "shop"]),
        dump(&server, "dir", &["-Fd", "-j2", "shop"]),
        dump(&server, "plain dir", &["-Fd", "-Z0", "shop"]),
        piped,
    ];
    let sql: Vec<Vec<u8>> = archives.iter().map(|path| told_alike(path)).collect();
    for other in &sql[1..] {
        same(other, &sql[0]);
    }
    let plain = run(server.client("pg_dump").arg("shop")).exits(0).out;
    server.sql("postgres", "CREATE DATABASE other TEMPLATE template0");
    feed(
        server.client("psql").args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", "other"]),
        &sql[1],
    )
    .exits(0);
    let again = run(server.client("pg_dump").arg("other")).exits(0).out;
    // a server may keep rows in another order than they came in
    let lines = |text: &str| {
        let mut kept: Vec<&str> = text.lines().filter(|line| !line.contains("restrict ")).collect();
        kept.sort_unstable();
        kept.join("\n")
    };
    same(lines(&again).as_bytes(), lines(&plain).as_bytes());
}

#[test]
fn parts_of_a_database_are_told_as_pg_restore_tells_them() {
    let server = server();
    server.make("shop");
    server.sql("shop", MORE);
    let parts: [&[&str]; 9] = [
        &["-s"],
        &["-a"],
        &["--section=data"],
        &["--section=post-data"],
        &["--inserts", "--rows-per-insert=3"],
        &["-C", "-c"],
        &["-B"],
        &["-n", "public", "--load-via-partition-root"],
        &["-O", "-x", "--no-tablespaces"],
    ];
    for (n, part) in parts.iter().enumerate() {
        for layout in ["-Fc", "-Ft", "-Fd"] {
            told_alike(&dump(
                &server,
                &format!("{n}{layout}"),
                &[part, [layout, "shop"].as_slice()].concat(),
            ));
        }
    }
}

#[test]
fn other_encodings_and_strings_pass_through() {
    let server = server();
    server.sql(
        "postgres",
        "CREATE DATABASE old TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    let sql = "SET client_encoding = 'UTF8'; CREATE TABLE \"größe\" (\"ä\" text); \
        INSERT INTO \"größe\" VALUES ('ÿ\\'); SELECT lo_from_bytea(5, '\\xff00');";
    server.sql("old", sql);
    for args in [&["-Fc", "old"], &["-Ft", "old"]] {
        let sql = told_alike(&dump(&server, &format!("latin{}", args[0]), args));
        assert!(memchr::memmem::find(&sql, b"gr\xf6\xdfe").is_some());
    }
    let path = server.home().join("off");
    let mut pg_dump = server.client("pg_dump");
    pg_dump.env("PGOPTIONS", "-c standard_conforming_strings=off").args(["-Fc", "-E", "UTF8", "old", "-f"]);
    run(pg_dump.arg(&path)).exits(0);
    let sql = told_alike(&path);
    assert!(memchr::memmem::find(&sql, b"lowrite(0, '\\\\xff00')").is_some());
}
