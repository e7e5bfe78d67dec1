//! Bad input: a clear message, the right status, never a panic, never a silently short answer.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::{Server, run, tool};
use crate::stage::{dump, inspect, sh};

#[test]
fn what_is_cut_short_is_told_as_far_as_it_goes() {
    let server = Server::start();
    server.make("shop");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let whole = fs::read(home.join("shop.sql")).unwrap();
    let text = String::from_utf8_lossy(&whole).into_owned();
    let rows = text.find("COPY public.grades").unwrap() + 100;
    fs::write(home.join("cut.sql"), &whole[..rows]).unwrap();
    for verb in ["summary", "tables", "toc", "settings", "schemas"] {
        let ran = inspect(&home, &[verb, "cut.sql"])
            .exits(1)
            .says("not whole: it ends within the rows of public.grades");
        assert!(!ran.out.is_empty(), "{verb}");
    }
    inspect(&home, &["extract", "-t", "grades", "cut.sql"]).exits(1).says("not whole");
    let ran = inspect(&home, &["cat", "cut.sql"]).exits(1).says("it ends within the rows of public.grades");
    assert!(ran.out.as_bytes() == &whole[..rows]);
    let footer = text.find("PostgreSQL database dump complete").unwrap();
    for step in (0..footer).step_by(97) {
        fs::write(home.join("cut.sql"), &whole[..step]).unwrap();
        let ran = inspect(&home, &["tables", "cut.sql"]);
        assert_eq!(ran.code, 1, "{step}: {}", ran.err);
    }
    sh(&home, "gzip -k shop.sql").exits(0);
    let packed = fs::read(home.join("shop.sql.gz")).unwrap();
    for left in [packed.len() - 1, packed.len() / 2, 12] {
        fs::write(home.join("cut.gz"), &packed[..left]).unwrap();
        inspect(&home, &["tables", "cut.gz"]).exits(1).says("cut");
        inspect(&home, &["cat", "cut.gz"]).exits(1).says("cut");
    }
}

#[test]
fn what_is_no_dump() {
    let dir = tempfile::tempdir().unwrap();
    for (bytes, code, words) in [
        (&b""[..], 1, "it is empty"),
        (b"hello, world\n", 1, "'x' is no PostgreSQL dump: nothing in it is pg_dump's\n"),
        (b"<!DOCTYPE html>\n<p style='a; b'>404; not found</p>\n", 1, "no PostgreSQL dump"),
        (b"2026-01-26 12:00:00 UTC [1] LOG:  statement: SELECT 1;\nERROR: x;\n", 1, "no PostgreSQL dump"),
        (b"\x7fELF\0\0;\0", 1, "no PostgreSQL dump"),
        (b"  \n", 1, "no PostgreSQL dump"),
        // a password was asked for; the rest is a dump
        (b"Password: \n--\n-- PostgreSQL database dump\n--\nSET x = 1;\nCREATE TABLE", 1, "not whole"),
        (b"--\n-- PostgreSQL database dump\n--\n", 1, "not whole"),
        (b"CREATE TABLE t (", 1, "not whole"),
        (b"PGDMP\x01\x0e\x00", 1, "damaged"),
        (b"\xfd7zXZ\0x", 4, "xz"),
        (b"\xff\xfea\0b\0", 4, "iconv"),
        (b"\x1f\x8b\x08\x00\x00", 1, "cut"),
    ] {
        fs::write(dir.path().join("x"), bytes).unwrap();
        inspect(dir.path(), &["x"]).exits(code).says(words);
        if words.contains("no PostgreSQL dump") {
            for verb in [&["extract", "-t", "t"][..], &["index"], &["guard"], &["cat"], &["cat", "--salvage"]]
            {
                inspect(dir.path(), &[verb, &["x"]].concat()).exits(1).says("'x' is no PostgreSQL dump");
            }
        }
    }
    inspect(dir.path(), &["gone"]).exits(1).says("cannot open 'gone'");
    inspect(dir.path(), &["."]).exits(1).says("no file");
    // SQL by hand has neither header nor footer, and is what it is
    fs::write(dir.path().join("x"), "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1), (2);\n").unwrap();
    let ran = inspect(dir.path(), &["tables", "x"]).exits(0);
    assert!(ran.out.starts_with("-\t-\tt\t2\t"), "{}", ran.out);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    let program = tool("dump-inspect", &home).get_program().to_owned();
    for verb in ["cat", "toc", "tables", "extract -t '*'"] {
        let script = format!("set -o pipefail; '{}' {verb} u.sql | head -c 1 >/dev/null", program.display());
        run(std::process::Command::new("bash").args(["-c", &script]).current_dir(&home)).exits(0);
    }
    // a full disk is one
    let script = format!("'{}' cat u.sql >/dev/full", program.display());
    sh(&home, &script).exits(5).says("standard output");
}

