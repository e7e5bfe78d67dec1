//! What a dump would do that no dump needs to: run programs, read files, or reach beyond its
//! database. Pure.
//!
//! A dump is untrusted. psql runs its meta-commands on the machine that restores, and the server its
//! SQL with the rights of whoever restores. What is listed here is what pg_dump does not write, or
//! writes only where the database had it: each finding is for a person to judge.

use super::lex::{Event, Lexer};
use super::scan::text_of;
use super::statement::{connect_target, is_expected};
use super::token::{Parser, Token};
use super::word::Word;

mod judge;
mod place;

use judge::dangers;
use place::Place;

/// How much of a statement is looked at.
const LONGEST: usize = 1 << 20;
/// How much of it is shown.
const SHOWN: usize = 200;

/// How much of a comment is looked at.
const COMMENT: usize = 100;
/// What COPY writes behind a backslash ("COPY, Text Format" in PostgreSQL's documentation); older ones
/// wrote the end of a line so.
const ESCAPES: &[u8] = b"bfnrtvN\\\n\r";

/// Something that a person must judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Raw offset.
    pub at: u64,
    /// What it is.
    pub what: String,
    /// Its beginning.
    pub text: String,
    /// psql would run it where the dump is restored.
    pub is_of_psql: bool,
}

/// A look in progress.
#[derive(Default)]
pub struct Guard {
    lexer: Lexer,
    found: Found,
}

#[derive(Default)]
struct Found {
    at: u64,
    statement: Vec<u8>,
    too_long: bool,
    line_at: u64,
    line: Vec<u8>,
    place: Place,
    /// The byte of rows before, where it says something of the next: a backslash or a lead byte.
    last: Option<u8>,
    /// What the bytes of the client encoding are that hide the byte behind them.
    leads: Leads,
    /// Rows of this COPY have been told of.
    told: bool,
}

impl Guard {
    /// Takes the next bytes; `sink` is told of each finding.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Finding)) {
        let found = &mut self.found;
        self.lexer.feed(bytes, &mut |event| found.event(event, sink));
    }

    /// Takes what another's lexer found next.
    pub fn event(&mut self, event: Event<'_>, sink: &mut dyn FnMut(Finding)) {
        self.found.event(event, sink);
    }

    /// The end of the dump.
    pub fn finish(mut self, sink: &mut dyn FnMut(Finding)) {
        let found = &mut self.found;
        self.lexer.finish(&mut |event| found.event(event, sink));
    }
}

