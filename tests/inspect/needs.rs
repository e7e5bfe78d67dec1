//! `--with-dependencies`: what a table or view needs comes with it, and loads by itself.
#![allow(clippy::unwrap_used)]

use crate::lab::Server;
use crate::stage::{dump, inspect, load};

/// Loads `table` of `shop.sql` and what it needs into a fresh database.
#[track_caller]
fn take(server: &Server, args: &[&str]) -> String {
    let all = [&["extract", "--with-dependencies"], args, &["shop.sql"]].concat();
    let ran = inspect(&server.home(), &all).exits(0);
    load(server, &ran.out, "taken");
    ran.out
}

fn shop(sql: &str) -> Server {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", sql);
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    server
}

#[test]
fn a_foreign_table_comes_with_its_server() {
    let server = shop(
        r#"CREATE FUNCTION options(text[], oid) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
CREATE FOREIGN DATA WRAPPER "my wrapper" VALIDATOR options; CREATE FOREIGN DATA WRAPPER unused;
CREATE SERVER "Far" FOREIGN DATA WRAPPER "my wrapper" OPTIONS (host 'h'); CREATE SERVER other FOREIGN DATA WRAPPER unused;
CREATE USER MAPPING FOR postgres SERVER "Far"; CREATE USER MAPPING FOR postgres SERVER other;
CREATE FOREIGN TABLE f (a int) SERVER "Far"; CREATE VIEW v AS SELECT a FROM f;
CREATE EXTENSION postgres_fdw; CREATE SERVER third FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE of_extension (a int) SERVER third"#,
    );
    take(&server, &["-t", "of_extension"]);
    for table in ["f", "v"] {
        let sql = take(&server, &["-t", table]);
        assert!(!sql.contains("unused") && !sql.contains("USER MAPPING"), "{sql}");
        assert_eq!(
            server.sql("taken", "SELECT foreign_server_name FROM information_schema.foreign_tables"),
            "Far"
        );
    }
    let told = inspect(&server.home(), &["extract", "-t", "f", "shop.sql"]).exits(0);
    told.says("it needs what is not taken out: server Far\n");
}

