//! `--prove=hash`: what was restored is dumped and compared, row by row and statement by statement.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::beside::{Was, dump_with};
use crate::lab::{Server, run};
use crate::stage::{back_up, plain_dump, with_last_act};

#[test]
fn a_restore_of_any_kind_is_the_dump_again() {
    let server = Server::start();
    server.seed("university");
    server.make("shop");
    let was = Was::of(&server);
    for args in [
        &[][..],
        &["-d", "university", "--format", "custom"],
        &["-d", "shop", "--pg-dump-arg", "--inserts"],
        &["-d", "shop", "--pg-dump-arg", "--create"],
        &["-d", "shop", "--pg-dump-arg", "--clean"],
        &["-d", "shop", "--pg-dump-arg", "--no-owner", "--pg-dump-arg", "--no-acl"],
    ] {
        let backup = back_up(&server, args);
        let how = ["--yes", "--prove=hash", "-D", "--no-safety", "-j", "2", "--force=part"];
        let ran = server.restore(&[&[backup.to_str().unwrap()], &how[..]].concat()).exits(0);
        assert!(ran.err.contains("restored and proven"), "{}", ran.err);
        was.again(&server);
    }
}

/// Makes a database that spoils a column of every person who is inserted.
fn with_trigger(server: &Server) {
    server.make("shop");
    server.sql(
        "shop",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''x''; RETURN NEW; END'; \
        CREATE TRIGGER touch BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION touch()",
    );
}

#[test]
fn one_changed_row_is_found_and_nothing_is_replaced() {
    let server = Server::start();
    with_trigger(&server);
    dump_with(&server, "shop", "UPDATE public.grades SET points = points + 1 WHERE id = 77;", "changed.sql");
    let dump = plain_dump(&server, "shop");
    // pg_dump makes triggers behind the rows; here it stands before them
    let begin = dump.find("CREATE TRIGGER").unwrap();
    let trigger = &dump[begin..begin + dump[begin..].find('\n').unwrap() + 1];
    let moved = dump.replace(trigger, "").replacen("COPY public.", &format!("{trigger}COPY public."), 1);
    fs::write(server.home().join("trigger.sql"), moved).unwrap();
    let was = Was::of(&server);
    for (file, table) in [("changed.sql", "public.grades"), ("trigger.sql", "public.people")] {
        let args = [file, "-d", "shop", "--swap", "--yes", "--force=guard", "--prove=hash"];
        let words = format!("rows of database 'shop' differ from those of the dump: {table}");
        let ran = server.restore(&args).exits(1).says(&words).says("not proven").says("as it was");
        assert_eq!(ran.out, "");
        was.still(&server);
        // counted only, it passes: no row is missing
        server.restore(&[file, "-d", "copy", "--yes", "--force=guard"]).exits(0);
        server.sql("postgres", "DROP DATABASE copy");
    }
}

#[test]
fn a_changed_schema_is_found_and_nothing_is_replaced() {
    let server = Server::start();
    with_trigger(&server);
    let act = "CREATE FUNCTION public.more() RETURNS event_trigger LANGUAGE plpgsql AS \
        'BEGIN EXECUTE ''CREATE INDEX IF NOT EXISTS more ON public.people (name)''; END'; \
        CREATE EVENT TRIGGER more ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION public.more(); \
        CREATE VIEW public.last AS SELECT 1 AS n;";
    dump_with(&server, "shop", act, "more.sql");
    let was = Was::of(&server);
    let args = ["more.sql", "-d", "shop", "--swap", "--yes", "--force=guard", "--prove=hash"];
    server.restore(&args).exits(1).says("the schema of database 'shop' differs").says("index public.more");
    was.still(&server);
}

#[test]
fn a_pgbench_database_comes_back_the_same() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE bench");
    run(server.client("pgbench").args(["-i", "-q", "-s", "1", "--foreign-keys", "bench"])).exits(0);
    run(server.client("pgbench").args(["-n", "-c", "2", "-t", "50", "bench"])).exits(0);
    let was = Was::of(&server);
    let backup = back_up(&server, &["-d", "bench"]);
    run(server.client("pgbench").args(["-n", "-c", "2", "-t", "50", "bench"])).exits(0);
    let args = [backup.to_str().unwrap(), "--yes", "--prove=hash", "-j", "2", "--no-safety", "-D"];
    let ran = server.restore(&args).exits(0);
    assert!(ran.err.contains("compared with those of the dump"), "{}", ran.err);
    was.again(&server);
}

