//! What is taken out of a dump loads by itself and is the same as in the database it came from.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::lab::{Server, feed, run};
use crate::stage::{corpus, dump, inspect, load, quoted, sh, tables};

/// The definition of one table by pg_dump, without what refers to other tables.
fn definition(server: &Server, database: &str, table: &str) -> String {
    let text = run(server.client("pg_dump").args(["-ws", "-d", database, "-t", table])).exits(0).out;
    let keeps = |s: &&str| {
        let refers = s.contains("FOREIGN KEY") || s.contains("ATTACH PARTITION");
        !refers && !s.trim().is_empty() && !s.starts_with("\\")
    };
    let statements =
        text.split(";\n").map(|s| s.lines().filter(|l| !l.starts_with("--")).collect::<Vec<_>>().join("\n"));
    let statements: Vec<String> = statements.map(|s| s.trim().to_owned()).collect();
    statements.iter().map(String::as_str).filter(keeps).collect::<Vec<_>>().join("\n")
}

/// Takes every table out of a dump, loads it, and compares rows and definition with `original`.
fn each_table(server: &Server, original: &str, file: &Path) -> usize {
    let home = server.home();
    let file = file.to_str().unwrap();
    let all = tables(&home, &[file]);
    for (table, rows) in &all {
        let quoted = quoted(table);
        let ran = inspect(&home, &["extract", "--with-dependencies", "-t", &quoted, file]).exits(0);
        load(server, &ran.out, "taken");
        dump(server, "pg_dump", &["-d", "taken"], "taken.sql");
        let taken = tables(&home, &["taken.sql"]);
        assert_eq!(taken.get(table), Some(rows), "{quoted} of {file}");
        assert_eq!(
            definition(server, "taken", &quoted),
            definition(server, original, &quoted),
            "{quoted} of {file}"
        );
    }
    all.len()
}

#[test]
fn every_table_of_the_university() {
    let server = Server::start();
    server.seed("university");
    let path = dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    assert!(each_table(&server, "university", &path) > 5);
}

#[test]
fn every_table_of_real_dumps() {
    let server = Server::start();
    let home = server.home();
    let mut dumps = 0;
    for known in corpus() {
        let name = known.says("name").to_owned();
        let wanted = [
            "neon-chinook.sql",
            "neon-happiness_index.sql",
            "neon-netflix.sql",
            "neon-pagila.sql",
            "neon-periodic_table.sql",
            "neon-titanic.sql",
            "northwind-prasertcbs.sql",
            "joins-chinook.sql",
            "disney-plain.sql",
            "derived/spanner-pagila.sql.zst",
            "generated/torture15.plain.sql",
            "chinook-1.4-utf8.sql",
        ];
        if !wanted.contains(&name.as_str()) {
            continue;
        }
        server.sql(
            "postgres",
            "DROP DATABASE IF EXISTS original; CREATE ROLE neondb_owner".split(';').next().unwrap(),
        );
        server.sql("postgres", "CREATE DATABASE original TEMPLATE template0 ENCODING 'UTF8'");
        let cat = inspect(&home, &["cat", known.path.to_str().unwrap()]).exits(0).out;
        let mut psql = server.client("psql");
        // roles of others are missing here
        feed(psql.args(["-Xq", "-o", "/dev/null", "-d", "original"]), cat).exits(0);
        // what the server itself makes of it, so that both sides are of one version
        let path = dump(&server, "pg_dump", &["-d", "original"], "original.sql");
        assert!(each_table(&server, "original", &path) > 0, "{name}");
        dumps += 1;
    }
    assert!(dumps == 0 || dumps >= 10, "{dumps}");
}

#[test]
fn one_database_and_the_globals_of_a_cluster() {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    server.sql("postgres", "CREATE ROLE clerk; CREATE ROLE boss; GRANT clerk TO boss");
    let home = server.home();
    dump(&server, "pg_dumpall", &[], "all.sql");
    let globals = inspect(&home, &["extract", "--globals", "all.sql"]).exits(0).out;
    assert!(globals.contains("CREATE ROLE clerk;") && globals.contains("GRANT clerk TO boss"), "{globals}");
    assert!(!globals.contains("CREATE TABLE") && !globals.contains("DATABASE"), "{globals}");
    let shop = inspect(&home, &["extract", "--database", "shop", "all.sql"]).exits(0).out;
    load(&server, &shop, "taken");
    dump(&server, "pg_dump", &["-d", "taken"], "taken.sql");
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    assert_eq!(tables(&home, &["taken.sql"]), tables(&home, &["shop.sql"]));
    sh(&home, "for f in shop taken; do grep -v restrict $f.sql >$f.cmp; done; cmp shop.cmp taken.cmp")
        .exits(0);
    inspect(&home, &["extract", "--database", "shp", "all.sql"]).exits(1).says("Nearest: shop");
    inspect(&home, &["extract", "--globals", "shop.sql"]).exits(1).says("one database");
    inspect(&home, &["extract", "-t", "people", "all.sql"]).exits(4).says("blog, shop").says("--database");
    let people = inspect(&home, &["extract", "-t", "shop.public.people", "all.sql"]).exits(0).out;
    load(&server, &people, "taken");
    assert_eq!(server.sql("taken", "SELECT count(*) FROM people"), "5");
}