#[test]
fn lines_without_end_and_tables_without_number_fit_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wide.sql");
    let script = "{ echo '-- PostgreSQL database dump'; echo 'COPY public.t (a) FROM stdin;'; \
        head -c 300000000 /dev/zero | tr '\\0' x; printf '\\n\\\\.\\n'; \
        echo '-- PostgreSQL database dump complete'; } >wide.sql";
    sh(dir.path(), script).exits(0);
    assert!(path.metadata().unwrap().len() > 300_000_000);
    let limited = |verb: &str, file: &str| {
        let program = tool("dump-inspect", dir.path()).get_program().to_owned();
        // data and stack; the program and its libraries are not counted
        let script = format!("ulimit -d 65536; '{}' {verb} {file}", program.display());
        sh(dir.path(), &script)
    };
    assert!(limited("tables", "wide.sql").exits(0).out.contains("\tt\t1\t300000001\t"));
    let script = "{ echo '-- PostgreSQL database dump'; printf '\\\\connect many\\n'; \
        seq 200000 | sed 's/.*/CREATE TABLE public.t& (a int);\\nCOPY public.t& (a) FROM stdin;\\n&\\n\\\\./'; \
        echo '-- PostgreSQL database dump complete'; } >many.sql";
    sh(dir.path(), script).exits(0);
    assert_eq!(limited("tables", "many.sql").exits(0).lines().len(), 200_000);
    assert!(limited("summary", "many.sql").exits(0).out.contains("rows\t200000\n"));
    let all = limited("extract --database many", "many.sql >part.sql; tail -n 3 part.sql; wc -l <part.sql")
        .exits(0);
    assert_eq!(all.out, "COPY public.t200000 (a) FROM stdin;\n200000\n\\.\n800000\n");
}

#[test]
fn a_statement_of_a_hundred_megabytes_fits_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let script = |end: &str, file: &str| {
        let make = format!(
            "{{ echo '-- PostgreSQL database dump'; echo 'CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $_$'; \
            printf -- '-- '; head -c 100000000 /dev/zero | tr '\\0' y; printf '\\nSELECT {end}\\n$_$;\\n'; \
            echo '-- PostgreSQL database dump complete'; }} >{file}"
        );
        sh(dir.path(), &make).exits(0);
    };
    script("1", "one.sql");
    script("2", "two.sql");
    let limited = |verb: &str, code: i32| {
        let program = tool("dump-inspect", dir.path()).get_program().to_owned();
        sh(dir.path(), &format!("ulimit -d 65536; '{}' {verb}", program.display())).exits(code).out
    };
    assert!(limited("toc one.sql", 0).contains("FUNCTION"));
    for verb in ["summary one.sql", "guard one.sql", "cat one.sql >/dev/null", "diff one.sql one.sql"] {
        limited(verb, 0);
    }
    assert!(limited("diff one.sql two.sql", 1).contains("f()"));
}

/// Rows of the university that a damaged dump must still give.
fn load(server: &Server, sql: &str) -> u64 {
    server.sql("postgres", "DROP DATABASE IF EXISTS rescue");
    server.sql("postgres", "CREATE DATABASE rescue TEMPLATE template0 ENCODING 'UTF8'");
    let mut psql = server.client("psql");
    // what needs what was lost fails, and nothing else
    crate::lab::feed(psql.args(["-Xq", "-o", "/dev/null", "-d", "rescue"]), sql).exits(0);
    let tables = "SELECT sum((xpath('//c/text()', query_to_xml(format('SELECT count(*) AS c FROM ONLY %s', oid::regclass), \
        false, true, '')))[1]::text::bigint) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    server.sql("rescue", tables).parse().unwrap_or(0)
}

