//! Restores by several sessions that each read the dump by themselves.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::{Server, run};
use crate::stage::{back_up, beside, edit, plain_dump, same};

/// A small table, two that one session loads each, and one that is larger than its share.
const SIZES: &str = "CREATE EXTENSION pg_visibility;
    CREATE TABLE small AS SELECT n AS id FROM generate_series(1, 1000) n;
    CREATE TABLE medium AS SELECT n AS id, md5(n::text) || repeat('m', 500) AS text
        FROM generate_series(1, 10000) n;
    CREATE TABLE parts (id int, text text) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100000);
    INSERT INTO parts SELECT n, md5(n::text) || repeat('p', 600) FROM generate_series(1, 10000) n;
    CREATE TABLE large AS SELECT n AS id, md5(n::text) || repeat(E'l\\n\\\\.\\n', 150) AS text
        FROM generate_series(1, 70000) n;
    CREATE INDEX ON large (id); ALTER TABLE medium ADD PRIMARY KEY (id);";

fn with_sizes() -> Server {
    filled(Server::start())
}

fn filled(server: Server) -> Server {
    server.sql("postgres", "CREATE DATABASE sizes");
    server.sql("sizes", SIZES);
    server
}

/// Rows of a dump in an order that does not depend on who loaded them when.
fn sorted(server: &Server, database: &str) -> String {
    let text = plain_dump(server, database);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn what_several_sessions_load_is_the_same_from_every_kind_of_file() {
    let server = with_sizes();
    let want = sorted(&server, "sizes");
    let gzip = back_up(&server, &["-d", "sizes"]).to_str().unwrap().to_owned();
    let zstd = back_up(&server, &["-d", "sizes", "--compress", "zstd"]).to_str().unwrap().to_owned();
    fs::write(server.home().join("plain.sql"), plain_dump(&server, "sizes")).unwrap();
    for (file, jobs) in [(gzip.as_str(), "2"), (&zstd, "3"), ("plain.sql", "2")] {
        server.restore(&[file, "-d", "copy", "-D", "--yes", "--jobs", jobs, "--no-safety"]).exits(0);
        same(&sorted(&server, "copy"), &want);
        // rows of a table that one session loads are visible to all without another look
        let frozen = |table: &str| {
            let pages = format!("SELECT all_frozen > 0 FROM pg_visibility_map_summary('{table}')");
            server.sql("copy", &pages)
        };
        assert_eq!(["medium", "part", "large"].map(frozen), ["t", "t", "f"], "{file}");
    }
}

#[test]
fn an_index_takes_workers_of_the_server_only_where_nothing_is_done_beside_it() {
    let jobs = std::thread::available_parallelism().unwrap().get().max(2);
    let server = filled(Server::start_with("log_statement = 'all'"));
    for (name, tables, jobs, want) in [
        ("all", "", jobs, Some("SET max_parallel_maintenance_workers = 0")),
        ("one", "-t medium", jobs, Some("RESET max_parallel_maintenance_workers")),
        // fewer than processors
        ("few", "", jobs.div_ceil(2), None),
    ] {
        run(&mut server.shell(&format!("pg_dump -w {tables} sizes >{name}.sql"))).exits(0);
        let before = server.log_text().len();
        server.restore(&[&format!("{name}.sql"), "-d", name, "--jobs", &jobs.to_string()]).exits(0);
        let log = server.log_text().split_off(before);
        // what is counted afterwards has settings of its own
        let log = &log[..log.find("count(*) FROM ONLY").unwrap()];
        let said = log.lines().find(|line| line.contains("max_parallel_maintenance_workers"));
        assert_eq!(said.is_some(), want.is_some(), "{name}: {said:?}");
        assert!(want.is_none_or(|want| log.contains(&format!("statement: {want};"))), "{name}: {said:?}");
    }
}

#[test]
fn rows_that_are_there_are_never_truncated() {
    let server = with_sizes();
    let dump = plain_dump(&server, "sizes");
    // the rows of `medium` come in two runs, both large
    let begin = dump.find("COPY public.medium").unwrap();
    let end = begin + dump[begin..].find("\n\\.\n").unwrap() + 4;
    let run = dump[begin..end].replace('\t', "\tagain ");
    let dump = [&dump[..end], &run, &dump[end..]]
        .concat()
        .replace("ADD CONSTRAINT medium_pkey PRIMARY KEY", "ADD CONSTRAINT c CHECK (id > 0); --");
    // a rule of the dump's own puts a row into `part` before its rows come
    let first = dump.find("COPY public.large").unwrap();
    let dump =
        [&dump[..first], "INSERT INTO public.part VALUES (99999, 'first');\n", &dump[first..]].concat();
    fs::write(server.home().join("two.sql"), dump).unwrap();
    server.restore(&["two.sql", "-d", "copy", "--yes", "--jobs", "2"]).exits(0);
    assert_eq!(server.sql("copy", "SELECT count(*) FROM medium"), "20000");
    assert_eq!(server.sql("copy", "SELECT count(*) FROM part"), "10001");
}

#[test]
fn a_dump_that_is_changed_after_the_check_is_not_restored() {
    let server = with_sizes();
    let dump = plain_dump(&server, "sizes");
    let in_large = dump.find("llll").or(dump.find("l\\n")).unwrap();
    let in_small = dump.find("COPY public.small").unwrap() + 40;
    for (at, jobs) in [(in_large, "2"), (in_small, "2"), (in_large, "1")] {
        fs::write(server.home().join("plain.sql"), &dump).unwrap();
        let stop = format!("printf 7 | dd of=plain.sql bs=1 seek={at} conv=notrunc");
        let ran = server.restore(&["plain.sql", "-d", "copy", "--yes", "--jobs", jobs, "--stop", &stop]);
        ran.exits(1).says("changed by somebody");
        let there = "SELECT count(*) FROM pg_database WHERE datname LIKE 'copy%'";
        assert_eq!(server.sql("postgres", there), "0");
    }
}

#[test]
fn csv_is_loaded_by_one_session() {
    let server = Server::start();
    server.make("shop");
    let dump = plain_dump(&server, "shop");
    let rows: String = (1..200_000).map(|n| format!("{n},\"two\nlines, {n}\"\n")).collect();
    let table =
        "CREATE TABLE public.csv (id int, text text);\nCOPY public.csv FROM stdin WITH (FORMAT csv);\n";
    let text = format!("{table}{rows}\\.\n");
    let dump = crate::stage::with_last_act(dump.as_bytes(), text.as_bytes());
    fs::write(server.home().join("csv.sql"), dump).unwrap();
    // lines are counted, and these rows have two each
    server.restore(&["csv.sql", "-d", "copy", "--yes", "--jobs", "2"]).exits(1).says("199,999 rows");
}

/// The line of a manifest about the rows of a table.
fn rows_of<'a>(manifest: &'a mut serde_json::Value, table: &str) -> &'a mut serde_json::Value {
    let lines = manifest["toc"].as_array_mut().unwrap();
    lines.iter_mut().find(|line| line["kind"] == "TABLE DATA" && line["name"] == table).unwrap()
}

