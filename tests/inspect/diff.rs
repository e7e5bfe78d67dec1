//! What a migration did, told from two dumps.
#![allow(clippy::unwrap_used)]

use crate::lab::{Server, run, tool};
use crate::stage::{dump, inspect, sh};

#[test]
fn what_a_migration_did() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE going (id int); CREATE TABLE still AS SELECT n FROM generate_series(1, 50) n",
    );
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "before.sql");
    let made = server.rotate(&["-d", "shop", "--compress", "zstd"]).exits(0);
    // one and the same, in two ways, is no difference; nor is the order of rows
    assert_eq!(inspect(&home, &["diff", "before.sql", made.line()]).exits(0).out, "");
    server.sql("shop", "CREATE TABLE t AS SELECT * FROM still ORDER BY n DESC; TRUNCATE still; INSERT INTO still SELECT * FROM t; DROP TABLE t");
    dump(&server, "pg_dump", &["-Fc", "-d", "shop"], "again.dump");
    assert_eq!(inspect(&home, &["diff", "before.sql", "again.dump"]).exits(0).out, "");

    server.sql(
        "shop",
        "DROP TABLE going; CREATE TABLE coming (id int); INSERT INTO coming VALUES (1); \
        ALTER TABLE people ADD COLUMN more int; DELETE FROM grades WHERE id IN (7, 8); \
        UPDATE grades SET points = 99 WHERE id = 9; CREATE INDEX ON grades (points)",
    );
    dump(&server, "pg_dump", &["-d", "shop"], "after.sql");
    let ran = inspect(&home, &["diff", "before.sql", "after.sql"]).exits(1);
    let told: Vec<String> = ran
        .lines()
        .iter()
        .map(|l| {
            let f: Vec<&str> = l.split('\t').collect();
            format!("{} {} {} {} {}", f[0], f[1], f[4], f[6], f[7])
        })
        .collect();
    for want in [
        "added INDEX grades_points_idx - -",
        "added OWNER coming - -",
        "added TABLE coming - -",
        "added TABLE DATA coming - 1",
        "altered TABLE people - -",
        "removed OWNER going - -",
        "removed TABLE going - -",
        "rows TABLE DATA grades 500 498",
        "rows TABLE DATA people 5 5",
    ] {
        assert!(told.contains(&want.to_owned()), "{want}: {told:#?}");
    }
    assert_eq!(told.len(), 9, "{told:#?}");
    let only = inspect(&home, &["diff", "-t", "still", "before.sql", "after.sql"]).exits(0);
    assert_eq!(only.out, "");

    let rows = inspect(&home, &["diff", "--rows", "-t", "grades", "before.sql", "after.sql"]).exits(1).out;
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    let begins: Vec<String> =
        rows.iter().map(|r| r.split('\t').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(begins, ["+ public.grades 9", "- public.grades 7", "- public.grades 8", "- public.grades 9"]);
    inspect(&home, &["diff", "--rows", "-t", "still", "before.sql", "after.sql"]).exits(0);
    inspect(&home, &["diff", "--rows", "-t", "nothing", "before.sql", "after.sql"])
        .exits(1)
        .says("neither dump");
}

#[test]
fn rows_in_shares_are_as_many_as_by_sort_and_comm() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, filter: &str| {
        let script = format!(
            "{{ echo '-- PostgreSQL database dump'; echo 'COPY public.t (a) FROM stdin;'; \
            seq 1000000 | {filter}; echo '\\.'; echo '-- PostgreSQL database dump complete'; }} >{name}"
        );
        sh(dir.path(), &script).exits(0);
    };
    make("a.sql", "sed -n 'p;/00$/p'");
    make("b.sql", "sort -r | sed '/77$/s/$/x/'");
    let ran = inspect(dir.path(), &["diff", "--rows", "a.sql", "b.sql"]).exits(1).out;
    let sorted =
        sh(dir.path(), "for f in a b; do grep -E '^[0-9]+x?$' $f.sql | sort >$f; done; comm -3 a b | wc -l");
    let want: usize = sorted.exits(0).line().trim().parse().unwrap();
    assert_eq!(ran.lines().count(), want);
    assert_eq!(ran.lines().filter(|l| l.starts_with('+')).count(), 10_000);
}

