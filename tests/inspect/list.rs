//! The verbs that list what is there, against what others counted and what a server says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use crate::lab::{Server, feed, run, tool};
use crate::stage::{corpus, dump, inspect, sh, tables};

#[test]
fn what_others_counted_in_real_dumps() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for known in corpus().iter().filter(|k| k.is_sql()) {
        let path = known.path.to_str().unwrap();
        let whole = !known.says("complete").contains("NO") && known.path.metadata().unwrap().len() > 60;
        // a prompt for a password went into one of them: that is no SQL, and told as such
        let spoilt = known.says("name").starts_with("password-preamble");
        if !whole || spoilt || known.says("complete").contains("not a dump") {
            continue;
        }
        // of those without a footer nobody can tell whether they are whole
        let doubtful = known.says("complete") != "yes";
        let number = |column: &str| known.says(column).parse::<u64>().unwrap();
        let look = |verb: &str, json: &[&str]| {
            let ran = inspect(dir.path(), &[&[verb, path], json].concat());
            assert!(ran.code == 0 || (doubtful && ran.code == 1), "{path}: {}", ran.err);
            ran.out
        };
        let list = |verb: &str| look(verb, &["--json"]);
        let all: Vec<serde_json::Value> =
            list("tables").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let rows: u64 = all.iter().map(|t| t["rows"].as_u64().unwrap()).sum();
        assert_eq!(rows, number("copy_rows") + number("insert_rows"), "{path}");
        let summary: serde_json::Value = serde_json::from_str(&list("summary")).unwrap();
        assert_eq!(summary["tables"], number("create_tables") + number("foreign_tables"), "{path}");
        assert_eq!(summary["rows"], rows, "{path}");
        if !known.says("roles").contains("see facts") {
            let want: BTreeSet<&str> = known.says("roles").split(',').filter(|r| *r != "-").collect();
            let roles = look("roles", &[]);
            assert_eq!(roles.lines().collect::<BTreeSet<_>>(), want, "{path}");
        }
        let want: BTreeSet<String> =
            known.says("extensions").split(',').filter(|r| *r != "-").map(str::to_owned).collect();
        let extensions = look("extensions", &[]);
        let extensions: BTreeSet<String> =
            extensions.lines().map(|l| l.split('\t').nth(1).unwrap().to_owned()).collect();
        assert_eq!(extensions, want, "{path}");
        if known.says("dumped_from") != "-" {
            let version = look("version", &[]);
            assert_eq!(version, format!("{}\t{}\n", known.says("dumped_from"), known.says("dumped_by")));
        }
        told += 1;
    }
    assert!(told == 0 || told > 30, "{told}");
}

#[test]
fn every_codec_and_standard_input_tell_the_same() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    sh(&home, "gzip -k u.sql; zstd -qk u.sql || true").exits(0);
    let want = tables(&home, &["u.sql"]);
    assert!(want.len() > 5 && want.values().any(|t| t.0 > 10_000), "{want:?}");
    assert_eq!(tables(&home, &["u.sql.gz"]), want);
    let bytes = fs::read(home.join("u.sql")).unwrap();
    let ran = feed(tool("dump-inspect", &home).args(["tables", "-"]), &bytes).exits(0);
    assert_eq!(ran.out, inspect(&home, &["tables", "u.sql"]).out);
    // and inserts, row by row and many in one, as rows
    for args in [&["--inserts"][..], &["--column-inserts", "--rows-per-insert=7"]] {
        dump(&server, "pg_dump", &[args, &["-d", "university"]].concat(), "i.sql");
        let counts = |t: &std::collections::BTreeMap<(String, String), (u64, String)>| -> Vec<u64> {
            t.values().map(|v| v.0).filter(|n| *n > 0).collect()
        };
        assert_eq!(counts(&tables(&home, &["i.sql"])), counts(&want));
    }
    // cat gives back what was packed
    let cat = run(tool("dump-inspect", &home).args(["cat", "u.sql.gz"]));
    assert_eq!(cat.exits(0).out.as_bytes(), bytes);
    let counted = inspect(&home, &["tables", "--no-hash", "u.sql"]).exits(0).out;
    assert!(counted.lines().all(|l| l.ends_with("\t-")), "{counted}");
}

