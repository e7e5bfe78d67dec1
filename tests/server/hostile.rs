//! A dump is untrusted input: nothing in it makes psql run a command of the shell.
#![allow(clippy::unwrap_used)]

use std::fs;

use crate::lab::{Ran, Server, run};
use crate::stage::{back_up, identities, plain_dump, same, with_last_act};

/// Restores a good dump with `snippet`, which holds `touch mark`, in it. Tells how that ended, and whether the mark was made.
fn restored(server: &Server, dump: &str, snippet: &[u8]) -> (Ran, bool) {
    let mark = server.home().join("mark");
    // one that connects names its database itself, and does so first; whatever another leaves open ends
    let (hostile, target) = if snippet.starts_with(b"ALTER") {
        ([snippet, b"\n", dump.as_bytes()].concat(), &[][..])
    } else {
        (with_last_act(dump.as_bytes(), &[snippet, b"\n;"].concat()), &["-d", "shop"][..])
    };
    fs::write(server.home().join("hostile.sql"), hostile).unwrap();
    let ran = server.restore(&[&["hostile.sql", "--yes"], target].concat());
    (ran, fs::remove_file(mark).is_ok())
}

#[test]
fn meta_commands_are_refused() {
    let server = Server::start();
    server.make("shop");
    let dump = plain_dump(&server, "shop");
    for snippet in [
        r"\! touch mark",
        r"\!touch mark",
        "\\unrestrict `touch mark`",
        "\\restrict `touch mark`",
        "\\unrestrict abc`touch mark`",
        "\\connect `touch mark`",
        "\\connect shop `touch mark`",
        "\\encoding `touch mark`",
        "\\echo `touch mark`",
        "\\set x `touch mark`",
        "\\if `touch mark`\n\\endif",
        r"\copy people TO PROGRAM 'touch mark'",
        r"\o |touch mark",
        r"\w |touch mark",
        r"SELECT 1 \g |touch mark",
        "SELECT 1\n  \\g |touch mark",
        r"CREATE TABLE x (a int); \! touch mark",
        "SELECT 1 -- comment\n\\! touch mark\n;",
        r"/* a /* nested */ comment */ \! touch mark",
        r"SELECT $a$ $b$ $a$ \! touch mark",
        r#"SELECT 1 AS "quo""ted" \! touch mark"#,
        r"SELECT 'it''s', E'it\'s', 'back\' \! touch mark",
        "SELECT 'a'\n'b' \\! touch mark",
        r"SELECT (1, (2)) \! touch mark",
        "COPY people FROM stdin;\n6\tx\ty\n\\.\n\\! touch mark",
        "COPY people FROM stdin;\n\\.\n\\! touch mark",
        "\\i /dev/stdin",
        "\\gexec",
        "\\lo_import '/etc/hostname'",
        "\\include other.sql",
        "\\cd /",
        "\\setenv PAGER 'touch mark'",
        "\\connect host=/elsewhere",
        "\\connect postgresql://elsewhere/",
        "\\c shop - elsewhere",
        r#"\connect -reuse-previous=on "dbname='shop' host='elsewhere'""#,
    ] {
        let before = identities(&server);
        let (ran, marked) = restored(&server, &dump, snippet.as_bytes());
        assert!(!marked, "psql ran a command for {snippet:?}");
        assert_eq!(ran.code, 4, "{snippet:?}: {}", ran.err);
        assert_eq!(identities(&server), before);
    }
}

