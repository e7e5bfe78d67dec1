//! `--clean`, of dumps that were made with it and of parts that are taken out with it.
#![allow(clippy::unwrap_used)]

use crate::lab::Server;
use crate::stage::{dump, inspect, load, sh};

#[test]
fn a_database_of_a_cluster_never_drops_or_changes_another() {
    let server = Server::start();
    server.sql("postgres", "CREATE ROLE r");
    for name in ["n", "o", "zz"] {
        server.make(name);
        server.sql(
            "postgres",
            &format!(
                "GRANT CREATE ON DATABASE {name} TO r; COMMENT ON DATABASE {name} IS 'x'; \
                ALTER DATABASE {name} SET work_mem = '5MB'; ALTER ROLE r IN DATABASE {name} SET work_mem = '6MB'"
            ),
        );
    }
    let home = server.home();
    dump(&server, "pg_dumpall", &["-c"], "allc.sql");
    sh(&home, "gzip -k allc.sql").exits(0);
    let made = server.rotate(&["--tag", "clean"]).exits(0);
    inspect(&home, &["index", "allc.sql.gz"]).exits(0);
    for file in ["allc.sql", "allc.sql.gz", made.line()] {
        for name in ["n", "o", "zz", "postgres", "template1"] {
            let ran = inspect(&home, &["extract", "-d", name, file]).exits(0);
            for words in ["DATABASE", "pg_database", "ROLE"] {
                assert!(!ran.out.contains(words), "{words} in {name} of {file}: {}", ran.out);
            }
            load(&server, &ran.out, "taken");
        }
        let globals = inspect(&home, &["extract", "--globals", file]).exits(0).out;
        assert!(globals.contains("CREATE ROLE r;"), "{globals}");
    }
}

#[test]
fn views_that_need_each_other_are_made_once() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE t (a int PRIMARY KEY, b int); CREATE VIEW v AS SELECT a, b FROM t GROUP BY a; \
        CREATE VIEW w AS SELECT a FROM v; CREATE VIEW x AS SELECT 1 AS a; CREATE OR REPLACE VIEW y AS SELECT a FROM x; \
        CREATE OR REPLACE VIEW x AS SELECT (SELECT count(*) FROM y)::int AS a",
    );
    let home = server.home();
    for options in [&[][..], &["--clean"], &["--clean", "--if-exists"]] {
        dump(&server, "pg_dump", &[&["-d", "shop"], options].concat(), "shop.sql");
        for pattern in ["v", "w", "x", "y"] {
            let args = ["extract", "--with-dependencies", "-t", pattern, "shop.sql"];
            let ran = inspect(&home, &args).exits(0);
            load(&server, &ran.out, "taken");
        }
        let ran = inspect(&home, &["extract", "--schema", "public", "shop.sql"]).exits(0);
        load(&server, &ran.out, "taken");
    }
}

#[test]
fn a_table_that_is_dropped_first_comes_back_into_its_publications() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE t (a int, b int); CREATE TABLE u (a int); CREATE PUBLICATION p FOR TABLE t (a) WHERE (a > 1), u; \
        CREATE PUBLICATION gone FOR TABLE t",
    );
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let part = inspect(&home, &["extract", "-t", "t", "--clean", "shop.sql"]).exits(0).out;
    let shop = inspect(&home, &["cat", "shop.sql"]).exits(0).out;
    load(&server, &shop, "taken");
    server.sql("taken", "DROP PUBLICATION gone");
    let mut psql = server.client("psql");
    crate::lab::feed(psql.args(["-Xq1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", "taken"]), &part)
        .exits(0)
        .says("publication \"gone\" does not exist");
    let members = "SELECT string_agg(tablename || coalesce(rowfilter, ''), ' ' ORDER BY tablename) FROM pg_publication_tables";
    assert_eq!(server.sql("taken", members), server.sql("shop", &format!("{members} WHERE pubname = 'p'")));
    for args in [&["-t", "u"][..], &["-t", "t", "--clean", "--rename", "t2"]] {
        let part = inspect(&home, &[&["extract"], args, &["shop.sql"]].concat()).exits(0).out;
        assert!(!part.contains("PUBLICATION"), "{part}");
    }
    // where nothing is dropped they are left out, which is said
    let told = |args: &[&str]| inspect(&home, &[&["extract"], args, &["shop.sql"]].concat()).exits(0).err;
    assert!(told(&["-t", "u", "-q"]).contains("left out: ALTER PUBLICATION p ADD TABLE ONLY public.u"));
    for args in [&["-t", "u", "--clean"][..], &["-t", "u", "--data-only"], &["-t", "u", "--rename", "u2"]] {
        assert_eq!(told(args), "", "{args:?}");
    }
}