#[test]
fn schema_only_data_only_and_clean() {
    let server = Server::start();
    server.make("shop");
    server
        .sql("shop", "CREATE ROLE clerk; GRANT SELECT ON people TO clerk; COMMENT ON TABLE people IS 'who'");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let take = |args: &[&str]| {
        inspect(&home, &[&["extract", "-t", "people"], args, &["shop.sql"]].concat()).exits(0).out
    };
    load(&server, &take(&["--schema-only"]), "taken");
    assert_eq!(server.sql("taken", "SELECT count(*) FROM people"), "0");
    let data = take(&["--data-only"]);
    assert!(!data.contains("CREATE") && !data.contains("GRANT"), "{data}");
    feed(server.client("psql").args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", "taken"]), &data).exits(0);
    assert_eq!(server.sql("taken", "SELECT count(*) FROM people"), "5");
    let clean = take(&["--clean"]);
    feed(server.client("psql").args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", "taken"]), &clean).exits(0);
    assert_eq!(server.sql("taken", "SELECT count(*) FROM people"), "5");
    // tables that refer to each other, and a view upon them
    let all = ["extract", "--clean", "-t", "people", "-t", "grades", "-t", "best", "shop.sql"];
    let all = inspect(&home, &all).exits(0).out;
    feed(server.client("psql").args(["-Xq1", "-v", "ON_ERROR_STOP=1", "-d", "shop"]), &all).exits(0);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM best"), "5");
    // a role that is missing there is told of there, and stops nothing
    server.sql("postgres", "REASSIGN OWNED BY clerk TO postgres");
    server.sql("shop", "DROP OWNED BY clerk");
    server.sql("taken", "DROP OWNED BY clerk");
    server.sql("postgres", "DROP ROLE clerk");
    load(&server, &clean, "taken");
    assert_eq!(server.sql("taken", "SELECT obj_description('people'::regclass)"), "who");
    // what is left out is said
    let ran = inspect(&home, &["extract", "-t", "grades", "shop.sql"]).exits(0).says("grades_person_fkey");
    load(&server, &ran.out, "taken");
    let both = inspect(&home, &["extract", "-t", "grades", "-t", "people", "shop.sql"]).exits(0);
    assert!(both.err.is_empty() && both.out.contains("FOREIGN KEY"), "{}", both.err);
    load(&server, &both.out, "taken");
    inspect(&home, &["extract", "-t", "poeple", "shop.sql"]).exits(1).says("Nearest: people");
}

#[test]
fn a_table_with_all_that_belongs_to_it() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        r#"
CREATE SCHEMA "Odd Schema";
CREATE TYPE "Odd Schema".mood AS ENUM ('low', 'high; -- x');
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at = 'epoch'; RETURN NEW; END $$;
CREATE TABLE "Odd Schema"."T; Type: TABLE" (
    id int GENERATED BY DEFAULT AS IDENTITY (START 5), serial serial, at timestamptz,
    mood "Odd Schema".mood DEFAULT 'low', twice int GENERATED ALWAYS AS (serial * 2) STORED, CHECK (serial > 0));
ALTER TABLE "Odd Schema"."T; Type: TABLE" ADD PRIMARY KEY (id);
CREATE INDEX "i x" ON "Odd Schema"."T; Type: TABLE" (mood, serial DESC);
CREATE TRIGGER stamp BEFORE INSERT ON "Odd Schema"."T; Type: TABLE" FOR EACH ROW EXECUTE FUNCTION public.stamp();
ALTER TABLE "Odd Schema"."T; Type: TABLE" ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON "Odd Schema"."T; Type: TABLE" USING (serial > 1);
CREATE STATISTICS "Odd Schema".st ON mood, serial FROM "Odd Schema"."T; Type: TABLE";
COMMENT ON COLUMN "Odd Schema"."T; Type: TABLE".serial IS E'it''s; \\. x';
INSERT INTO "Odd Schema"."T; Type: TABLE" (mood) VALUES ('high; -- x'), ('low'), (NULL);
ALTER TABLE "Odd Schema"."T; Type: TABLE" REPLICA IDENTITY FULL;
"#,
    );
    let path = dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    assert_eq!(each_table(&server, "shop", &path), 1);
    assert_eq!(server.sql("taken", "SELECT nextval('\"Odd Schema\".\"T; Type: TABLE_serial_seq\"')"), "4");
    let home = server.home();
    let ran = inspect(&home, &["extract", "-t", "*.\"T; Type: TABLE\"", "shop.sql"]).exits(0);
    assert!(ran.err.contains("type Odd Schema.mood") && ran.err.contains("stamp()"), "{}", ran.err);
    // all of a schema
    let schema =
        inspect(&home, &["extract", "--schema", "\"Odd Schema\"", "--with-dependencies", "shop.sql"])
            .exits(0);
    load(&server, &schema.out, "taken");
    assert_eq!(server.sql("taken", "SELECT count(*) FROM \"Odd Schema\".\"T; Type: TABLE\""), "3");
}

