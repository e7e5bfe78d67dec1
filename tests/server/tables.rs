//! Single tables out of a backup into the live database: new, replaced, upserted, filled.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::lab::{Ran, Server, names, run};
use crate::stage::{back_up, same};

/// A server with a shop, and a backup of its cluster.
fn with_a_backup() -> (Server, String) {
    let server = Server::start();
    server.make("shop");
    let backup = back_up(&server, &[]);
    (server, backup.to_str().unwrap().to_owned())
}

fn hash(server: &Server, table: &str) -> String {
    server.sql("shop", &format!("SELECT count(*), md5(string_agg(t::text, ';' ORDER BY id)) FROM {table} t"))
}

fn restore(server: &Server, words: &[&str]) -> Ran {
    server.restore(&[words, &["--yes"]].concat())
}

#[test]
fn a_table_that_was_dropped_comes_back_alone() {
    let (server, backup) = with_a_backup();
    let (want, other) = (hash(&server, "people"), "INSERT INTO grades VALUES (1000, 1, 5)");
    server.sql("shop", &format!("{other}; DROP TABLE people CASCADE"));
    // nothing is replaced: nobody is asked, and there is nothing to back up
    let ran = server.restore(&[&backup, "-t", "people"]).exits(0).says("5 rows in 1 tables");
    assert!(ran.line().starts_with("postgresql://postgres@/shop?"), "{}", ran.out);
    assert_eq!(hash(&server, "people"), want);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "501");
    assert!(!server.home().join("backups/safety").exists());
    // its key to a table that is there comes with it, and where that does not fit, it is told
    server.sql("shop", "DROP TABLE grades CASCADE");
    restore(&server, &[&backup, "-t", "grades"]).exits(0);
    server.sql("shop", "COMMENT ON CONSTRAINT grades_person_fkey ON grades IS 'who'");
    let backup = back_up(&server, &["-d", "shop"]).to_str().unwrap().to_owned();
    let keys = "SELECT conname FROM pg_constraint WHERE contype = 'f'";
    for (prepare, tables, key) in [
        ("DROP TABLE grades CASCADE", &["-t", "grades"][..], "grades_person_fkey"),
        ("DROP TABLE grades; DELETE FROM people WHERE id = 1", &["-t", "grades"], ""),
        ("DROP TABLE grades, people", &["-t", "grades"], ""),
        ("DROP TABLE grades", &["-t", "grades", "-t", "people"], "grades_person_fkey"),
    ] {
        server.sql("shop", prepare);
        let ran = restore(&server, &[&[backup.as_str()], tables].concat()).exits(0);
        assert_eq!(server.sql("shop", keys), key, "{prepare}");
        let lost = "not there: grades_person_fkey of public.grades";
        assert_eq!(ran.err.contains("left out: ") && ran.err.contains(lost), key.is_empty(), "{}", ran.err);
    }
    server.sql("shop", "ALTER TABLE grades DROP CONSTRAINT grades_person_fkey");
    // its key is there again
    server.sql("shop", "ALTER TABLE grades ADD FOREIGN KEY (person) REFERENCES people");
    // and now it is in the way
    server.restore(&[&backup, "-t", "people"]).exits(4).says("public.people is there").says("--replace");
    server.restore(&[&backup, "-t", "nobody"]).exits(1).says("nobody");
}

#[test]
fn a_table_stands_beside_itself_under_another_name() {
    let (server, backup) = with_a_backup();
    let want = hash(&server, "grades");
    server.sql("shop", "DELETE FROM grades WHERE id <= 400");
    restore(&server, &[&backup, "-t", "grades", "--as", "grades_then"]).exits(0).says("500 rows");
    assert_eq!(hash(&server, "grades_then"), want);
    let missing = "SELECT count(*) FROM grades_then WHERE id NOT IN (SELECT id FROM grades)";
    assert_eq!(server.sql("shop", missing), "400");
    restore(&server, &[&backup, "-t", "grades", "--as", "grades_then"]).exits(4).says("is there");
    restore(&server, &[&backup, "-t", "*", "--as", "one"]).exits(2).says("one table");
    // the copy of one that inherits would show in its parent
    server.sql("shop", "CREATE TABLE best_grades (rank int) INHERITS (grades)");
    let backup = back_up(&server, &["-d", "shop"]);
    let before = server.everything();
    restore(&server, &[backup.to_str().unwrap(), "-t", "best_grades", "--as", "best_then"])
        .exits(4)
        .says("public.best_grades inherits from public.grades")
        .says("under its own name into another database");
    same(&server.everything(), &before);
}