#[test]
fn what_a_restore_leaves_out_is_not_missed() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE clerk");
    server.sql("shop", "ALTER TABLE grades OWNER TO clerk; GRANT SELECT ON people TO clerk");
    let backup = back_up(&server, &["-d", "shop"]);
    let empty = Server::start();
    let args = [backup.to_str().unwrap(), "--yes", "--prove=hash", "--force=roles"];
    empty.restore(&args).exits(0).says("the schema is not compared");
    assert_eq!(empty.sql("shop", "SELECT count(*) FROM grades"), "500");
}

#[test]
fn a_changed_large_object_is_found_also_where_the_schema_is_not_compared() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE clerk");
    server.sql("shop", "ALTER TABLE grades OWNER TO clerk");
    server.sql("shop", "SELECT lo_from_bytea(777, decode(repeat('00ff5c2e', 20000), 'hex')), lo_create(778)");
    let change = "DO $$ BEGIN PERFORM pg_catalog.lo_put(777, 70000, '\\xaa'); END $$;";
    dump_with(&server, "shop", change, "changed.sql");
    dump_with(&server, "shop", "DO $$ BEGIN PERFORM pg_catalog.lo_unlink(778); END $$;", "gone.sql");
    dump_with(&server, "shop", "DO $$ BEGIN PERFORM 777; END $$;", "same.sql");
    let empty = Server::start();
    for (file, code) in [("changed.sql", 1), ("gone.sql", 1), ("same.sql", 0)] {
        fs::copy(server.home().join(file), empty.home().join(file)).unwrap();
        let args = [file, "-d", "copy", "--yes", "--prove=hash", "--force=roles,guard"];
        let ran = empty.restore(&args).exits(code);
        assert_eq!(ran.err.contains("large objects of database 'copy' differ"), code == 1, "{}", ran.err);
    }
    assert_eq!(empty.sql("copy", "SELECT octet_length(lo_get(777))"), "80000");
}

#[test]
fn a_dump_that_makes_the_schema_public_finds_it_made() {
    let server = Server::start();
    server.make("shop");
    let was = Was::of(&server);
    for (args, more) in [
        (&["--schema=public"][..], &[][..]),
        (&["--schema=public"], &["-j", "2"]),
        (&["--schema=public", "-Fc"], &[]),
        // as psql would, these leave the schema without what initdb granted on it
        (&["--schema=public", "--clean"], &[]),
        (&["--schema=public", "--clean", "--if-exists"], &["-j", "2"]),
    ] {
        run(server.client("pg_dump").args(["-w", "-d", "shop", "-f", "public.sql"]).args(args)).exits(0);
        server.sql("shop", "DELETE FROM grades");
        let how = ["public.sql", "-d", "shop", "--yes", "-D", "--no-safety", "--prove=hash"];
        server.restore(&[&how[..], more].concat()).exits(0).says("restored and proven");
        server.sql("shop", "GRANT USAGE ON SCHEMA public TO public");
        was.again(&server);
    }
}

#[test]
fn a_dump_in_an_encoding_no_server_has_is_proven_in_it() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE kanji TEMPLATE template0 ENCODING 'UTF8'");
    // the second byte of 表 is a backslash in SJIS
    server.sql(
        "kanji",
        "CREATE TABLE \"表\" AS SELECT n, '表ソ十' AS \"能\" FROM generate_series(1, 300) n; \
        CREATE INDEX \"予\" ON \"表\" (n); COMMENT ON TABLE \"表\" IS '申'; \
        CREATE TABLE \"十\" (n int) PARTITION BY RANGE (n); \
        CREATE TABLE \"十一\" PARTITION OF \"十\" FOR VALUES FROM (1) TO (9); INSERT INTO \"十\" VALUES (1), (2)",
    );
    let was = Was::of(&server);
    let dump = |more: &str| {
        let args = ["-w", "-d", "kanji", "-f", "kanji.sql", "--encoding=SJIS", more];
        run(server.client("pg_dump").args(args)).exits(0);
    };
    let how = ["kanji.sql", "-d", "kanji", "--yes", "-D", "--no-safety", "--force=guard", "--prove=hash"];
    for (more, jobs) in [("-Fp", "1"), ("-Fp", "2"), ("--load-via-partition-root", "1"), ("-Fc", "1")] {
        dump(more);
        server.sql("kanji", "DELETE FROM \"表\"");
        server.restore(&[&how[..], &["-j", jobs]].concat()).exits(0).says("compared with those of the dump");
        was.again(&server);
    }
}

