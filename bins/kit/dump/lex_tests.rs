//! The lexer against what fools a line-based one, and against every way to cut a dump in two.

use proptest::prelude::*;

use super::lex::{End, Event, Lexer};
use super::scan::{Facts, Item, Scan, display, text_of};

/// Events as text, with the pieces of one thing joined.
fn events(chunks: &[&[u8]]) -> (Vec<String>, End) {
    let mut joined: Vec<(char, u64, Vec<u8>)> = Vec::new();
    let mut open = None;
    let mut take = |event: Event<'_>| {
        let (kind, at, bytes): (char, u64, &[u8]) = match event {
            Event::Sql { at, bytes } => ('s', at, bytes),
            Event::SqlEnd { at, rows } => ('S', at, if rows > 0 { b"rows" } else { b"" }),
            Event::Comment { at, bytes } => ('c', at, bytes),
            Event::CommentEnd => ('C', 0, b""),
            Event::Meta { at, bytes } => ('m', at, bytes),
            Event::MetaEnd { at } => ('M', at, b""),
            Event::DataBegin { at } => ('d', at, b""),
            Event::Data { at, bytes } => ('d', at, bytes),
            Event::DataEnd { at, .. } => ('D', at, b""),
        };
        if open == Some(kind)
            && let Some(last) = joined.last_mut()
        {
            assert_eq!(last.1 + last.2.len() as u64, at, "pieces of one thing follow each other");
            last.2.extend_from_slice(bytes);
        } else {
            joined.push((kind, at, bytes.to_vec()));
        }
        open = Some(kind);
    };
    let mut lexer = Lexer::default();
    for chunk in chunks {
        lexer.feed(chunk, &mut take);
    }
    let end = lexer.finish(&mut take);
    (joined.iter().map(|(k, at, b)| format!("{k}@{at} {}", text_of(b))).collect(), end)
}

fn statements(sql: &str) -> Vec<String> {
    let (events, _) = events(&[sql.as_bytes()]);
    events.iter().filter(|e| e.starts_with('s')).map(|e| e.split_once(' ').unwrap().1.to_owned()).collect()
}

fn scan(sql: &str) -> (Facts, Vec<Item>) {
    let (mut scan, mut items) = (Scan::default(), Vec::new());
    scan.feed(sql.as_bytes(), &mut |i| items.push(i));
    let facts = scan.finish(&mut |i| items.push(i));
    (facts, items)
}

#[test]
fn statements_end_where_psql_ends_them() {
    for (sql, count) in [
        ("SELECT 1; SELECT 2;", 2),
        ("SELECT ';', \";\", $$;$$, $a$ $b$; $a$;", 1),
        ("SELECT 'it''s;', E'it\\'s;', 'back\\';", 1),
        ("SET standard_conforming_strings = off; SELECT 'it\\'s;';", 2),
        ("SET standard_conforming_strings = 'off'; SELECT 'it\\'s;';", 2),
        ("SET standard_conforming_strings = on; SELECT 'it\\'; SELECT 2;", 3),
        // psql takes a string on the next line for a new one, whatever the server does
        ("SELECT E'a'\n'b\\'; SELECT 2;", 2),
        ("SELECT E'a'\r\n'b\\'; SELECT 2;", 2),
        ("SELECT E'a'\r'b\\'; SELECT 2;';", 1),
        ("SELECT E'a' -- c\r'b\\'; SELECT 2;';", 1),
        ("SELECT E'a'\n\n\r'b\\'; SELECT 2;';", 1),
        ("SELECT E'a' \n\r'b\\'; SELECT 2;", 2),
        ("SELECT E'a' - \r'b\\'; SELECT 2;", 2),
        ("SELECT 'a'\rE'b\\'; SELECT 2;';", 1),
        ("SELECT U&'b\\'; SELECT b'\\'; SELECT n'\\'; SELECT x'\\';", 4),
        ("SET standard_conforming_strings = off; SELECT u&'b\\'; SELECT B'\\'; SELECT x'\\';", 4),
        ("SET standard_conforming_strings = off; SELECT n'\\'; SELECT b';", 2),
        ("SET standard_conforming_strings = off; SELECT u& '\\'; SELECT u &'\\'; SELECT b & '\\';';", 2),
        ("SELECT a$b$c; SELECT $1;", 2),
        ("SELECT /* ; /* ; */ ; */ 1; -- ; \n;", 2),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2;);", 1),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1; END; SELECT 2; END;", 1),
        ("CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END; SELECT 2;", 2),
        ("BEGIN; SELECT 1; END;", 3),
        ("SELECT 1 - 2 / 3; SELECT a->>'x' FROM b;", 2),
    ] {
        assert_eq!(statements(sql).len(), count, "{sql}: {:?}", statements(sql));
    }
}