#[test]
fn what_is_whole_of_a_damaged_dump_is_given_and_the_rest_is_told() {
    let server = Server::start();
    server.seed("university");
    let home = server.home();
    for codec in ["gzip", "zstd"] {
        let made = server.rotate(&["-d", "university", "--compress", codec]).exits(0);
        let file = made.line();
        let all = inspect(&home, &["cat", "--salvage", file]).exits(0).says("nothing is lost").out;
        let want = load(&server, &all);
        assert!(want > 50_000, "{want}");
        let whole = fs::read(home.join(file)).unwrap();
        // one piece in the middle
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        fs::write(home.join(file), &damaged).unwrap();
        let ran = inspect(&home, &["cat", "--salvage", file]).exits(3).says("lost: rows of ");
        let kept = load(&server, &ran.out);
        assert!(kept > want / 4 && kept < want, "{kept} of {want}: {}", ran.err);
        // what is told to be kept is what is there
        let told: u64 = ran
            .err
            .lines()
            .filter_map(|l| l.split("; ").nth(1)?.split(' ').next()?.replace(',', "").parse::<u64>().ok())
            .sum();
        assert!(told > 0 && told < want, "{}", ran.err);
        // and cut at the end
        fs::write(home.join(file), &whole[..middle]).unwrap();
        let ran = inspect(&home, &["cat", "--salvage", file]).exits(3).says("lost: ");
        assert!(load(&server, &ran.out) > want / 10, "{}", ran.err);
    }
    // without a manifest: all before the damage
    dump(&server, "pg_dump", &["-d", "university"], "u.sql");
    let text = fs::read(home.join("u.sql")).unwrap();
    // the middle of the dump is the middle of a large table's rows
    fs::write(home.join("cut.sql"), &text[..text.len() / 2]).unwrap();
    let ran = inspect(&home, &["cat", "--salvage", "cut.sql"])
        .exits(3)
        .says("lost: rows of ")
        .says("all behind byte");
    assert!(ran.out.ends_with("\n\\.\n"), "{}", &ran.out[ran.out.len() - 200..]);
    assert!(load(&server, &ran.out) > 0, "{}", ran.err);
    sh(&home, "gzip -k u.sql").exits(0);
    let packed = fs::read(home.join("u.sql.gz")).unwrap();
    fs::write(home.join("cut.sql.gz"), &packed[..packed.len() / 2]).unwrap();
    let ran = inspect(&home, &["cat", "--salvage", "cut.sql.gz"]).exits(3).says("cut short");
    assert!(load(&server, &ran.out) > 1000, "{}", ran.err);
}

/// Damages the piece of a backup in which the item begins; gives the file's bytes before that.
fn damage(server: &Server, file: &str, kind: &str, table: &str) -> Vec<u8> {
    let path = server.home().join(file);
    let manifest = fs::read_to_string(server.home().join(format!("{file}.json"))).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let toc = manifest["toc"].as_array().unwrap();
    let item = toc.iter().find(|i| i["kind"] == kind && i["name"] == table).unwrap();
    let frames = manifest["frames"].as_array().unwrap();
    let begin = frames.iter().rfind(|f| f[1].as_u64() <= item["offset"].as_u64()).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[begin[0].as_u64().unwrap() as usize + 5000] ^= 0xff;
    fs::write(path, damaged).unwrap();
    whole
}

#[test]
fn rows_behind_a_damaged_copy_statement_are_kept() {
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql(
        "shop",
        "CREATE TABLE a AS SELECT n, md5(n::text) AS m FROM generate_series(1, 20000) n; \
        CREATE TABLE b (\"The id\" int, gone int, twice int GENERATED ALWAYS AS (\"The id\" * 2) STORED, m text, CHECK (m <> '')); \
        ALTER TABLE b DROP COLUMN gone; INSERT INTO b (\"The id\", m) SELECT n, md5(n::text) FROM generate_series(1, 90000) n; \
        CREATE TABLE c () INHERITS (a); INSERT INTO c SELECT n, md5(n::text) FROM generate_series(1, 90000) n; \
        CREATE TABLE d (x int)",
    );
    for codec in ["gzip", "zstd"] {
        let made = server.rotate(&["-d", "shop", "--compress", codec]).exits(0);
        let whole = damage(&server, made.line(), "COPY", "b");
        let ran = inspect(&server.home(), &["cat", "--salvage", made.line()])
            .exits(3)
            .says("lost: the statement before the rows of public.b\n")
            .says("made anew from the table's columns: the statement before the rows of public.b\n")
            .says("lost: rows of public.b; ");
        assert!(!ran.err.contains("public.c"), "{}", ran.err);
        load(&server, &ran.out);
        let told =
            ran.err.split("rows of public.b; ").nth(1).unwrap().split(' ').next().unwrap().replace(',', "");
        assert_eq!(server.sql("rescue", "SELECT count(*) FROM b"), told);
        assert!(told.parse::<u64>().unwrap() > 40_000, "{told}");
        assert_eq!(server.sql("rescue", "SELECT count(*) FROM b WHERE md5(\"The id\"::text) <> m"), "0");
        // the columns of a table that has them from others are not certain
        fs::write(server.home().join(made.line()), &whole).unwrap();
        damage(&server, made.line(), "COPY", "c");
        let ran = inspect(&server.home(), &["cat", "--salvage", made.line()])
            .exits(3)
            .says("lost: all 90,000 rows of public.c: the statement before them is damaged");
        load(&server, &ran.out);
        assert_eq!(server.sql("rescue", "SELECT count(*) FROM ONLY c"), "0");
        assert_eq!(server.sql("rescue", "SELECT count(*) FROM d"), "0");
    }
}