// Each setting changes how psql reads the string that follows: where `'a\', '` is one string, a
// meta-command stands behind it; where the string ends at the backslash, the command is in a second one.
#[test]
fn no_setting_hides_a_meta_command_in_a_string() {
    let server = Server::start();
    server.make("shop");
    server.sql("postgres", "CREATE ROLE other SUPERUSER LOGIN");
    let dump = plain_dump(&server, "shop");
    let mut breaches = Vec::new();
    let mut try_all = |settings: &[&str], trap: &[u8]| {
        for setting in settings {
            let (ran, marked) = restored(&server, &dump, &[setting.as_bytes(), trap].concat());
            if marked || ran.code == 0 {
                breaches
                    .push(format!("{setting}: {}", if marked { "psql ran a command" } else { "restored" }));
            }
            server.sql("postgres", "ALTER ROLE postgres RESET ALL");
        }
    };
    try_all(
        &[
            "SET standard_conforming_strings = off;",
            "SET standard_conforming_strings TO 'off';",
            "SET standard_conforming_strings = f;",
            "SET standard_conforming_strings = 'of';",
            "SET SESSION standard_conforming_strings = off;",
            "SET \"standard_conforming_strings\" = off;",
            "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);",
            "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$;",
            "ALTER DATABASE shop SET standard_conforming_strings = off;\n\\connect shop",
            "ALTER ROLE postgres SET standard_conforming_strings = off;\n\\connect shop",
            "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings';",
        ],
        b"\nSELECT 'a\\', ' \\! touch mark\n';",
    );
    // the second byte of a character is no quote
    try_all(
        &[
            "SET client_encoding = 'SJIS';",
            "SET client_encoding = 'Shift-JIS';",
            "SET client_encoding = \" sjis\";",
            "SET NAMES 'SJIS';",
            "SET SESSION client_encoding = 'SJIS';",
            "\\encoding SJIS",
            "SELECT pg_catalog.set_config('client_encoding', 'SJIS', false);",
            "DO $$ BEGIN PERFORM set_config('client_encoding', 'BIG5', false); END $$;",
            "ALTER ROLE postgres SET client_encoding = 'SJIS';\n\\connect shop",
        ],
        b"\nSELECT '\x81', ' \\! touch mark\n';",
    );
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn a_hostile_cluster_dump_or_archive_is_no_better() {
    let server = Server::start();
    server.make("shop");
    let before = identities(&server);
    let cluster = run(server.client("pg_dumpall").arg("-w")).exits(0).out;
    let hostile = cluster.replace("\\connect shop", "\\connect shop\n\\! touch mark");
    assert_ne!(hostile, cluster);
    fs::write(server.home().join("cluster.sql"), hostile).unwrap();
    server.restore(&["cluster.sql", "--yes"]).exits(4).says("would make psql run '\\! touch mark'");
    assert_eq!(identities(&server), before);
    assert!(!server.home().join("mark").exists());
    // the warning comes with the backup already
    let script = "pg_dumpall | sed 's/^.connect shop$/&\\n\\\\! touch mark/'";
    let ran = server.rotate(&["--", "sh", "-c", script]).exits(0).says("a restore will refuse it");
    server.restore(&[ran.line(), "--yes"]).exits(4);
    assert!(!server.home().join("mark").exists());
    // control characters of a dump do not reach a terminal
    let text = with_last_act(plain_dump(&server, "shop").as_bytes(), b"\\! \x1b]0;title\x07");
    fs::write(server.home().join("title.sql"), text).unwrap();
    let ran = server.restore(&["title.sql", "--yes", "-d", "shop", "--swap"]).exits(4);
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

#[test]
fn a_dump_of_one_database_changes_no_other_and_no_role() {
    let server = Server::start();
    server.make("shop");
    server.make("other");
    let dump = plain_dump(&server, "shop");
    let before = server.everything();
    for (text, words) in [
        (["DROP DATABASE other;\n", &dump].concat(), "a database that is dropped"),
        (["ALTER DATABASE other SET work_mem = '1MB';\n", &dump].concat(), "a change of another database"),
        (
            String::from_utf8(with_last_act(dump.as_bytes(), b"GRANT pg_monitor TO PUBLIC;")).unwrap(),
            "a role that is",
        ),
    ] {
        fs::write(server.home().join("hostile.sql"), text).unwrap();
        server.restore(&["hostile.sql", "--yes", "-d", "shop", "--swap"]).exits(4).says(words);
        same(&server.everything(), &before);
    }
    // what pg_dump writes to make its own anew
    let args = ["-w", "-d", "shop", "-C", "-c", "-f", "clean.sql"];
    run(server.client("pg_dump").args(args)).exits(0);
    server.restore(&["clean.sql", "--yes"]).exits(0);
    same(&server.everything(), &before);
}

#[test]
fn bodies_and_rows_that_only_look_hostile_come_back() {
    let server = Server::start();
    server.make("shop");
    server.sql(
        "shop",
        r#"
CREATE FUNCTION body() RETURNS text LANGUAGE sql AS $f$ SELECT 'x
\! touch mark
\unrestrict `touch mark`
\.
\connect elsewhere
-- PostgreSQL database dump complete
' $f$;
SET check_function_bodies = off;
CREATE FUNCTION quoted() RETURNS text LANGUAGE sql AS '
\! touch mark
SELECT ''\.''::text';
COMMENT ON FUNCTION body() IS E'\n\\! touch mark\n\\.\n';
CREATE TABLE "\! touch mark" ("
\! touch mark" text DEFAULT '
\! touch mark');
INSERT INTO "\! touch mark" DEFAULT VALUES;
INSERT INTO people VALUES (6, E'\\! touch mark', E'\n\\! touch mark\n\\.\n\\! touch mark');
CREATE VIEW looks AS SELECT '
\! touch mark' AS "\! touch mark";
"#,
    );
    let want = server.everything();
    for args in [
        &[][..],
        &["-d", "shop"],
        &["-d", "shop", "--pg-dump-arg", "--inserts"],
        &["-d", "shop", "--format", "custom"],
    ] {
        let backup = back_up(&server, args);
        server.sql("shop", "DROP TABLE grades CASCADE; DROP FUNCTION body");
        server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
        same(&server.everything(), &want);
    }
    assert!(!server.home().join("mark").exists());
}