#[test]
fn a_manifest_that_lies_about_where_rows_are_hides_nothing() {
    let server = with_sizes();
    let want = sorted(&server, "sizes");
    let was = server.everything();
    let backup = back_up(&server, &["-d", "sizes"]);
    let restore = || {
        server.restore(&[backup.to_str().unwrap(), "-d", "copy", "-D", "--yes", "--jobs", "2", "--no-safety"])
    };
    // all that stands between the rows of two tables is said to be rows, and the sums are right
    let honest = fs::read(beside(&backup)).unwrap();
    edit(&backup, |m| {
        let medium = rows_of(m, "medium").clone();
        let large = rows_of(m, "large");
        let number = |line: &serde_json::Value, key: &str| line[key].as_u64().unwrap();
        let end = number(&medium, "offset") + number(&medium, "bytes");
        large["bytes"] = (end - number(large, "offset")).into();
        large["rows"] = (number(large, "rows") + number(&medium, "rows")).into();
        rows_of(m, "medium")["row_hash"] = serde_json::Value::Null;
        rows_of(m, "medium")["rows"] = 0.into();
    });
    restore().exits(1).says("rows are not where its manifest says");
    same(&server.everything(), &was);
    // what cannot be so is read as a whole
    for wrong in [1, 1 << 40] {
        fs::write(beside(&backup), &honest).unwrap();
        edit(&backup, |m| {
            let large = rows_of(m, "large");
            large["offset"] = (large["offset"].as_u64().unwrap() + wrong).into();
        });
        restore().exits(0);
        same(&sorted(&server, "copy"), &want);
    }
}

#[test]
fn damage_that_a_manifest_has_the_digest_of_is_found_before_anything_is_replaced() {
    let server = with_sizes();
    let backup = back_up(&server, &["-d", "sizes"]);
    let was = server.everything();
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&backup, bytes).unwrap();
    let digest = run(server.shell("sha256sum \"$1\"").arg(&backup)).exits(0).out;
    edit(&backup, |m| m["file"]["sha256"] = digest[..64].into());
    let file = backup.to_str().unwrap();
    server.restore(&[file, "--yes", "--jobs", "2", "--no-safety"]).exits(1).says("is damaged");
    same(&server.everything(), &was);
    // where what is there goes first, nothing is believed
    server.restore(&[file, "--in-place", "--yes", "--jobs", "2", "--no-safety"]).exits(1).says("is damaged");
    same(&server.everything(), &was);
}