impl Found {
    fn event(&mut self, event: Event<'_>, sink: &mut dyn FnMut(Finding)) {
        match event {
            Event::Sql { at, bytes } => {
                if self.statement.is_empty() {
                    self.at = at;
                }
                let room = LONGEST - self.statement.len();
                self.too_long |= bytes.len() > room;
                self.statement.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::SqlEnd { .. } => {
                let too_long = std::mem::take(&mut self.too_long);
                let what = dangers(&self.statement, too_long).or_else(|| self.place.strange(&self.statement));
                if let Some(what) = what {
                    sink(Finding { at: self.at, what, text: shown(&self.statement), is_of_psql: false });
                }
                self.leads = leads(&self.statement).unwrap_or(self.leads);
                self.statement.clear();
            }
            Event::Meta { at, bytes } => {
                if self.line.is_empty() {
                    self.line_at = at;
                }
                let room = LONGEST - self.line.len();
                self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::Comment { bytes, .. } => {
                let room = COMMENT.saturating_sub(self.line.len());
                self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::CommentEnd => self.place.comment(&std::mem::take(&mut self.line)),
            Event::DataBegin { .. } => (self.last, self.told) = (None, false),
            Event::Data { at, bytes } if !self.told => {
                if let Some(i) = unescaped(bytes, self.leads, &mut self.last) {
                    self.told = true;
                    let what = "rows that psql would run as commands where COPY fails".to_owned();
                    let at = (at + i as u64).saturating_sub(1);
                    sink(Finding { at, what, text: shown(&bytes[i.saturating_sub(1)..]), is_of_psql: false });
                }
            }
            Event::MetaEnd { .. } => {
                let line = std::mem::take(&mut self.line);
                let line = line.trim_ascii_end();
                self.place.connected();
                if !is_expected(line) && connect_target(line).is_none() {
                    let what = "a command that psql would run".to_owned();
                    sink(Finding { at: self.line_at, what, text: shown(line), is_of_psql: true });
                }
            }
            _ => {}
        }
    }
}

/// Where something stands behind a backslash that COPY never writes there. If COPY fails, psql takes
/// the rows for SQL, and in SQL such a backslash begins a command.
fn unescaped(bytes: &[u8], leads: Leads, last: &mut Option<u8>) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        if let Some(last) = last.take() {
            if last == b'\\' && !ESCAPES.contains(&bytes[at]) {
                return Some(at);
            }
            at += 1;
        }
        let rest = &bytes[at.min(bytes.len())..];
        let found = match leads {
            Leads::None => memchr::memchr(b'\\', rest),
            Leads::High => rest.iter().position(|b| *b == b'\\' || *b >= 0x80),
            Leads::Japanese => rest.iter().position(|b| matches!(b, b'\\' | 0x80..=0xa0 | 0xe0..)),
        };
        *last = Some(rest[found?]);
        at += found? + 1;
    }
    None
}

/// Bytes that hide the one behind them.
#[derive(Clone, Copy, Default)]
enum Leads {
    #[default]
    None,
    High,
    /// The bytes in the middle are letters by themselves.
    Japanese,
}

/// Which bytes hide the one behind them from here on, of `SET client_encoding`.
fn leads(statement: &[u8]) -> Option<Leads> {
    let p = &mut Parser::new(&statement[..statement.len().min(SHOWN)]);
    if !(p.take("set") && p.take("client_encoding")) {
        return None;
    }
    let encoding = p.0.find_map(|token| match token {
        Token::String(name) | Token::Quoted(name) => Some(name),
        Token::Word(name) if name != b"to" => Some(name),
        _ => None,
    })?;
    let mut word = Word::default();
    word.extend(&encoding);
    let japanese =
        ["jis", "932", "kanji"].iter().any(|part| text_of(&encoding).to_lowercase().contains(part));
    Some(match (word.is_encoding_with_hidden_bytes(), japanese) {
        (false, _) => Leads::None,
        (true, false) => Leads::High,
        (true, true) => Leads::Japanese,
    })
}

fn shown(bytes: &[u8]) -> String {
    text_of(bytes[..bytes.len().min(SHOWN)].trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sql: &str) -> Vec<String> {
        let (mut guard, mut found) = (Guard::default(), Vec::new());
        for byte in sql.as_bytes().chunks(7) {
            guard.feed(byte, &mut |f| found.push(f.what));
        }
        guard.finish(&mut |f| found.push(f.what));
        found
    }

    #[test]
    fn a_second_byte_that_looks_like_a_backslash_is_none() {
        for (encoding, want) in [("SJIS", 0), ("gbk", 0), ("UTF8", 1)] {
            let rows = format!("SET client_encoding = '{encoding}';\nCOPY t FROM stdin;\n");
            let rows = [rows.as_bytes(), b"a\x83\\! id\n\\.\n"].concat();
            for size in 1..rows.len() {
                let (mut guard, mut found) = (Guard::default(), 0);
                rows.chunks(size).for_each(|chunk| guard.feed(chunk, &mut |_| found += 1));
                guard.finish(&mut |_| found += 1);
                assert_eq!(found, want, "{encoding} by {size}");
            }
        }
    }

    #[test]
    fn what_pg_dump_writes_is_fine_and_the_rest_is_told() {
        for fine in [
            "COPY public.t (a, \"from program\") FROM stdin;\n1\n\\.\n",
            "SELECT pg_catalog.setval('s', 1);\n",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ begin copy t from program 'x'; end $$;",
            "CREATE FUNCTION f() RETURNS int AS $_$ language c $_$ LANGUAGE sql;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; END;",
            "\\restrict abc\n\\connect shop\n\\unrestrict abc\n",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false, slot_name = 's');",
            "CREATE EXTENSION IF NOT EXISTS hstore;",
            "INSERT INTO t VALUES ('\\! id');",
            "Password: \n-- PostgreSQL database dump\nSET x = 1;",
            "COPY t FROM stdin;\n\\N\t\\\\! id\n\\\\.\t\\b\\f\\n\\r\\t\\v\n\\.\n",
            "SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence('t', 'a'), 1, true);",
            "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '1';",
            "SELECT pg_catalog.set_config('search_path', '', false); SELECT lo_open(lo_create('1'), 131072);",
            "CREATE LANGUAGE plpgsql; ALTER ROLE r WITH NOSUPERUSER; DROP USER MAPPING FOR x SERVER y;",
            "-- PostgreSQL database cluster dump\nDROP DATABASE a;\nDROP ROLE r;\nDROP TABLESPACE t;\n\
                \\connect postgres\nALTER ROLE r WITH SUPERUSER;\n\\connect a\n-- PostgreSQL database dump\n\
                DROP DATABASE a;\nCREATE DATABASE a;\n\\connect a\nDROP TABLE t;\n",
        ] {
            assert_eq!(found(fine), [""; 0], "{fine}");
        }
        for (sql, want) in [
            ("\\! id\n", "psql"),
            ("\\unrestrict `id`\n", "psql"),
            ("SELECT 1 \\gexec\n", "psql"),
            ("\\connect host=evil\n", "psql"),
            ("COPY t FROM PROGRAM 'id';", "program"),
            ("COPY t (a) TO '/etc/passwd';", "file"),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$x$$;", "plpython3u"),
            ("CREATE OR REPLACE FUNCTION f() RETURNS int AS '$libdir/x', 'f' LANGUAGE c;", "in c"),
            ("CREATE FUNCTION f() RETURNS int AS $$ x $$ LANGUAGE 'C';", "in c"),
            ("CREATE EXTENSION plperlu;", "plperlu"),
            ("ALTER SYSTEM SET archive_command = 'x';", "whole server"),
            ("DO $$ begin end $$;", "at once"),
            ("SELECT pg_read_file('/etc/passwd');", "pg_read_file"),
            ("SELECT public.lo_import('x');", "lo_import"),
            ("LOAD 'x';", "library"),
            ("SELECT 1; -- c\r\\! id\n", "psql"),
            ("BEGIN; SET standard_conforming_strings = off; ROLLBACK;", "read otherwise"),
            ("SET NAMES 'SJIS';", "read otherwise"),
            ("INSERT INTO t SELECT lo_export(1, 'x');", "query"),
            ("INSERT INTO t VALUES (lo_export(1, 'x'));", "lo_export"),
            ("ALTER TABLE t ADD CHECK (lo_export(1, 'x') = 1);", "lo_export"),
            ("WITH x AS (SELECT 1) SELECT * FROM x;", "no dump holds"),
            ("CREATE SERVER s FOREIGN DATA WRAPPER file_fdw;", "file_fdw"),
            ("COPY (SELECT f()) TO STDOUT;", "query"),
            ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;", "subscription"),
            ("copy x from E'/etc/hostname';", "file"),
            ("copy x from U&'\\002fetc/hostname';", "file"),
            ("select U&\"pg\\005fread_file\"('x');", "U&"),
            ("ALTER TABLE t ADD CHECK (U&\"lo\\005fexport\"(1, 'x') = 1);", "U&"),
            ("select * into x from pg_ls_dir('.');", "pg_ls_dir"),
            ("select t.f from public.t t;", "no dump makes"),
            ("select 'a' +++ 'b';", "no dump makes"),
            ("(select 1);", "no dump holds"),
            ("/* /* */ */ table x;", "no dump holds"),
            ("BEGIN /* /* */ */; -- x\rselect pg_read_file('x');", "pg_read_file"),
            ("SELECT public.setval('s', 1);", "no dump makes"),
            (
                "CREATE FUNCTION public.setval(text, int) RETURNS int LANGUAGE sql AS $$x$$;",
                "that dumps call",
            ),
            ("COPY t FROM stdin;\n1\n\\! id\n\\.\n", "where COPY fails"),
            ("COPY t FROM stdin;\n1\\\\\t\\copy x\n\\.\n", "where COPY fails"),
            ("import foreign schema x from server y into z;", "no dump holds"),
            ("set dynamic_library_path = 'x';", "library"),
            ("ALTER DATABASE d SET dynamic_library_path TO 'x';", "dynamic_library_path"),
            ("SELECT set_config('session_preload_libraries', 'x', false);", "session_preload_libraries"),
            ("SELECT set_config('search' || '_path', 'x', false);", "no dump makes"),
            (
                "create foreign table f (program text) server s options (program 'id', format 'csv');",
                "program",
            ),
            ("create trusted language l handler h;", "handler"),
            ("create foreign data wrapper w handler h;", "handler"),
            ("drop owned by r;", "belongs to a role"),
            ("reassign owned by r to x;", "no dump holds"),
            ("alter role r superuser;", "superuser"),
            (
                "-- PostgreSQL database dump\nCREATE TABLE t ();\nDROP DATABASE d;",
                "a database that is dropped",
            ),
            ("-- PostgreSQL database dump\nDROP ROLE r; DROP TABLESPACE t;", "a tablespace that is dropped"),
        ] {
            let found = found(sql);
            assert!(found.iter().any(|f| f.contains(want)), "{sql}: {found:?}");
        }
    }
}
