//! Tables of which a dump holds no rows, or holds them under another name: none is emptied for that.
#![allow(clippy::unwrap_used)]

use crate::lab::{Ran, Server, names, run};
use crate::stage::same;

/// A server with a shop: `p` of two partitions, `t`, and `e` without rows; and a dump of it, made so.
fn shop() -> Server {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (50); \
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (50) TO (200); \
        CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300); \
        INSERT INTO p VALUES (1), (60), (61); \
        CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (7), (8); CREATE TABLE e (n int)",
    );
    server
}

fn dump(server: &Server, file: &str, args: &[&str]) {
    run(server.client("pg_dump").args(["-w", "-d", "shop", "-f", file]).args(args)).exits(0);
}

fn restore(server: &Server, words: &[&str]) -> Ran {
    server.restore(&[words, &["-d", "shop", "--yes"]].concat())
}

#[test]
fn a_table_is_not_emptied_for_a_dump_without_its_rows() {
    let server = shop();
    dump(&server, "root.sql", &["--load-via-partition-root"]);
    dump(&server, "schema.sql", &["--schema-only"]);
    dump(&server, "part.sql", &["--exclude-table-data=p2"]);
    dump(&server, "inserts.sql", &["--inserts"]);
    let before = server.everything();
    for (file, table, lost) in [
        ("root.sql", "p1", "public.p1"),
        ("schema.sql", "t", "public.t"),
        ("schema.sql", "p", "public.p1, public.p2, public.p3"),
        ("part.sql", "p", "public.p2"),
        ("part.sql", "*", "public.p2"),
        ("inserts.sql", "e", "public.e"),
    ] {
        let ran = restore(&server, &[file, "-t", table, "--replace"]).exits(4).says("holds no rows of");
        assert!(ran.err.contains(lost) && ran.err.contains("--force=part"), "{file} {table}: {}", ran.err);
        assert!(!ran.err.contains("proven"), "{}", ran.err);
    }
    for how in [&["--data-only"][..], &["--upsert"]] {
        let args = [&["schema.sql", "-t", "t"], how].concat();
        restore(&server, &args).exits(4).says("holds no rows of what is asked for");
    }
    same(&server.everything(), &before);
    // whoever wants that says so, and it is told what it is
    let forced = ["schema.sql", "-t", "t", "--replace", "--force=part"];
    let ran = restore(&server, &forced).exits(0).says("emptied, without rows in the dump: public.t");
    assert!(!ran.err.contains("proven"), "{}", ran.err);
    restore(&server, &["schema.sql", "-t", "t", "--as", "t2"]).exits(0).says("restored without rows");
}

#[test]
fn rows_that_come_by_the_root_or_by_insert_are_counted_and_backed_up_before() {
    let server = shop();
    dump(&server, "root.sql", &["--load-via-partition-root"]);
    dump(&server, "inserts.sql", &["--inserts"]);
    let before = server.everything();
    for (file, tables) in
        [("root.sql", "3 rows in 1 tables"), ("inserts.sql", "3 rows in 2 tables"), ("root.sql", "3 rows")]
    {
        server.sql("shop", "DELETE FROM p WHERE id < 61; INSERT INTO p VALUES (222)");
        restore(&server, &[file, "-t", "p", "--replace"]).exits(0).says(tables);
        same(&server.everything(), &before);
    }
    // what was replaced stood in the partitions
    let safety = server.home().join("backups/safety");
    let kept = names(&safety).into_iter().rfind(|n| n.ends_with(".sql.gz")).unwrap();
    restore(&server, &[safety.join(kept).to_str().unwrap(), "-t", "p", "--replace"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT id FROM p ORDER BY id"), "61\n222");
    server.sql("shop", "TRUNCATE p, t");
    restore(&server, &["root.sql", "--data-only"]).exits(0).says("5 rows in 3 tables");
    same(&server.everything(), &before);
    server.sql("shop", "DELETE FROM p WHERE id = 60; INSERT INTO p VALUES (222)");
    restore(&server, &["root.sql", "-t", "p", "--upsert"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM p"), "4");
}

#[test]
fn a_partition_that_was_taken_out_since_is_not_filled_for_the_whole() {
    let server = shop();
    dump(&server, "dump.sql", &[]);
    server.sql("shop", "ALTER TABLE p DETACH PARTITION p2");
    let before = server.everything();
    restore(&server, &["dump.sql", "-t", "p", "--replace"])
        .exits(4)
        .says("public.p2 is no partition of what is replaced")
        .says("Nothing was changed");
    same(&server.everything(), &before);
}

#[test]
fn foreign_tables_are_left_where_they_are() {
    let server = shop();
    server.sql(
        "shop",
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
        CREATE FOREIGN TABLE hosts (line text) SERVER files OPTIONS (filename '/nowhere')",
    );
    dump(&server, "dump.sql", &[]);
    let before = server.everything();
    let leaves = "leave   public.hosts: its rows are elsewhere";
    server.sql("shop", "TRUNCATE p, t");
    restore(&server, &["dump.sql", "--data-only"]).exits(0).says(leaves).says("5 rows in 5 tables");
    same(&server.everything(), &before);
    server.sql("shop", "DELETE FROM t");
    restore(&server, &["dump.sql", "-t", "*", "--replace"]).exits(0).says(leaves);
    same(&server.everything(), &before);
    restore(&server, &["dump.sql", "-t", "hosts", "--replace"])
        .exits(4)
        .says("public.hosts holds no rows here");
    server.sql("shop", "TRUNCATE p, t; DROP EXTENSION file_fdw CASCADE");
    restore(&server, &["dump.sql", "--data-only"]).exits(0).says("5 rows in 5 tables");
}