#[test]
fn a_manifest_that_lies() {
    let server = Server::start();
    server.make("shop");
    let home = server.home();
    for codec in ["none", "gzip"] {
        let made = server.rotate(&["-d", "shop", "--compress", codec]).exits(0);
        let beside = home.join(format!("{}.json", made.line()));
        let truth = fs::read_to_string(&beside).unwrap();
        let lie = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut manifest: serde_json::Value = serde_json::from_str(&truth).unwrap();
            let toc = manifest["toc"].as_array_mut().unwrap();
            let other =
                toc.iter().find(|i| i["kind"] == "TABLE DATA" && i["name"] == "people").unwrap()["offset"]
                    .clone();
            let item = toc.iter_mut().find(|i| i["kind"] == "TABLE DATA" && i["name"] == "grades").unwrap();
            item["was"] = other;
            change(item);
            fs::write(&beside, manifest.to_string()).unwrap();
            inspect(&home, &["extract", "-t", "grades", made.line()]).exits(1);
            let _ = inspect(&home, &["extract", "--schema", "public", made.line()]);
            let _ = inspect(&home, &["diff", made.line(), made.line()]);
            let _ = inspect(&home, &["cat", "--salvage", made.line()]);
        };
        lie(&|i| i["bytes"] = u64::MAX.into());
        lie(&|i| i["offset"] = 0.into());
        lie(&|i| i["offset"] = (i["offset"].as_u64().unwrap() + 7).into());
        lie(&|i| i["offset"] = u64::MAX.into());
        lie(&|i| i["rows"] = 1.into());
        fs::write(&beside, &truth).unwrap();
        inspect(&home, &["extract", "-t", "grades", made.line()]).exits(0);
    }
}

#[test]
fn a_dump_within_a_transaction_is_whole() {
    let server = Server::start();
    server.make("shop");
    server.sql("shop", "SELECT lo_from_bytea(4711, 'x')");
    let home = server.home();
    let path = dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let text = fs::read_to_string(&path).unwrap();
    let footer = text.find("--\n-- PostgreSQL database dump complete").unwrap();
    let wrapped = |text: &str, end: &str| {
        fs::write(home.join("x.sql"), format!("\\set ON_ERROR_STOP on\nBEGIN;\n{text}{end}\n")).unwrap();
    };
    for end in ["COMMIT;", "END;", "-- done\ncommit work;\n-- at noon"] {
        wrapped(&text, end);
        for verb in ["guard", "cat", "tables", "index"] {
            inspect(&home, &[verb, "x.sql"]).exits(0);
        }
        inspect(&home, &["diff", "shop.sql", "x.sql"]).exits(0);
        fs::remove_file(home.join("x.sql.json")).unwrap();
    }
    for (text, end) in [
        (&text[..footer], "COMMIT;"),
        (&text[..], "ROLLBACK;"),
        (&text, "COMMIT;\nDROP TABLE people;"),
        (&text.repeat(2), "COMMIT;"),
    ] {
        wrapped(text, end);
        inspect(&home, &["tables", "x.sql"]).exits(1);
    }
    fs::write(&path, text.clone() + "COMMIT;\n").unwrap();
    inspect(&home, &["tables", "shop.sql"]).exits(1).says("footer");
}