#[test]
fn columns_in_another_order_and_rows_by_the_root_are_compared_all_the_same() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE parent (a int, b timestamptz); CREATE TABLE child (\"c c\" float8) INHERITS (parent); \
        ALTER TABLE parent ADD later text DEFAULT 'x'; \
        INSERT INTO child VALUES (1, '2025-01-01', 0.1, E'a\\tb'), (2, NULL, 'NaN', NULL); \
        INSERT INTO parent VALUES (3, now(), 'of the parent'); \
        CREATE TABLE whole (id int, at interval) PARTITION BY RANGE (id); \
        CREATE TABLE low PARTITION OF whole FOR VALUES FROM (0) TO (50); \
        CREATE TABLE high PARTITION OF whole FOR VALUES FROM (50) TO (99); \
        CREATE TABLE turned (id int, at date) PARTITION BY RANGE (id); CREATE TABLE right_way PARTITION OF turned DEFAULT; \
        CREATE TABLE other_way (at date, id int); ALTER TABLE turned ATTACH PARTITION other_way FOR VALUES FROM (1) TO (9); \
        INSERT INTO turned VALUES (3, '2025-01-01'), (10, '2025-01-01'); \
        INSERT INTO whole SELECT n, n * interval '90 min' FROM generate_series(1, 98) n",
    );
    let act = |table: &str, set: &str| format!("UPDATE public.{table} SET {set};");
    for more in [&[][..], &["--load-via-partition-root"]] {
        for (act, differs) in [
            (String::new(), None),
            (act("child", "later = 'y' WHERE a = 1"), Some("public.child")),
            (
                act("high", "at = at * 2 WHERE id = 70"),
                Some(if more.is_empty() { "public.high" } else { "public.whole" }),
            ),
        ] {
            let dump = run(server.client("pg_dump").args(["-w", "-d", "shop"]).args(more)).exits(0).out;
            fs::write(server.home().join("shop.sql"), with_last_act(dump.as_bytes(), act.as_bytes()))
                .unwrap();
            let args =
                ["shop.sql", "-d", "shop", "--yes", "-D", "--no-safety", "--force=guard", "--prove=hash"];
            let ran = server.restore(&args);
            match differs {
                None if more.is_empty() => ran.exits(0).says("compared with those of the dump\n"),
                // its rows have their columns in two orders
                None => ran.exits(0).says("compared with those of the dump, but counted in public.turned\n"),
                Some(table) => ran.exits(1).says(&format!("differ from those of the dump: {table}\n")),
            };
        }
    }
}

#[test]
fn rows_of_insert_statements_are_compared_and_beside_copy_counted() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE more (n int); CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; CREATE TABLE odd (\"a;b\" text, \
        g int GENERATED ALWAYS AS (length(\"a;b\")) STORED, id int GENERATED ALWAYS AS IDENTITY, f float8, b bytea, bits bit(3)); \
        INSERT INTO odd (\"a;b\", f, b, bits) VALUES (E'it''s \\\\ (a);\n\\tvalues', 0.1, '\\x00ff', B'101'), (NULL, 'NaN', '', NULL)",
    );
    let dump =
        run(server.client("pg_dump").args(["-w", "-d", "shop", "--exclude-table-data=more"])).exits(0).out;
    let mixed = with_last_act(dump.as_bytes(), b"INSERT INTO public.more VALUES (1);");
    fs::write(server.home().join("mixed.sql"), mixed).unwrap();
    let args = |file| [file, "-d", "copy", "--yes", "-D", "--no-safety", "--prove=hash", "--force=guard"];
    server.restore(&args("mixed.sql")).exits(0).says("but counted in public.more\n");
    server.sql("shop", "CREATE TABLE names AS SELECT 'people'::regclass AS name, 'odd'::regtype AS type");
    for how in [
        &["--inserts"][..],
        &["--column-inserts"],
        &["--inserts", "--rows-per-insert=7"],
        &["--quote-all-identifiers"],
        &["--inserts", "--quote-all-identifiers"],
    ] {
        let dump = run(server.client("pg_dump").args(["-w", "-d", "shop"]).args(how)).exits(0).out;
        for (act, table) in [
            ("", None),
            ("UPDATE public.odd SET f = 0.10000000000000002 WHERE f = 0.1;", Some("public.odd")),
            ("UPDATE public.people SET name = name || ' ' WHERE id = 1;", Some("public.people")),
        ] {
            let file = server.home().join("inserts.sql");
            fs::write(file, with_last_act(dump.as_bytes(), act.as_bytes())).unwrap();
            let ran = server.restore(&args("inserts.sql"));
            match table {
                None => ran.exits(0).says("compared with those of the dump\n"),
                Some(table) => ran.exits(1).says(&format!("differ from those of the dump: {table}\n")),
            };
        }
    }
}
