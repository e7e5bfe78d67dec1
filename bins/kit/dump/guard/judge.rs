//! What is dangerous about one statement. Pure.
//!
//! Statements that no dump holds are dangerous whatever they are: what is known is what pg_dump and
//! pg_dumpall write, and how that can be made to reach further.

use super::catalog::{marks_template, written};
use super::place::beginning;
use crate::dump::scan::text_of;
use crate::dump::token::{Parser, Token, Tokens, UNICODE, is_operator};

/// Languages that cannot leave their database (PostgreSQL documentation, "Procedural Languages").
const TRUSTED: [&[u8]; 9] =
    [b"sql", b"plpgsql", b"plperl", b"pltcl", b"plv8", b"plcoffee", b"plls", b"pllua", b"plrust"];
/// Statements that pg_dump and pg_dumpall write, and those that only end or begin a transaction; others
/// are told as what no dump holds.
const VERBS: [&[u8]; 18] = [
    b"abort",
    b"alter",
    b"analyze",
    b"begin",
    b"comment",
    b"commit",
    b"copy",
    b"create",
    b"drop",
    b"end",
    b"grant",
    b"insert",
    b"refresh",
    b"revoke",
    b"security",
    b"set",
    b"start",
    b"truncate",
];

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

/// What else stands in the queries that call them.
const IN_QUERIES: [&[u8]; 16] = [
    b"pg_catalog",
    b"pg_get_serial_sequence",
    b"pg_largeobject",
    b"pg_largeobject_metadata",
    b"case",
    b"when",
    b"exists",
    b"then",
    b"end",
    b"select",
    b"from",
    b"where",
    b"oid",
    b"loid",
    b"true",
    b"false",
];

/// What is dangerous about a statement. `too_long`: it is cut.
pub(super) fn dangers(statement: &[u8], too_long: bool) -> Option<String> {
    let p = &mut Parser::new(statement);
    let verb = match p.0.next() {
        Some(Token::Word(verb)) => verb,
        None | Some(Token::Mark(b';')) => return None,
        _ => Vec::new(),
    };
    let told = |what: &str| Some(what.to_owned());
    match verb.as_slice() {
        // the query of COPY (…) TO
        b"copy" if p.0.peek() == Some(&Token::Mark(b'(')) => told("a query that runs at once"),
        b"copy" => copied(p).and_then(told),
        b"do" => told("a block of code that runs at once"),
        b"load" => told("a library that is loaded"),
        b"alter" if p.take("system") => told("a setting of the whole server"),
        b"create" => created(p, too_long),
        b"select" => reaching(statement).or_else(|| query(p)),
        b"drop" if p.take("owned") => told("what belongs to a role, dropped"),
        b"call" | b"execute" | b"prepare" => told("code that runs at once"),
        b"set" => reading(p),
        b"reset" | b"discard" | b"rollback" | b"savepoint" => {
            told("a change of the session that no dump makes")
        }
        // pg_dumpall --clean frees template1 this way
        b"update" if marks_template(statement) => None,
        b"update" => told("a change of rows, which can call functions"),
        b"insert" => inserted(p),
        b"alter" if p.take("table") => {
            recomputed(p).map(|what| written(beginning(statement)).unwrap_or(what.into()))
        }
        // a prompt or a warning that went into the dump: no statement of SQL begins so
        _ if p.0.peek() == Some(&Token::Mark(b':')) => None,
        verb if !VERBS.contains(&verb) => told("a statement that no dump holds, and that can call functions"),
        _ => None,
    }
    .or_else(|| reaching(statement))
    .or_else(|| written(beginning(statement)))
}

/// A query of pg_dump's calls one of a few functions with values, and nothing else.
fn query(p: &mut Parser<'_>) -> Option<String> {
    let tokens: Vec<Token> = p.0.by_ref().collect();
    let number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    let strange = tokens.iter().find_map(|token| match token {
        Token::Word(w) if CALLED.contains(&w.as_slice()) || IN_QUERIES.contains(&w.as_slice()) => None,
        Token::Word(w) if number(w) => None,
        Token::Word(w) | Token::Quoted(w) => Some(text_of(w)),
        Token::String(_) => None,
        Token::Mark(b'(' | b')' | b',' | b'.' | b';' | b'=' | b'-') => None,
        Token::Mark(mark) => Some(char::from(*mark).to_string()),
    });
    if let Some(what) = strange {
        return Some(format!("a query that no dump makes: {what}"));
    }
    let config = tokens.iter().position(|t| *t == Token::Word(b"set_config".to_vec()))?;
    match tokens.get(config + 2) {
        Some(Token::String(name)) if name == b"search_path" => None,
        Some(Token::String(name)) => Some(format!("a setting that no dump makes: {}", text_of(name))),
        _ => Some("a setting that no dump makes".into()),
    }
}

