//! What a dump would do that no dump needs to: run programs, read files, or reach beyond its
//! database. Pure.
//!
//! A dump is untrusted. psql runs its meta-commands on the machine that restores, and the server its
//! SQL with the rights of whoever restores. What is listed here is what pg_dump does not write, or
//! writes only where the database had it: each finding is for a person to judge.

use super::lex::{Event, Lexer};
use super::scan::text_of;
use super::statement::{connect_target, is_expected};
use super::token::{Parser, Token, Tokens};

/// How much of a statement is looked at.
const LONGEST: usize = 1 << 20;
/// How much of it is shown.
const SHOWN: usize = 200;

/// Languages that cannot leave their database (PostgreSQL documentation, "Procedural Languages").
const TRUSTED: [&[u8]; 9] =
    [b"sql", b"plpgsql", b"plperl", b"pltcl", b"plv8", b"plcoffee", b"plls", b"pllua", b"plrust"];
/// Functions that pg_dump calls.
const CALLED: [&[u8]; 9] = [
    b"set_config",
    b"setval",
    b"lo_create",
    b"lo_creat",
    b"lo_open",
    b"lowrite",
    b"lo_close",
    b"lo_unlink",
    b"pg_extension_config_dump",
];

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
                let what = dangers(&self.statement, std::mem::take(&mut self.too_long));
                if let Some(what) = what {
                    sink(Finding { at: self.at, what, text: shown(&self.statement), is_of_psql: false });
                }
                self.statement.clear();
            }
            Event::Meta { at, bytes } => {
                if self.line.is_empty() {
                    self.line_at = at;
                }
                let room = LONGEST - self.line.len();
                self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::MetaEnd { .. } => {
                let line = std::mem::take(&mut self.line);
                let line = line.trim_ascii_end();
                if !is_expected(line) && connect_target(line).is_none() {
                    let what = "a command that psql would run".to_owned();
                    sink(Finding { at: self.line_at, what, text: shown(line), is_of_psql: true });
                }
            }
            _ => {}
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    text_of(bytes[..bytes.len().min(SHOWN)].trim_ascii_end())
}

/// What is dangerous about a statement.
fn dangers(statement: &[u8], too_long: bool) -> Option<String> {
    let p = &mut Parser::new(statement);
    let Some(Token::Word(verb)) = p.0.next() else { return None };
    let told = |what: &str| Some(what.to_owned());
    match verb.as_slice() {
        // the query of COPY (…) TO
        b"copy" if p.0.peek() == Some(&Token::Mark(b'(')) => told("a query that runs at once"),
        b"copy" => copied(p).and_then(told),
        b"do" => told("a block of code that runs at once"),
        b"load" => told("a library that is loaded"),
        b"alter" if p.take("system") => told("a setting of the whole server"),
        b"create" => created(p, too_long),
        b"select" => {
            let function = p.qualified()?;
            let called = p.0.next() == Some(Token::Mark(b'('));
            let known = CALLED.contains(&function.name.as_slice());
            (called && !known).then(|| format!("a call of {}()", text_of(&function.name)))
        }
        b"call" | b"execute" | b"prepare" => told("code that runs at once"),
        b"set" => reading(p),
        b"reset" | b"discard" | b"rollback" | b"savepoint" => {
            told("a change of the session that no dump makes")
        }
        b"update" => {
            // pg_dumpall --clean frees template1 this way
            let table = p.qualified()?;
            (table.name != b"pg_database").then(|| "a change of rows, which can call functions".into())
        }
        b"delete" | b"with" | b"values" | b"explain" | b"declare" | b"merge" | b"table" | b"fetch" => {
            told("a statement that no dump holds, and that can call functions")
        }
        b"insert" => {
            let selects = p.0.any(|t| t == Token::Word(b"select".to_vec()));
            selects.then(|| "rows that a query makes, which can call functions".into())
        }
        _ => None,
    }
    .or_else(|| reaching(statement))
}