#[test]
fn a_table_beside_its_namesake() {
    let server = Server::start();
    server.seed("university");
    server.make("shop");
    server.sql(
        "shop",
        "CREATE TABLE \"Odd one\" (id serial PRIMARY KEY, n int UNIQUE, code text DEFAULT 'public.people'); \
        CREATE INDEX by_code ON \"Odd one\" (code); CLUSTER \"Odd one\" USING by_code; \
        INSERT INTO \"Odd one\" (n) VALUES (3), (4); COMMENT ON TABLE \"Odd one\" IS 'public.\"Odd one\" it is'",
    );
    let home = server.home();
    for database in ["shop", "university"] {
        let file = dump(&server, "pg_dump", &["-d", database], &format!("{database}.sql"));
        let file = file.to_str().unwrap();
        for table in tables(&home, &[file]).keys() {
            let new = format!("then {}", table.1);
            let args = ["extract", "-t", &quoted(table), "--rename", &new, file];
            let ran = inspect(&home, &args);
            let kin = format!(
                "SELECT relkind = 'p' OR (NOT relispartition AND oid IN (SELECT inhrelid FROM pg_inherits)) \
                FROM pg_class WHERE oid = '{}'::regclass",
                quoted(table)
            );
            if server.sql(database, &kin) == "t" {
                ran.exits(4);
                continue;
            }
            let ran = ran.exits(0);
            // into the very database where the old one stands
            let mut psql = server.client("psql");
            let load = ["-Xq1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", database];
            feed(psql.args(load), &ran.out).exits(0);
            let both = (table.0.clone(), new.clone());
            let compare = format!(
                "SELECT count(*) FROM (SELECT a::text FROM ONLY {} a EXCEPT ALL SELECT b::text FROM ONLY {} b) x",
                quoted(table),
                quoted(&both)
            );
            assert_eq!(server.sql(database, &compare), "0", "{table:?}");
        }
    }
    let code = server.sql("shop", "INSERT INTO \"then Odd one\" DEFAULT VALUES RETURNING id, code");
    assert_eq!(code, "3|public.people");
    inspect(&home, &["extract", "-t", "*", "--rename", "x", "shop.sql"]).exits(2).says("several");
    dump(&server, "pg_dump", &["--inserts", "-d", "shop"], "inserts.sql");
    inspect(&home, &["extract", "-t", "people", "--rename", "x", "inserts.sql"]).exits(4).says("INSERT");
}

#[test]
fn rows_as_csv_come_back_by_copy() {
    let server = Server::start();
    server.make("shop");
    server.sql("shop", "INSERT INTO people VALUES (6, E'quo\"te, comma', E'cr\\r\\nlf'), (7, NULL, ''), (8, E'\\\\.', E'\\b\\f\\v')");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let csv = inspect(&home, &["extract", "-t", "people", "--format", "csv", "shop.sql"]).exits(0).out;
    assert!(csv.starts_with("id,name,note\n1,Ada,a\ttab\n"), "{csv}");
    std::fs::write(home.join("people.csv"), &csv).unwrap();
    server.sql("shop", "CREATE TABLE again (LIKE people)");
    let copy = format!("\\copy again FROM '{}' (FORMAT csv, HEADER)", home.join("people.csv").display());
    server.sql("shop", &copy);
    assert_eq!(server.sql("shop", "SELECT count(*) FROM (TABLE people EXCEPT ALL TABLE again) x"), "0");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM again"), "8");
    inspect(&home, &["extract", "-t", "*", "--format", "csv", "shop.sql"]).exits(2).says("one table");
    let none = "COPY public.n  FROM stdin;\n\n\n\\.\n";
    std::fs::write(home.join("none.sql"), format!("CREATE TABLE public.n (\n);\n{none}")).unwrap();
    let csv = inspect(&home, &["extract", "-t", "n", "--format", "csv", "none.sql"]).exits(0).out;
    assert_eq!(csv, "\n\n\n");
}