#[test]
fn a_second_byte_that_looks_like_a_backslash_is_none() {
    let sql = |encoding: &str| {
        [b"SET client_encoding = '", encoding.as_bytes(), b"'; SELECT E'\x83\\'; SELECT 2;"].concat()
    };
    let count = |encoding: &str| events(&[&sql(encoding)]).0.iter().filter(|e| e.starts_with('s')).count();
    assert_eq!((count("SJIS"), count("UTF8")), (3, 2));
}

#[test]
fn a_body_cannot_forge_data_connects_or_footers() {
    let forged = "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$\nCOPY x FROM stdin;\n1\n\\.\n\\connect evil\n\
                  --\n-- PostgreSQL database dump complete\n--\n$_$;\n";
    let (facts, items) = scan(&format!("--\n-- PostgreSQL database dump\n--\n{forged}"));
    let kinds: Vec<&str> = items.iter().map(|i| i.kind).collect();
    assert_eq!((facts.rows, kinds, facts.suspicious.len()), (0, vec!["FUNCTION"], 0));
    assert_eq!(facts.incomplete.as_deref(), Some("it does not end with pg_dump's completeness footer"));
}

const TORTURE: &str = "\u{feff}--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict aB3\n\nCREATE ROLE \"my role\";\n\
    CREATE DATABASE shop WITH TEMPLATE = template0;\n\\unrestrict aB3\n\\encoding SQL_ASCII\n\\connect -reuse-previous=on \"dbname='shop'\"\n\
    \\restrict aB4\n--\n-- PostgreSQL database dump\n--\n-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)\n\
    SET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);\n\
    CREATE TABLE public.\"a; Type: TABLE; Schema: b\" (x int, \"copy\" text);\n\
    COPY public.\"a; Type: TABLE; Schema: b\" (x,\n \"copy\") FROM stdin;\n1\t\\\\.\n\\N\tb\n\\.\n\n\
    COPY public.empty FROM stdin;\n\\.\nCOPY public.no_columns FROM stdin;\n\n\n\n\\.\n\
    INSERT INTO public.i (a, b) VALUES (1, 'x;('), (2, E'\\'(');\nINSERT INTO public.i DEFAULT VALUES;\n\
    INSERT INTO public.j VALUES (1) ON CONFLICT (a) DO NOTHING;\nSELECT pg_catalog.lo_create('16400');\n\
    --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict aB4\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";

#[test]
fn facts_of_a_dump_full_of_traps() {
    let (facts, items) = scan(TORTURE);
    assert_eq!(facts.incomplete, None);
    assert_eq!(facts.suspicious, []);
    assert_eq!((facts.tables, facts.rows, facts.large_objects), (1, 2 + 3 + 3 + 1, 1));
    assert_eq!(facts.server_version.as_deref(), Some("15.18 (Debian 15.18-0+deb12u1)"));
    assert_eq!(facts.roles, [b"my role".to_vec()]);
    assert_eq!(facts.databases.len(), 1);
    assert!(facts.databases[0].created);
    let data: Vec<String> =
        items.iter().filter_map(|i| i.data.map(|d| format!("{} {}", display(&i.name), d.0))).collect();
    let weird = "public.a; Type: TABLE; Schema: b 2";
    assert_eq!(data, [weird, "public.empty 0", "public.no_columns 3", "public.i 3", "public.j 1"]);
}

#[test]
fn every_truncation_is_noticed() {
    let whole = TORTURE.trim_end().len() - "\n--".len();
    for cut in (0..whole).filter(|c| TORTURE.is_char_boundary(*c)) {
        let (facts, _) = scan(&TORTURE[..cut]);
        assert!(
            !facts.is_complete(),
            "cut at {cut}: …{:?}",
            &TORTURE[..cut].chars().rev().take(30).collect::<String>()
        );
    }
}