/// A setting that changes how psql reads what follows, so that this cannot judge it.
fn reading(p: &mut Parser<'_>) -> Option<String> {
    p.take_any(&["session", "local"]);
    let name = p.name()?;
    let words: Vec<Token> = p.0.by_ref().collect();
    let off = ["off", "false", "0"].iter().any(|w| {
        words.contains(&Token::Word(w.as_bytes().to_vec()))
            || words.contains(&Token::String(w.as_bytes().to_vec()))
    });
    match name.as_slice() {
        b"standard_conforming_strings" if off => {
            Some("backslashes in strings: what follows may be read otherwise".into())
        }
        b"names" => {
            Some("an encoding that no dump sets in this way: what follows may be read otherwise".into())
        }
        b"session_preload_libraries" | b"local_preload_libraries" => Some("a library that is loaded".into()),
        _ => None,
    }
}

/// Names that lead out of the database wherever they stand outside of strings.
fn reaching(statement: &[u8]) -> Option<String> {
    const NAMES: [&[u8]; 16] = [
        b"lo_export",
        b"lo_import",
        b"pg_read_file",
        b"pg_read_binary_file",
        b"pg_ls_dir",
        b"pg_stat_file",
        b"pg_file_write",
        b"pg_execute_server_program",
        b"pg_write_server_files",
        b"pg_read_server_files",
        b"dblink",
        b"dblink_exec",
        b"dblink_connect",
        b"file_fdw",
        b"session_preload_libraries",
        b"local_preload_libraries",
    ];
    Tokens::new(statement).find_map(|token| match token {
        Token::Word(name) | Token::Quoted(name) if NAMES.contains(&name.as_slice()) => {
            Some(format!("{}, which leads out of the database", text_of(&name)))
        }
        _ => None,
    })
}

/// `COPY` that reads or writes anything but the dump.
fn copied(p: &mut Parser<'_>) -> Option<&'static str> {
    let mut depth = 0;
    loop {
        match p.0.next()? {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            Token::Word(w) if depth == 0 && (w == b"from" || w == b"to") => break,
            _ => {}
        }
    }
    match p.0.next()? {
        Token::Word(w) if w == b"program" => Some("a program on the server"),
        Token::String(_) => Some("a file on the server"),
        _ => None,
    }
}

fn created(p: &mut Parser<'_>, too_long: bool) -> Option<String> {
    while p.take_any(&["or", "replace", "trusted", "procedural"]) {}
    if p.take_any(&["function", "procedure"]) {
        let language = p.0.find_map(|t| (t == Token::Word(b"language".to_vec())).then_some(()));
        let name = language.and_then(|()| match p.0.next() {
            Some(Token::Word(name) | Token::Quoted(name) | Token::String(name)) => Some(name),
            _ => None,
        });
        return match name.map(|n| n.to_ascii_lowercase()) {
            Some(name) if TRUSTED.contains(&name.as_slice()) => None,
            Some(name) => Some(format!("a function in {}, which can leave the database", text_of(&name))),
            // the body of an SQL function may stand there without the word
            None if too_long => Some("a function too long to be looked at".into()),
            None => None,
        };
    }
    if p.take("language") || p.take("extension") {
        p.skip_if_exists();
        let name = p.name()?;
        let untrusted = name.starts_with(b"pl") && name.ends_with(b"u") || name == b"plsh";
        return untrusted.then(|| format!("{}, a language that can leave the database", text_of(&name)));
    }
    if p.take("subscription") {
        let words: Vec<Token> = p.0.by_ref().collect();
        let word = |w: &str| Token::Word(w.as_bytes().to_vec());
        let apart = words.windows(3).any(|w| w == [word("connect"), Token::Mark(b'='), word("false")]);
        return (!apart).then(|| "a subscription that connects at once".into());
    }
    None
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
        ] {
            let found = found(sql);
            assert!(found.iter().any(|f| f.contains(want)), "{sql}: {found:?}");
        }
    }
}