#[test]
fn rows_are_replaced_with_keys_and_triggers_as_they_were() {
    let (server, backup) = with_a_backup();
    server.sql(
        "shop",
        "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''fired''; END'; \
        CREATE TRIGGER one BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION loud(); \
        CREATE TRIGGER two BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION loud(); \
        ALTER TABLE people ENABLE ALWAYS TRIGGER one; ALTER TABLE people DISABLE TRIGGER two; \
        COMMENT ON CONSTRAINT grades_person_fkey ON grades IS 'who'",
    );
    let want = server.everything();
    server.sql("shop", "UPDATE people SET name = 'X', note = NULL WHERE id < 4");
    restore(&server, &[&backup, "-t", "people", "--replace"]).exits(0).says("safety backup: ");
    same(&server.everything(), &want);
    // a safety backup holds what was replaced, and brings it back
    let safety = server.home().join("backups/safety");
    let kept = names(&safety).into_iter().find(|n| n.ends_with(".sql.gz")).unwrap();
    let kept = safety.join(kept);
    restore(&server, &[kept.to_str().unwrap(), "-t", "people", "--replace"]).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM people WHERE name = 'X'"), "3");
}

#[test]
fn rows_that_others_refer_to_are_not_taken_away() {
    let (server, backup) = with_a_backup();
    server.sql("shop", "INSERT INTO people VALUES (9, 'New', ''); INSERT INTO grades VALUES (900, 9, 1)");
    let before = server.everything();
    restore(&server, &[&backup, "-t", "people", "--replace"])
        .exits(1)
        .says("grades_person_fkey")
        .says("Nothing was changed");
    same(&server.everything(), &before);
    // both together fit
    restore(&server, &[&backup, "-t", "people", "-t", "grades", "--replace"]).exits(0).says("505 rows");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM people WHERE id = 9"), "0");
}

#[test]
fn rows_of_the_same_key_are_replaced_and_others_stay() {
    let (server, backup) = with_a_backup();
    server.sql(
        "shop",
        "UPDATE grades SET points = 0 WHERE id <= 10; DELETE FROM grades WHERE id > 490; \
        INSERT INTO grades VALUES (1000, 1, 7)",
    );
    restore(&server, &[&backup, "-t", "grades", "--upsert"]).exits(0);
    let got = "SELECT count(*), count(*) FILTER (WHERE points = 0), max(id) FROM grades";
    assert_eq!(server.sql("shop", got), "501|0|1000");
    server.sql("shop", "ALTER TABLE grades DROP CONSTRAINT grades_pkey");
    restore(&server, &[&backup, "-t", "grades", "--upsert"]).exits(4).says("no primary key");
    server.sql("shop", "DROP TABLE grades CASCADE");
    restore(&server, &[&backup, "-t", "grades", "--upsert"]).exits(4).says("is not there");
}

