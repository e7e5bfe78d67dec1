//! Archives are read without PostgreSQL's help, and tell the same as the plain dump.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::{Server, feed, tool};
use crate::stage::{corpus, dump, inspect, quoted, sh, tables};

#[test]
fn every_layout_tells_the_same_and_comes_back() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "plain.sql");
    dump(&server, "pg_dump", &["-Fc", "-d", "university"], "custom.dump");
    dump(&server, "pg_dump", &["-Ft", "-d", "university"], "tar.dump");
    crate::lab::run(&mut server.shell("pg_dump -w -Fd -j2 -f folder -d university")).exits(0);
    sh(&home, "gzip -k custom.dump tar.dump").exits(0);
    let want = tables(&home, &["plain.sql"]);
    let everything = server.everything();
    for file in ["custom.dump", "tar.dump", "folder", "custom.dump.gz", "tar.dump.gz"] {
        assert_eq!(tables(&home, &[file]), want, "{file}");
        let summary = inspect(&home, &[file]).exits(0).out;
        assert!(summary.contains("complete\ttrue\n") && summary.contains("kind\tdatabase\n"), "{summary}");
        for table in want.keys().take(2) {
            let take = |file: &str| {
                let sql = inspect(&home, &["extract", "-t", &quoted(table), file]).exits(0).out;
                sql.lines().filter(|l| !l.contains("SET ")).map(|l| format!("{l}\n")).collect::<String>()
            };
            assert_eq!(take(file), take("plain.sql"), "{table:?} of {file}");
        }
        server.sql("postgres", "DROP DATABASE IF EXISTS beside");
        server.restore(&[file, "--yes", "-d", "beside"]).exits(0).says("counted, as in the dump");
        server.sql("postgres", "DROP DATABASE beside");
        server.restore(&[file, "--yes", "-d", "university", "-D"]).exits(0);
        assert!(server.everything() == everything, "{file}");
    }
    let bytes = fs::read(home.join("custom.dump")).unwrap();
    let piped = feed(tool("dump-inspect", &home).args(["tables", "-"]), bytes).exits(0).out;
    assert_eq!(piped, inspect(&home, &["tables", "plain.sql"]).out);
}

#[test]
fn a_custom_archive_of_ours_is_told_from_its_manifest() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    let made = server.rotate(&["-d", "university", "--format", "custom"]).exits(0);
    let with = tables(&home, &[made.line()]);
    let parts: Vec<String> = with
        .keys()
        .map(|t| inspect(&home, &["extract", "-t", &quoted(t), made.line()]).exits(0).out)
        .collect();
    let beside = home.join(format!("{}.json", made.line()));
    fs::rename(&beside, home.join("kept.json")).unwrap();
    assert_eq!(tables(&home, &[made.line()]), with);
    inspect(&home, &["index", made.line()]).exits(0);
    for (table, part) in with.keys().zip(parts) {
        assert!(
            inspect(&home, &["extract", "-t", &quoted(table), made.line()]).exits(0).out == part,
            "{table:?}"
        );
    }
}

#[test]
fn archives_of_others() {
    let dir = tempfile::tempdir().unwrap();
    for known in corpus().iter().filter(|k| ["custom", "tar", "dir"].contains(&k.says("kind"))) {
        let path = known.path.to_str().unwrap();
        if known.says("complete").starts_with("NO") {
            inspect(dir.path(), &["tables", path]).exits(1);
            continue;
        }
        let summary = inspect(dir.path(), &["summary", "--json", path]).exits(0).out;
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        let number = |column: &str| known.says(column).parse::<u64>().unwrap();
        assert_eq!(summary["tables"], number("create_tables") + number("foreign_tables"), "{path}");
        assert_eq!(summary["rows"], number("copy_rows") + number("insert_rows"), "{path}");
        assert_eq!(summary["large_objects"], number("large_objects"), "{path}");
    }
}