#[test]
fn options_of_pg_dump_are_no_difference() {
    let server = Server::start();
    server.seed("university");
    server.sql("university", r#"CREATE SCHEMA "Odd"; CREATE TYPE "Odd".mood AS ENUM ('a', 'B'); CREATE SEQUENCE "Odd".seq;
CREATE TABLE "Odd".empty (id serial, m "Odd".mood DEFAULT 'B', n int DEFAULT nextval('"Odd".seq'), t text DEFAULT 'a.b' COLLATE "C");
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE rows (id int PRIMARY KEY, t text, g int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO rows SELECT n, repeat(E'\\''; (x)\n', n) FROM generate_series(1, 9) n;
CREATE VIEW grouped AS SELECT id, t, now() AS at FROM rows GROUP BY id;
CREATE VIEW upon AS SELECT id FROM grouped;
CREATE FUNCTION "Odd".f(a int, "B" "Odd".mood DEFAULT 'a') RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION "Odd".atomic(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT id FROM public.rows WHERE id = a; END;
COMMENT ON FUNCTION "Odd".f(int, "Odd".mood) IS 'it''s "f"'; GRANT EXECUTE ON FUNCTION "Odd".f TO pg_monitor;
CREATE CAST (int AS "Odd".mood) WITH INOUT;
CREATE FUNCTION public.notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER tr BEFORE UPDATE OF t ON rows FOR EACH ROW WHEN (OLD.t IS DISTINCT FROM NEW.t) EXECUTE FUNCTION notice('a.b', 'c');
ALTER DEFAULT PRIVILEGES IN SCHEMA "Odd" GRANT SELECT ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO pg_monitor;
SELECT lo_create(4711); COMMENT ON SCHEMA public IS 'mine'
"#);
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "plain.sql");
    for options in [
        &["--quote-all-identifiers"][..],
        &["--inserts"],
        &["--column-inserts", "--rows-per-insert=5"],
        &["--clean", "--if-exists"],
        &["--clean", "--inserts", "--quote-all-identifiers", "--on-conflict-do-nothing"],
        &["-Fc"],
    ] {
        dump(&server, "pg_dump", &[options, &["-d", "university"]].concat(), "other.sql");
        for (a, b) in [("plain.sql", "other.sql"), ("other.sql", "plain.sql")] {
            let ran = inspect(&home, &["diff", a, b]);
            assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{options:?}: {}", ran.err);
        }
    }
    // what differs is told all the same
    server.sql("university", "DELETE FROM rows WHERE id = 9; CREATE OR REPLACE VIEW grouped AS SELECT id, t, now() AS at FROM rows WHERE id > 0 GROUP BY id; \
        ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO pg_monitor; INSERT INTO nothing DEFAULT VALUES");
    dump(
        &server,
        "pg_dump",
        &["--inserts", "--clean", "--quote-all-identifiers", "-d", "university"],
        "other.sql",
    );
    let ran = inspect(&home, &["diff", "plain.sql", "other.sql"]).exits(1);
    assert_eq!(
        ran.out,
        "altered\tDEFAULT ACL\t-\t-\tSEQUENCES FOR ROLE postgres\t-\t-\t-\n\
         rows\tTABLE DATA\t-\tpublic\tnothing\t-\t2\t3\nrows\tTABLE DATA\t-\tpublic\trows\t-\t9\t8\n\
         altered\tVIEW\t-\tpublic\tgrouped\t-\t-\t-\n"
    );
    for options in
        [&[][..], &["--clean"], &["--clean", "--if-exists", "--quote-all-identifiers", "--inserts"]]
    {
        dump(&server, "pg_dumpall", options, "cluster.sql");
        dump(&server, "pg_dumpall", &[], "plain.sql");
        let ran = inspect(&home, &["diff", "plain.sql", "cluster.sql"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{options:?}: {}", ran.err);
    } // before version 15
    sh(&home, "sed '/^CREATE SCHEMA \"Odd\"/iCREATE SCHEMA public;\\nALTER SCHEMA public OWNER TO postgres;' plain.sql >old.sql; ! cmp -s old.sql plain.sql")
        .exits(0);
    assert_eq!(inspect(&home, &["diff", "old.sql", "plain.sql"]).exits(0).out, "");
}

#[test]
fn what_is_in_large_objects_is_compared() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "SELECT lo_from_bytea(7, repeat('a', 70000)::bytea), lo_from_bytea(8, 'b'), lo_from_bytea(9, '')",
    );
    let home = server.home();
    let both = |name: &str| {
        dump(&server, "pg_dump", &["-d", "shop"], &format!("{name}.sql"));
        dump(&server, "pg_dump", &["-Fc", "-d", "shop"], &format!("{name}.dump"));
    };
    both("before");
    assert_eq!(inspect(&home, &["diff", "before.sql", "before.dump"]).exits(0).out, "");
    server.sql("shop", "SELECT lo_put(7, 69999, 'x'), lo_unlink(9)");
    both("after");
    for (a, b) in [("before.sql", "after.sql"), ("before.dump", "after.dump"), ("before.sql", "after.dump")] {
        let out = inspect(&home, &["diff", a, b]).exits(1).out;
        assert!(out.contains("altered\tBLOB\t-\t-\t7\t"), "{out}");
        assert!(out.contains("removed\tBLOB\t-\t-\t9\t") && !out.contains("\t8\t"), "{out}");
    }
}

#[test]
fn a_manifest_of_another_file_of_the_same_size_is_not_believed() {
    let server = Server::start();
    server.make("shop");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "a.sql");
    sh(&home, "cp a.sql b.sql").exits(0);
    inspect(&home, &["index", "b.sql"]).exits(0);
    let csv = ["extract", "-t", "people", "--format", "csv", "b.sql"];
    inspect(&home, &csv).exits(0);
    sh(&home, "sed -i 's/^1\\tAda/1\\tEva/' b.sql").exits(0);
    let out = inspect(&home, &["diff", "a.sql", "b.sql"]).exits(1).says("not the file").out;
    assert!(out.contains("rows\tTABLE DATA\t-\tpublic\tpeople"), "{out}");
    inspect(&home, &csv).exits(1).says("not those of the manifest");
}

#[test]
fn dumps_in_two_encodings_are_told_as_such() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE \"straße\" (name text); INSERT INTO \"straße\" VALUES ('Öl'); CREATE TABLE t (n int)",
    );
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "utf8.sql");
    dump(&server, "pg_dump", &["-d", "shop", "-E", "LATIN1"], "latin1.sql");
    for args in [&["diff"][..], &["diff", "--rows"]] {
        let files = ["utf8.sql", "latin1.sql"];
        let ran = inspect(&home, &[args, &files].concat()).exits(1);
        assert!(ran.err.contains("differ in encoding (UTF8, LATIN1)"), "{}", ran.err);
        assert!(
            !inspect(&home, &[args, &["utf8.sql", "utf8.sql"]].concat()).exits(0).err.contains("encoding")
        );
    }
    let ascii = inspect(&home, &["diff", "-t", "t", "utf8.sql", "latin1.sql"]).exits(0);
    assert!(ascii.err.contains("encoding"), "{}", ascii.err);
    inspect(&home, &["extract", "-t", "straße", "utf8.sql"]).exits(0);
    inspect(&home, &["extract", "-t", "straße", "latin1.sql"])
        .exits(1)
        .says("The dump is in LATIN1")
        .says("put *");
    let ran = run(tool("dump-inspect", &home)
        .args(["extract", "-t", "stra*e", "latin1.sql"])
        .stdout(std::process::Stdio::null()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let missing = inspect(&home, &["extract", "-t", "straßen", "utf8.sql"]).exits(1);
    assert!(!missing.err.contains("The dump is in"), "{}", missing.err);
}