#[test]
fn guard_judges_whole_dumps_only() {
    let server = Server::start();
    server.make("shop");
    let home = server.home();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    inspect(&home, &["guard", "shop.sql"]).exits(0);
    let text = fs::read(home.join("shop.sql")).unwrap();
    fs::write(home.join("cut.sql"), &text[..text.len() / 2]).unwrap();
    inspect(&home, &["guard", "cut.sql"]).exits(1).says("not whole");
    fs::write(home.join("cut.sql"), "").unwrap();
    inspect(&home, &["guard", "cut.sql"]).exits(1).says("empty");
}

/// What a pipe into psql leaves behind of a dump that is cut, damaged, or not what its manifest says.
#[test]
fn psql_does_not_keep_half_a_table() {
    let server = Server::start();
    server.make("shop");
    let sql =
        "CREATE TABLE long AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 100000) AS n";
    server.sql("shop", sql);
    let home = server.home();
    let whole = server.rotate(&["-d", "shop", "--compress", "gzip"]).exits(0).line().to_owned();
    dump(&server, "pg_dump", &["-d", "shop"], "shop.sql");
    let text = fs::read(home.join("shop.sql")).unwrap();
    let begin = text.windows(17).position(|w| w == b"COPY public.long ").unwrap();
    fs::write(home.join("cut.sql"), &text[..begin + 1_000_000]).unwrap();
    // a byte within the rows, behind pieces that are whole; and a manifest of other rows
    let mut bytes = fs::read(home.join(&whole)).unwrap();
    let middle = bytes.len() * 2 / 3;
    bytes[middle] ^= 0x10;
    fs::write(home.join("flipped.sql.gz"), bytes).unwrap();
    let manifest = fs::read_to_string(home.join(format!("{whole}.json"))).unwrap();
    fs::write(home.join("flipped.sql.gz.json"), &manifest).unwrap();
    fs::copy(home.join(&whole), home.join("other.sql.gz")).unwrap();
    let hashes = manifest.split("\"row_hash\":").skip(1).map(|rest| rest.split('"').nth(1).unwrap());
    let other = hashes.fold(manifest.clone(), |text, hash| text.replace(hash, &"0".repeat(32)));
    assert_ne!(other, manifest);
    fs::write(home.join("other.sql.gz.json"), other).unwrap();
    for file in ["cut.sql", "flipped.sql.gz", "other.sql.gz", &whole] {
        for once in ["", "-1"] {
            server.sql("postgres", "DROP DATABASE IF EXISTS taken");
            server.sql("postgres", "CREATE DATABASE taken");
            let inspect = env!("CARGO_BIN_EXE_dump-inspect");
            let pipe = format!("{inspect} extract -t long {file} | psql -Xq {once} -d taken -o /dev/null");
            let ran = run(&mut server.shell(&pipe));
            if file == whole {
                ran.exits(0);
                assert_eq!(server.sql("taken", "SELECT count(*) FROM long"), "100000", "{file} {once}");
                continue;
            }
            let ran = ran.says("COPY long, line ");
            let left = server.sql("taken", "SELECT count(*) FROM pg_class WHERE relname = 'long'");
            assert_eq!(left, if once.is_empty() { "1" } else { "0" }, "{file} {once}: {}", ran.err);
            if once.is_empty() {
                let ran = ran.says("the dump could not be read to its end");
                assert_eq!(server.sql("taken", "SELECT count(*) FROM long"), "0", "{}", ran.err);
            }
        }
    } // what is there is not replaced by what is cut before its rows, or behind them
    let rows = text.windows(20).position(|w| w == b"COPY public.grades (").unwrap() + 100;
    for (at, end) in [("rows.sql", rows), ("end.sql", text.len() - 60)] {
        fs::write(home.join(at), &text[..end]).unwrap();
        let inspect = env!("CARGO_BIN_EXE_dump-inspect");
        let pipe = format!(
            "{inspect} extract --clean -t long {at} | psql -Xq1 -v ON_ERROR_STOP=1 -d taken -o /dev/null"
        );
        server.sql(
            "taken",
            "DROP TABLE IF EXISTS long; CREATE TABLE long (live int); INSERT INTO long VALUES (7)",
        );
        run(&mut server.shell(&pipe)).exits(3).says("not whole");
        assert_eq!(server.sql("taken", "SELECT live FROM long"), "7", "{at}");
    }
}