/// Rows of anything but values: pg_dump writes numbers, strings, NULL and DEFAULT, and nothing behind them but
/// ON CONFLICT DO NOTHING.
fn inserted(p: &mut Parser<'_>) -> Option<String> {
    let (mut depth, mut values) = (0, false);
    while let Some(token) = p.0.next() {
        let computed = match &token {
            Token::Mark(b'(') => {
                depth += 1;
                false
            }
            Token::Mark(b')') => {
                depth -= 1;
                false
            }
            // pg_dump puts names that are such words in quotes
            Token::Word(word) if [&b"select"[..], b"with", b"table"].contains(&word.as_slice()) => {
                return Some("rows that a query makes, which can call functions".into());
            }
            Token::Word(word) if word == b"values" => {
                values = true;
                depth > 0
            }
            Token::Word(word) if depth == 0 => match word.as_slice() {
                b"returning" | b"update" | b"where" => values,
                _ => false,
            },
            Token::Word(_) | Token::Quoted(_) => values && p.0.peek() == Some(&Token::Mark(b'(')),
            // the signs of numbers
            Token::Mark(b'+' | b'-') => false,
            Token::Mark(mark) => values && depth > 0 && is_operator(*mark),
            Token::String(_) => false,
        };
        if computed {
            return Some("rows that are computed, which can call functions".into());
        }
    }
    None
}

/// A change of a table that computes its rows anew.
fn recomputed(p: &mut Parser<'_>) -> Option<&'static str> {
    const ADDED: [&str; 6] = ["constraint", "primary", "unique", "check", "foreign", "exclude"];
    p.skip_if_exists();
    p.take("only");
    p.qualified()?;
    loop {
        let again = if p.take("alter") {
            p.take("column");
            p.name()?;
            p.take("type") || (p.take("set") && p.take("data"))
        } else {
            p.take("add") && !ADDED.iter().any(|what| p.peeks(what))
        };
        if again {
            return Some("rows that are computed anew, which can call functions");
        }
        let mut depth = 0;
        // to the next change
        loop {
            match p.0.next()? {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                Token::Mark(b',') if depth == 0 => break,
                _ => {}
            }
        }
    }
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
        b"session_preload_libraries" | b"local_preload_libraries" | b"dynamic_library_path" => {
            Some("a library that is loaded".into())
        }
        _ => None,
    }
}

/// Names that lead out of the database wherever they stand outside of strings.
fn reaching(statement: &[u8]) -> Option<String> {
    const NAMES: [&[u8]; 17] = [
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
        b"dynamic_library_path",
    ];
    Tokens::new(statement).find_map(|token| match token {
        Token::Word(name) | Token::Quoted(name) if NAMES.contains(&name.as_slice()) => {
            Some(format!("{}, which leads out of the database", text_of(&name)))
        }
        Token::Word(name) if name == UNICODE => {
            Some("letters told by their numbers (U&), which no dump does".into())
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
        Token::Word(w) if w == b"stdin" || w == b"stdout" => {
            let chooses = p.0.any(|token| token == Token::Word(b"where".to_vec()));
            chooses.then_some("rows that are chosen by a condition, which can call functions")
        }
        Token::Word(w) if w == b"program" => Some("a program on the server"),
        _ => Some("a file on the server"),
    }
}

/// Whether one of these words stands outside of strings, and right before a string where `named`.
fn holds(p: &mut Parser<'_>, words: &[&[u8]], named: bool) -> bool {
    while let Some(token) = p.0.next() {
        if let Token::Word(word) | Token::Quoted(word) = token
            && words.contains(&word.as_slice())
            && (!named || matches!(p.0.peek(), Some(Token::String(_))))
        {
            return true;
        }
    }
    false
}

/// Whether a statement makes something that runs for rows that come later.
pub(super) fn fires(statement: &[u8]) -> bool {
    let p = &mut Parser::new(statement);
    if !p.take("create") {
        return false;
    }
    while p.take_any(&["or", "replace", "constraint", "event"]) {}
    p.take_any(&["trigger", "rule"])
}

fn created(p: &mut Parser<'_>, too_long: bool) -> Option<String> {
    while p.take_any(&["or", "replace", "trusted", "procedural"]) {}
    while p.take_any(&["unlogged", "temporary", "temp", "global", "local"]) {}
    if p.take("table") {
        let mut depth = 0;
        // what generates a column stands within its parentheses
        let by_query = p.0.any(|token| {
            match token {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                Token::Word(word) if depth == 0 => return word == b"as",
                _ => {}
            }
            false
        });
        return by_query.then(|| "a table that a query fills, which can call functions".into());
    }
    if p.take_any(&["function", "procedure"]) {
        if p.qualified().is_some_and(|name| CALLED.contains(&name.name.as_slice())) {
            return Some("a function with the name of one that dumps call".into());
        }
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
        if !untrusted && holds(p, &[b"handler"], false) {
            return Some("a language with a handler of its own".into());
        }
        return untrusted.then(|| format!("{}, a language that can leave the database", text_of(&name)));
    }
    if p.take("foreign") {
        if p.take("table") {
            let outside = holds(p, &[b"program", b"filename"], true);
            return outside.then(|| "a table that is a program or a file on the server".into());
        }
        return holds(p, &[b"handler"], false)
            .then(|| "a foreign data wrapper with a handler of its own".into());
    }
    if p.take("subscription") {
        let words: Vec<Token> = p.0.by_ref().collect();
        let word = |w: &str| Token::Word(w.as_bytes().to_vec());
        let apart = words.windows(3).any(|w| w == [word("connect"), Token::Mark(b'='), word("false")]);
        return (!apart).then(|| "a subscription that connects at once".into());
    }
    None
}
