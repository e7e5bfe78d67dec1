//! Tables that are parts of others: what comes with them, and what is refused because it would come without.
#![allow(clippy::unwrap_used)]

use crate::lab::{Server, feed, run};
use crate::stage::{dump, inspect, load};

#[test]
fn the_rows_of_all_partitions_as_one_csv() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE p (d int, \"The v\" text, g int GENERATED ALWAYS AS (d * 2) STORED, n numeric) PARTITION BY RANGE (d); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (d); \
        CREATE TABLE p1a (n numeric, gone int, \"The v\" text, d int, g int GENERATED ALWAYS AS (d * 2) STORED); \
        ALTER TABLE p1a DROP COLUMN gone; ALTER TABLE p1 ATTACH PARTITION p1a FOR VALUES FROM (0) TO (50); \
        CREATE TABLE p1b PARTITION OF p1 DEFAULT; CREATE TABLE p2 PARTITION OF p DEFAULT; CREATE TABLE other (x int); \
        INSERT INTO p (d, \"The v\", n) SELECT n, CASE n % 3 WHEN 0 THEN E'tab\\t,\"' WHEN 1 THEN 'v' || n END, n / 7.0 FROM generate_series(0, 299) n",
    );
    let home = server.home();
    for options in [&[][..], &["--load-via-partition-root"], &["-Fc"]] {
        dump(&server, "pg_dump", &[options, &["-d", "shop"]].concat(), "shop.sql");
        let csv = inspect(&home, &["extract", "-t", "p", "--format", "csv", "shop.sql"]).exits(0).out;
        assert!(csv.starts_with("d,The v,n\n"), "{csv}");
        std::fs::write(home.join("p.csv"), &csv).unwrap();
        server.sql("shop", "DROP TABLE IF EXISTS again; CREATE TABLE again (d int, v text, n numeric)");
        server.sql(
            "shop",
            &format!("\\copy again FROM '{}' (FORMAT csv, HEADER)", home.join("p.csv").display()),
        );
        let differ = "SELECT count(*) FROM (SELECT d, \"The v\", n FROM p EXCEPT ALL TABLE again) x";
        assert_eq!(server.sql("shop", differ), "0", "{options:?}");
        assert_eq!(server.sql("shop", "SELECT count(*) FROM again"), "300");
    }
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let one = inspect(&home, &["extract", "-t", "p1a", "--format", "csv", "shop.sql"]).exits(0).out;
    assert!(one.starts_with("n,The v,d\n") && one.lines().count() == 51, "{one}");
    let two = ["extract", "-t", "p1a", "-t", "p2", "--format", "csv", "shop.sql"];
    inspect(&home, &two).exits(2).says("one table");
    inspect(&home, &["extract", "-t", "p", "-t", "other", "--format", "csv", "shop.sql"])
        .exits(2)
        .says("one table");
    // of rows alone
    dump(&server, "pg_dump", &["--data-only", "-d", "shop"], "rows.sql");
    let one = inspect(&home, &["extract", "-t", "p1a", "--format", "csv", "rows.sql"]).exits(0).out;
    assert!(one.starts_with("n,The v,d\n") && one.lines().count() == 51, "{one}");
}

#[test]
fn a_partitioned_table_comes_with_its_partitions() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE p (d int PRIMARY KEY, v text) PARTITION BY RANGE (d); CREATE INDEX p_v ON p (v); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (d); \
        CREATE TABLE p1a PARTITION OF p1 FOR VALUES FROM (0) TO (50); CREATE TABLE p1b PARTITION OF p1 DEFAULT; \
        COMMENT ON INDEX p_v IS 'by value'; INSERT INTO p SELECT n, 'v' || n FROM generate_series(0, 99) n; \
        CREATE TABLE t (a int, b int); CREATE INDEX te ON t ((a + b)); ALTER INDEX te ALTER 1 SET STATISTICS 200",
    );
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let schema = || run(server.client("pg_dump").args(["-ws", "-d", "shop"])).exits(0).out;
    let before: Vec<String> =
        schema().lines().filter(|l| !l.contains("restrict")).map(str::to_owned).collect();
    let ran = inspect(&home, &["extract", "-t", "p", "-t", "t", "--clean", "shop.sql"]).exits(0);
    let mut psql = server.client("psql");
    feed(psql.args(["-Xq1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", "shop"]), &ran.out).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM p"), "100");
    let after: Vec<String> =
        schema().lines().filter(|l| !l.contains("restrict")).map(str::to_owned).collect();
    assert_eq!(after, before);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
    // one partition alone would be missing in its table afterwards
    inspect(&home, &["extract", "-t", "p1a", "--clean", "shop.sql"]).exits(4).says("partition of p1");
    inspect(&home, &["extract", "-t", "p1a", "shop.sql"]).exits(0).says("table attach");
}

#[test]
fn a_partition_alone_leaves_what_its_table_gave_it() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE SCHEMA a; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
        CREATE TABLE a.p (n int) PARTITION BY LIST (n); CREATE TABLE a.p1 PARTITION OF a.p FOR VALUES IN (1); \
        CREATE TRIGGER ptr AFTER INSERT ON a.p FOR EACH ROW EXECUTE FUNCTION f(); \
        CREATE TRIGGER own AFTER INSERT ON a.p1 FOR EACH ROW EXECUTE FUNCTION f(); \
        ALTER TABLE a.p1 DISABLE TRIGGER ptr; ALTER TABLE a.p1 DISABLE TRIGGER own",
    );
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let args = ["extract", "--with-dependencies", "-t", "a.p1", "shop.sql"];
    let ran = inspect(&home, &args)
        .exits(0)
        .says("left out: table attach a.p1, which refers to a.p\n")
        .says("left out: table alter a.p1, which refers to the trigger ptr of the table that it is a partition of\n");
    load(&server, &ran.out, "taken");
    let disabled = "SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgenabled = 'D' AND tgrelid = 'a.p1'::regclass";
    assert_eq!(server.sql("taken", disabled), "own");
    let ran = inspect(&home, &["extract", "--with-dependencies", "-t", "a.p", "shop.sql"]).exits(0);
    assert!(!ran.err.contains("left out"), "{}", ran.err);
    load(&server, &ran.out, "taken");
    assert_eq!(server.sql("taken", disabled), server.sql("shop", disabled));
}