#[test]
fn rows_alone_fill_the_tables_of_a_database() {
    let server = Server::start();
    server.seed("university");
    // those are no table's
    server.sql("university", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata");
    let backup = back_up(&server, &["-d", "university"]);
    let backup = backup.to_str().unwrap();
    server.restore(&[backup, "-d", "empty", "--schema-only"]).exits(0).says("0 rows");
    let rows = |database: &str| server.sql(database, "SELECT count(*) FROM grades");
    assert_eq!(rows("empty"), "0");
    restore(&server, &[backup, "-d", "empty", "--data-only"]).exits(0);
    assert_eq!(rows("empty"), rows("university"));
    let dump = |database: &str| {
        let text = run(server.client("pg_dump").args(["-w", "-d", database])).exits(0).out;
        let varies = ["--", "\\restrict", "\\unrestrict"];
        let mut lines: Vec<&str> =
            text.lines().filter(|l| !varies.iter().any(|begin| l.starts_with(begin))).collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    same(&dump("empty"), &dump("university"));
    // a second time the keys are in the way, and nothing is half done
    restore(&server, &[backup, "-d", "empty", "--data-only"]).exits(1).says("duplicate key");
    same(&dump("empty"), &dump("university"));
}

#[test]
fn every_way_a_dump_can_be_given() {
    let (server, backup) = with_a_backup();
    let want = hash(&server, "grades");
    let home = server.home();
    let archive = home.join("shop.dump");
    let pg_dump = |args: &[&str], file: &Path| {
        run(server.client("pg_dump").args(["-w", "-d", "shop", "-f"]).arg(file).args(args)).exits(0);
    };
    pg_dump(&["-Fc"], &archive);
    pg_dump(&["--inserts"], &home.join("inserts.sql"));
    for file in [&backup, "shop.dump", "inserts.sql"] {
        server.sql("shop", "DELETE FROM grades WHERE id > 250");
        restore(&server, &[file, "-d", "shop", "-t", "grades", "--replace"]).exits(0).says("500 rows");
        assert_eq!(hash(&server, "grades"), want, "{file}");
    }
    server.sql("shop", "DELETE FROM grades WHERE id > 250");
    let script = "gzip -dc \"$1\" | \"$2\" - -d shop -t grades --replace --yes";
    run(server.shell(script).arg(&backup).arg(env!("CARGO_BIN_EXE_pgdump-restore"))).exits(0);
    assert_eq!(hash(&server, "grades"), want);
    restore(&server, &["inserts.sql", "-d", "shop", "-t", "grades", "--upsert"]).exits(4).says("INSERT");
    restore(&server, &[&backup, "-d", "nowhere", "-t", "grades"]).exits(4).says("is not there");
}

#[test]
fn sequences_go_on_and_partitions_are_filled() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text, b text GENERATED ALWAYS AS (a || '!') STORED); \
        INSERT INTO t (a) SELECT n::text FROM generate_series(1, 100) n; \
        CREATE TABLE p (id int PRIMARY KEY, a text) PARTITION BY RANGE (id); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (50); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (50) TO (200); \
        INSERT INTO p SELECT n, n::text FROM generate_series(1, 100) n; CREATE TABLE r (p int REFERENCES p)",
    );
    let backup = back_up(&server, &["-d", "shop"]);
    let backup = backup.to_str().unwrap();
    let (t, p) = (hash(&server, "t"), hash(&server, "p"));
    server.sql("shop", "INSERT INTO t (a) VALUES ('later'); DELETE FROM t WHERE id < 50; DELETE FROM p");
    restore(&server, &[backup, "-t", "t", "-t", "p", "--replace"]).exits(0);
    assert_eq!((hash(&server, "t"), hash(&server, "p")), (t.clone(), p));
    // a partition alone, to which others refer by the key of the whole
    server.sql("shop", "DELETE FROM p1; INSERT INTO r VALUES (77)");
    restore(&server, &[backup, "-t", "p1", "--replace"]).exits(0).says("49 rows");
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'r'::regclass AND conparentid = 0";
    assert_eq!(server.sql("shop", keys), "1");
    assert_eq!(server.sql("shop", "INSERT INTO t (a) VALUES ('next') RETURNING id"), "102");
    server.sql("shop", "DELETE FROM t WHERE id > 100; UPDATE t SET a = 'changed' WHERE id = 7");
    restore(&server, &[backup, "-t", "t", "--upsert"]).exits(0);
    assert_eq!(hash(&server, "t"), t);
}