#[test]
fn a_cluster_and_one_of_its_databases() {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    server.sql("blog", "DELETE FROM grades; CREATE SCHEMA more; CREATE TABLE more.t (id int)");
    server.sql(
        "postgres",
        "CREATE ROLE clerk; ALTER DATABASE shop SET work_mem = '5MB'; ALTER ROLE clerk SET jit = off",
    );
    server.sql("blog", "ALTER TABLE more.t OWNER TO clerk; CREATE EXTENSION IF NOT EXISTS plpgsql");
    let home = server.home();
    dump(&server, "pg_dumpall", &[], "all.sql");
    let databases = inspect(&home, &["databases", "all.sql"]).exits(0).out;
    let databases: BTreeSet<&str> = databases.lines().collect();
    assert!(databases.iter().any(|l| l.starts_with("shop\t2\t505\t")), "{databases:?}");
    assert!(databases.iter().any(|l| l.starts_with("blog\t3\t5\t")), "{databases:?}");
    assert_eq!(inspect(&home, &["roles", "all.sql"]).out, "clerk\npostgres\n");
    let schemas = inspect(&home, &["schemas", "-d", "blog", "all.sql"]).exits(0).out;
    assert_eq!(schemas, "blog\tmore\tpostgres\t1\nblog\tpublic\t-\t2\n");
    let toc = inspect(&home, &["toc", "-d", "blog", "-t", "more.t", "all.sql"]).exits(0).out;
    assert!(toc.starts_with("TABLE\tblog\tmore\tt\t-\tclerk\t"), "{toc}");
    let settings = inspect(&home, &["settings", "all.sql"]).exits(0).out;
    assert!(settings.contains("database\tshop\twork_mem\t'5MB'\n"), "{settings}");
    assert!(settings.contains("role\tclerk\tjit\t'off'\n"), "{settings}");
    let summary = inspect(&home, &["all.sql"]).exits(0).out;
    assert!(summary.contains("kind\tcluster\n") && summary.contains("complete\ttrue\n"), "{summary}");
}

#[test]
fn what_must_be_judged_is_told() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    let path = dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    assert_eq!(inspect(&home, &["guard", "u.sql"]).exits(0).out, "");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("\\! touch hacked\nCOPY t FROM PROGRAM 'id';\n");
    fs::write(&path, text).unwrap();
    let ran = inspect(&home, &["guard", "u.sql"]).exits(1);
    assert_eq!(ran.lines().len(), 2, "{}", ran.out);
    assert!(ran.out.contains("psql would run") && ran.out.contains("a program on the server"), "{}", ran.out);
}

#[test]
fn what_reaches_beyond_its_database_is_told() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        "CREATE ROLE clerk; ALTER DATABASE shop SET work_mem = '5MB'; ALTER ROLE clerk IN DATABASE shop SET work_mem = '6MB'; \
        COMMENT ON DATABASE shop IS 'x'; GRANT CONNECT ON DATABASE shop TO clerk; ALTER DATABASE shop IS_TEMPLATE true; \
        SELECT lo_from_bytea(4711, 'x'); COMMENT ON LARGE OBJECT 4711 IS 'x'; GRANT SELECT ON LARGE OBJECT 4711 TO clerk; \
        GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_reset() TO clerk",
    );
    let home = server.home();
    let one = ["-d", "shop", "-C", "-c"];
    for (program, args) in [
        ("pg_dump", &one[..]),
        ("pg_dump", &[&one[..], &["--if-exists"]].concat()),
        ("pg_dump", &[&one[..], &["-Fc"]].concat()),
        ("pg_dump", &["-d", "shop", "-C"]),
        ("pg_dumpall", &[]),
        ("pg_dumpall", &["--clean"]),
        ("pg_dumpall", &["--clean", "--if-exists"]),
        ("pg_dumpall", &["--globals-only", "--clean"]),
    ] {
        dump(&server, program, args, "x.sql");
        let ran = inspect(&home, &["guard", "x.sql"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{program} {args:?}: {}", ran.err);
    }
    let path = dump(&server, "pg_dump", &one, "x.sql");
    let text = fs::read_to_string(&path).unwrap();
    let begin = text.find("DROP DATABASE shop;").unwrap();
    let end = text.find("--\n-- PostgreSQL database dump complete").unwrap();
    for (at, added) in [
        (0, "drop database other;"),
        (begin, "DROP DATABASE other;"),
        (end, "DROP DATABASE shop;"),
        (begin, "ALTER DATABASE other SET work_mem TO '1MB';"),
        (end, "ALTER ROLE clerk CREATEROLE CREATEDB;"),
        (end, "CREATE ROLE thief;"),
        (end, "COPY pg_catalog.pg_auth_members FROM stdin;\n10\t16384\t10\tt\n\\."),
        (end, "INSERT INTO pg_catalog.pg_db_role_setting VALUES (0, 10, '{work_mem=1MB}');"),
    ] {
        fs::write(&path, format!("{}{added}\n{}", &text[..at], &text[at..])).unwrap();
        let ran = inspect(&home, &["guard", "x.sql"]).exits(1);
        assert_eq!(ran.lines().len(), 1, "{added}: {}", ran.out);
        assert!(ran.out.contains(added.split(['\n', ';']).next().unwrap()), "{}", ran.out);
    }
}

#[test]
fn settings_of_the_sessions_of_a_cluster_are_told_once() {
    let server = Server::start();
    server.make("shop");
    let home = server.home();
    dump(&server, "pg_dumpall", &[], "all.sql");
    let ran = inspect(&home, &["settings", "all.sql"]).exits(0);
    let mut lines = ran.lines();
    lines.retain(|line| line.starts_with("session"));
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "{}", ran.out);
}