#[test]
fn a_partition_whose_rows_stand_elsewhere_is_refused() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE p (n int) PARTITION BY LIST (n); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); \
        CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2, 3) PARTITION BY LIST (n); \
        CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN (2); CREATE TABLE p2b PARTITION OF p2 FOR VALUES IN (3); \
        INSERT INTO p VALUES (1), (2), (2); CREATE TABLE none (n int) PARTITION BY LIST (n); \
        CREATE TABLE none1 PARTITION OF none DEFAULT",
    );
    let home = server.home();
    let take = |args: &[&str]| inspect(&home, &[&["extract"], args, &["shop.sql"]].concat());
    for options in [&[][..], &["--inserts"], &["-Fc"]] {
        dump(
            &server,
            "pg_dump",
            &[options, &["--load-via-partition-root", "-d", "shop"]].concat(),
            "shop.sql",
        );
        for args in
            [&["-t", "p1"][..], &["-t", "p2"], &["-t", "p2a", "--data-only"], &["-t", "p?a", "-t", "none"]]
        {
            let ran = take(args).exits(4).says("are among those of public.p,").says("Ask for public.p,");
            assert_eq!(ran.out, "", "{args:?}");
        }
        take(&["-t", "p1", "--format", "csv"]).exits(4);
        load(&server, &take(&["-t", "p1", "-t", "p2", "--schema-only"]).exits(0).out, "taken");
        take(&["-t", "none1"]).exits(0);
        for args in [&["-t", "p"][..], &["-t", "p", "-t", "p2"], &["-t", "p*", "--clean"]] {
            load(&server, &take(args).exits(0).out, "taken");
            let rows = "SELECT count(*), (SELECT count(*) FROM p1), (SELECT count(*) FROM p2a) FROM p";
            assert_eq!(server.sql("taken", rows), "3|1|2", "{args:?}");
        }
        dump(&server, "pg_dump", &[options, &["-d", "shop"]].concat(), "shop.sql");
        load(&server, &take(&["-t", "p1", "-t", "p2b"]).exits(0).out, "taken");
        assert_eq!(server.sql("taken", "SELECT count(*) FROM p1"), "1");
    }
}

#[test]
fn what_others_show_the_rows_of_gets_no_other_name() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE parent (n int); CREATE TABLE child (m int) INHERITS (parent); INSERT INTO child VALUES (1, 2); \
        CREATE TABLE p (n int) PARTITION BY LIST (n); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1)",
    );
    let home = server.home();
    for options in [&[][..], &["--load-via-partition-root"]] {
        dump(&server, "pg_dump", &[options, &["-d", "shop"]].concat(), "shop.sql");
        let take =
            |args: &[&str]| inspect(&home, &[&["extract", "--rename", "new"], args, &["shop.sql"]].concat());
        for args in
            [&["-t", "child"][..], &["-t", "child", "--schema-only"], &["-t", "child", "--with-dependencies"]]
        {
            let ran =
                take(args).exits(4).says("public.child inherits from public.parent").says("another database");
            assert_eq!(ran.out, "", "{args:?}");
        }
        for args in [&["-t", "p"][..], &["-t", "p", "--data-only"]] {
            let ran = take(args).exits(4).says("the rows of public.p are in its partitions");
            assert_eq!(ran.out, "", "{args:?}");
        }
    }
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    // a partition stands alone under another name, and what it was a part of does not change
    for (table, rename) in [("p1", "p1_then"), ("parent", "parent_then")] {
        let part = inspect(&home, &["extract", "-t", table, "--rename", rename, "shop.sql"]).exits(0).out;
        let psql = ["-Xq1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", "shop"];
        feed(server.client("psql").args(psql), &part).exits(0);
    }
    let counts = "SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM p1_then), (SELECT count(*) FROM parent), \
        (SELECT count(*) FROM parent_then)";
    assert_eq!(server.sql("shop", counts), "1|1|1|0");
}

#[test]
fn partitions_that_are_made_as_such_come_too() {
    let server = Server::start();
    let home = server.home();
    let text = "-- PostgreSQL database dump\n-- Dumped by pg_dump version 10.4\n\
        CREATE TABLE public.p (\n    n integer\n)\nPARTITION BY LIST (n);\n\
        CREATE TABLE public.p1 PARTITION OF public.p\nFOR VALUES IN (1)\nPARTITION BY LIST (n);\n\
        CREATE TABLE public.p1a PARTITION OF public.p1\nFOR VALUES IN (1);\n\
        CREATE TABLE public.kid (\n    m integer\n)\nINHERITS (public.t);\n\
        COPY public.p1a (n) FROM stdin;\n1\n\\.\n-- PostgreSQL database dump complete\n";
    std::fs::write(home.join("shop.sql"), text).unwrap();
    let part = inspect(&home, &["extract", "-t", "p", "shop.sql"]).exits(0).out;
    assert!(!part.contains("kid"), "{part}");
    load(&server, &part, "taken");
    assert_eq!(server.sql("taken", "SELECT count(*) FROM p"), "1");
    inspect(&home, &["extract", "-t", "p1a", "--rename", "new", "shop.sql"])
        .exits(4)
        .says("another database");
}