#[test]
fn the_plan_is_told_and_nobody_is_asked_without_need() {
    let (server, backup) = with_a_backup();
    let before = server.everything();
    let plan = server.restore(&[&backup, "-t", "grades", "--replace", "--dry-run"]).exits(0).out;
    assert!(plan.contains("replace public.grades in database shop: 500 rows"), "{plan}");
    server.restore(&[&backup, "-t", "grades", "--replace"]).exits(4).says("--yes");
    same(&server.everything(), &before);
}

#[test]
fn a_partition_that_was_dropped_is_one_again() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE whole (id int PRIMARY KEY, person int REFERENCES people, at date DEFAULT '2025-01-01') PARTITION BY RANGE (id); \
        CREATE INDEX by_date ON whole (at); CREATE TABLE low PARTITION OF whole FOR VALUES FROM (0) TO (50); \
        CREATE TABLE high PARTITION OF whole FOR VALUES FROM (50) TO (99) PARTITION BY RANGE (id); \
        CREATE TABLE higher PARTITION OF high DEFAULT; CREATE INDEX own ON low (person); \
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
        CREATE TRIGGER tg AFTER INSERT ON whole FOR EACH ROW EXECUTE FUNCTION f(); \
        ALTER TABLE higher DISABLE TRIGGER tg; ALTER TABLE low DISABLE TRIGGER tg; \
        INSERT INTO whole SELECT n, 1 + n % 5 FROM generate_series(1, 98) n",
    );
    let backup = back_up(&server, &["-d", "shop"]);
    let (backup, want) = (backup.to_str().unwrap(), server.everything());
    for table in ["low", "high"] {
        server.sql("shop", &format!("DROP TABLE {table}"));
        let ran = restore(&server, &[backup, "-t", table]).exits(0);
        assert!(!ran.err.contains("left out") && !ran.err.contains("warning"), "{}", ran.err);
        same(&server.everything(), &want);
    }
    // another has its place
    server.sql("shop", "DROP TABLE low; CREATE TABLE other PARTITION OF whole FOR VALUES FROM (10) TO (20)");
    restore(&server, &[backup, "-t", "low"]).exits(0).says("left out: partition \"low\" would overlap");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM low"), "49");
    // rows go into partitions that are named
    let plan =
        server.restore(&[backup, "-t", "whole", "--upsert", "--dry-run"]).exits(4).says("is a partition");
    assert_eq!(plan.out, "");
}

#[test]
fn foreign_keys_that_a_dropped_table_took_along_are_told() {
    let (server, backup) = with_a_backup();
    server.sql("shop", "DROP TABLE people CASCADE");
    let lost = "foreign keys of the dump that are not there: grades_person_fkey of public.grades";
    for (tables, more) in
        [(&["-t", "people"][..], &[][..]), (&["-t", "people", "-t", "grades"], &["--replace"])]
    {
        let args = [&[backup.as_str()], tables, more].concat();
        restore(&server, &args).exits(0).says(lost);
        server.sql("shop", "DROP TABLE people CASCADE");
    }
    // where both are made anew, the key is made as well
    server.sql("shop", "DROP TABLE grades CASCADE");
    let ran = restore(&server, &[&backup, "-t", "people", "-t", "grades"]).exits(0);
    assert!(!ran.err.contains("foreign keys"), "{}", ran.err);
}

#[test]
fn rows_that_are_older_than_a_check_come_back() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE parts (id int CHECK (id > 0), n int) PARTITION BY RANGE (id); \
        CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (9); INSERT INTO parts VALUES (1, -1); \
        ALTER TABLE parts ADD CONSTRAINT more CHECK (n > 0) NOT VALID; \
        ALTER TABLE grades ADD CONSTRAINT high CHECK (points > 20) NOT VALID; \
        COMMENT ON CONSTRAINT high ON grades IS 'from now on'",
    );
    let backup = back_up(&server, &["-d", "shop"]);
    let want = server.everything();
    server.sql("shop", "DELETE FROM grades WHERE id < 300; DELETE FROM parts");
    let tables = ["-t", "grades", "-t", "parts", "--replace"];
    restore(&server, &[&[backup.to_str().unwrap()], &tables[..]].concat()).exits(0).says("501 rows");
    same(&server.everything(), &want);
}