#[test]
fn operators_and_casts_come_with_their_functions() {
    let server = shop(
        r#"CREATE SCHEMA o; CREATE TYPE o.pair AS (a int, b int);
CREATE FUNCTION o.same(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 = $2';
CREATE OPERATOR o.=== (FUNCTION = o.same, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR(o.===));
CREATE FUNCTION o.minus(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT -$1';
CREATE OPERATOR o.-| (FUNCTION = o.minus, RIGHTARG = int);
CREATE FUNCTION o.unused(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR o.==== (FUNCTION = o.unused, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION o.of_int(int) RETURNS o.pair IMMUTABLE LANGUAGE sql AS 'SELECT ROW($1, $1)::o.pair';
CREATE CAST (int AS o.pair) WITH FUNCTION o.of_int(int);
CREATE TABLE checked (a int CHECK (a OPERATOR(o.===) a));
CREATE TABLE indexed (a int); CREATE INDEX ON indexed ((OPERATOR(o.-|) a));
CREATE TABLE defaulted (a int DEFAULT OPERATOR(o.-|) 7, p o.pair DEFAULT 3::o.pair);
INSERT INTO defaulted DEFAULT VALUES; INSERT INTO checked VALUES (1)"#,
    );
    for table in ["checked", "indexed", "defaulted"] {
        let sql = take(&server, &["-t", table]);
        assert!(!sql.contains("unused"), "{sql}");
    }
    server.sql("taken", "INSERT INTO defaulted DEFAULT VALUES");
    assert_eq!(server.sql("taken", "SELECT DISTINCT * FROM defaulted"), "-7|(3,3)");
}

#[test]
fn a_view_comes_with_the_key_that_its_groups_rely_on() {
    let server = shop(
        "CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE u (t int, n int); \
        CREATE VIEW v AS SELECT t.id, t.name, sum(n) AS n FROM t JOIN u ON u.t = t.id GROUP BY t.id; \
        CREATE MATERIALIZED VIEW m AS SELECT t.id, t.name FROM t GROUP BY t.id; \
        CREATE TABLE p (id int PRIMARY KEY, name text) PARTITION BY RANGE (id); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); \
        CREATE VIEW w AS SELECT id, name FROM p GROUP BY id",
    );
    for table in ["v", "m", "w"] {
        take(&server, &["-t", table]);
    }
    take(&server, &["-t", "v", "-t", "t"]);
    assert_eq!(server.sql("taken", "SELECT count(*) FROM v"), "0");
}

#[test]
fn materialized_views_are_filled_as_they_were() {
    let server = shop(
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, n % 7 FROM generate_series(1, 100) n; \
        CREATE TABLE elsewhere AS SELECT 1 AS x; \
        CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (99); \
        INSERT INTO p SELECT generate_series(1, 50); CREATE VIEW z AS SELECT n FROM p UNION ALL SELECT n FROM t; \
        CREATE MATERIALIZED VIEW z_first AS SELECT n, count(*) AS c FROM z GROUP BY n; \
        CREATE MATERIALIZED VIEW a_second AS SELECT sum(c) AS c FROM z_first; \
        CREATE MATERIALIZED VIEW b_third AS SELECT c, (SELECT count(*) FROM elsewhere) AS e FROM a_second; \
        CREATE MATERIALIZED VIEW empty AS SELECT c FROM b_third WITH NO DATA; \
        CREATE SEQUENCE shared START 5; SELECT nextval('shared'), nextval('shared'); \
        CREATE TABLE numbered (n int DEFAULT nextval('shared')); CREATE VIEW of_t AS SELECT n FROM t",
    );
    take(&server, &["-t", "b_third"]);
    assert_eq!(server.sql("taken", "SELECT * FROM b_third"), "150|1");
    assert_eq!(server.sql("taken", "SELECT c FROM a_second"), "150");
    take(&server, &["-t", "empty"]);
    assert_eq!(server.sql("taken", "SELECT relispopulated FROM pg_class WHERE relname = 'empty'"), "f");
    // without rows nothing is filled, and a plain view needs none
    assert!(!take(&server, &["-t", "b_third", "--schema-only"]).contains("REFRESH"));
    take(&server, &["-t", "of_t"]);
    assert_eq!(server.sql("taken", "SELECT count(*) FROM t"), "0");
    // of a sequence that others use too its value comes
    take(&server, &["-t", "numbered"]);
    assert_eq!(server.sql("taken", "INSERT INTO numbered DEFAULT VALUES RETURNING n"), "7");
    // rows alone are rows alone
    let data =
        inspect(&server.home(), &["extract", "--data-only", "--with-dependencies", "-t", "t", "shop.sql"]);
    assert!(!data.exits(0).out.contains("CREATE"));
    dump(&server, "pg_dump", &["--inserts", "-d", "shop"], "shop.sql");
    take(&server, &["-t", "b_third"]);
    assert_eq!(server.sql("taken", "SELECT * FROM b_third"), "150|1");
}

#[test]
fn a_partitioned_table_under_another_name_leaves_its_partitions() {
    let server = shop(
        "CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)",
    );
    assert!(!take(&server, &["-t", "p", "--rename", "q", "--schema-only"]).contains("p1"));
}

#[test]
fn a_schema_comes_with_its_operators_and_default_privileges() {
    let server = shop(
        "CREATE SCHEMA s; CREATE FUNCTION s.f(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
        CREATE OPERATOR s.@@@ (FUNCTION = s.f, LEFTARG = int, RIGHTARG = int); CREATE TABLE s.t (a int); \
        CREATE ROLE clerk; ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO clerk",
    );
    server.sql("shop", "DROP OWNED BY clerk; DROP ROLE clerk");
    take(&server, &["--schema", "s"]);
    assert_eq!(
        server.sql("taken", "SELECT oprname FROM pg_operator WHERE oprnamespace = 's'::regnamespace"),
        "@@@"
    );
}

#[test]
fn an_access_method_is_made_before_it_is_set() {
    let server = shop(
        "CREATE ACCESS METHOD ham TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE t (a int) USING ham; \
        CREATE TABLE u (a int); CREATE VIEW v AS SELECT t.a FROM t JOIN u USING (a)",
    );
    take(&server, &["-t", "t"]);
    let am = "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE relname =";
    assert_eq!(server.sql("taken", &format!("{am} 't'")), "ham");
    take(&server, &["-t", "v"]);
    assert_eq!(server.sql("taken", &format!("{am} 't'")), "ham");
    assert_eq!(server.sql("taken", &format!("{am} 'u'")), "heap");
}

#[test]
fn extensions_that_may_be_needed_are_told_by_name() {
    let server = shop(
        "CREATE EXTENSION btree_gist; CREATE EXTENSION cube; CREATE TABLE plain (a int PRIMARY KEY DEFAULT 1, b text); \
        CREATE TABLE x (a int, EXCLUDE USING gist (a WITH =)); CREATE TABLE c (a cube); \
        CREATE TABLE f (a int DEFAULT cube_dim('(1,2)')); CREATE VIEW v AS SELECT a FROM plain; \
        CREATE TABLE kids (p int REFERENCES plain)",
    );
    for (table, needs) in
        [("x", true), ("c", true), ("f", true), ("plain", false), ("v", false), ("kids", false)]
    {
        let ran = inspect(&server.home(), &["extract", "-t", table, "shop.sql"]).exits(0);
        let told = ran.err.contains("it may need extensions of the dump: btree_gist, cube\n");
        assert_eq!(told, needs, "{table}: {}", ran.err);
        let ran =
            inspect(&server.home(), &["extract", "--with-dependencies", "-t", table, "shop.sql"]).exits(0);
        assert!(!ran.err.contains("may need"), "{table}: {}", ran.err);
    }
}