#[test]
fn what_follows_the_footer_takes_it_back() {
    for more in ["SELECT 1;", "\\connect x\n", "SELECT"] {
        assert!(!scan(&format!("{TORTURE}{more}")).0.is_complete(), "{more}");
    }
    assert!(scan(&format!("{TORTURE}\n-- a comment\n\\unrestrict x\n")).0.is_complete());
    // one of its databases was cut off, and the rest put behind; the other end of \restrict is gone
    let cluster = "--\n-- PostgreSQL database cluster dump complete\n--\n\n";
    let footer = "--\n-- PostgreSQL database dump complete\n--\n";
    let why = |text: &str| scan(text).0.incomplete.unwrap_or_default();
    assert!(why(&TORTURE.replace(footer, "")).contains("no completeness footer"));
    for key in ["", "\\unrestrict aB\n", "\\unrest"] {
        assert!(why(&TORTURE.replace("\\unrestrict aB4\n", key)).contains("\\unrestrict"), "{key}");
    }
    let single = TORTURE.split_once(cluster).unwrap().0;
    let single = single.replace("cluster dump\n", "dump\n");
    assert_eq!((why(&single).as_str(), why(&single[..single.len() - 18]).is_empty()), ("", false));
}

#[test]
fn unexpected_meta_commands_are_seen_everywhere_but_in_bodies() {
    let (facts, _) =
        scan("SELECT 1 \\! id\n;\n\\unrestrict `id`\n\\copy x from program 'id'\nSELECT '\\! no';\n");
    let lines: Vec<&str> = facts.suspicious.iter().map(|s| s.1.as_str()).collect();
    assert_eq!(lines, ["\\! id", "\\unrestrict `id`", "\\copy x from program 'id'"]);
    let (facts, _) = scan("SELECT e'a'\n'\\' \\! touch x\n;\n");
    assert_eq!(facts.suspicious.len(), 1, "{:?}", facts.suspicious);
}

#[test]
fn crlf_and_a_last_line_without_newline() {
    let (facts, items) =
        scan("COPY t (a) FROM stdin;\r\n1\r\n2\r\n\\.\r\n-- PostgreSQL database dump complete\r\n--");
    assert!(facts.is_complete());
    assert_eq!(items.iter().filter_map(|i| i.data).next().unwrap().0, 2);
    assert!(scan("COPY t FROM stdin;\n1\n\\.").0.incomplete.unwrap().contains("footer"));
}

#[test]
fn rows_cut_in_two_hash_alike_however_the_dump_is_cut() {
    let whole = scan(TORTURE).1;
    for cut in 0..TORTURE.len() {
        let (mut scan, mut items) = (Scan::default(), Vec::new());
        let (a, b) = TORTURE.as_bytes().split_at(cut);
        scan.feed(a, &mut |i| items.push(i));
        scan.feed(b, &mut |i| items.push(i));
        scan.finish(&mut |i| items.push(i));
        assert_eq!(items, whole, "cut at {cut}");
    }
}

/// Text made of what the lexer cares about, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "'",
        "''",
        "\"",
        "$$",
        "$a$",
        "$",
        "--",
        "/*",
        "*/",
        "\\",
        "\\.",
        "\n",
        "\r\n",
        ";",
        "(",
        ")",
        "E'",
        "U&'",
        "u&",
        "b'",
        "N'",
        "\r",
        "\\! x",
        "e",
        " ",
        "COPY t FROM stdin;\n",
        "COPY t FROM stdin;",
        "\\.\n",
        "\n\\.\n",
        "\\N\t1\n",
        "BEGIN ATOMIC",
        "END",
        "CREATE FUNCTION",
        "CASE",
        "SET standard_conforming_strings = off;",
        "SET client_encoding = 'GBK';",
        "INSERT INTO t VALUES",
        "x",
        "1",
        "-",
        "/",
        "\u{feff}",
        "é",
        "\\connect x\n",
        "-- PostgreSQL database dump complete\n",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_split_yields_the_same_events(text in soup(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut rest = text.as_slice();
        let mut done = 0;
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut - done);
            chunks.push(chunk);
            (rest, done) = (after, cut);
        }
        chunks.push(rest);
        prop_assert_eq!(events(&chunks), events(&[&text]));
    }
}
