//! What a statement is, told from its first few kilobytes. Pure.
//!
//! Comments of pg_dump (`-- Name: …; Type: …`) are never asked: they can be forged by a table's name.

use super::lex::{Event, Lexer};
pub use super::token::{Name, Qualified};
use super::token::{Parser, Token, Tokens};

/// The statements that matter to a backup; everything else is [`Statement::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `COPY table … FROM stdin`.
    Copy(Qualified),
    /// `INSERT INTO table`.
    Insert(Qualified),
    /// `CREATE TABLE`, foreign and unlogged ones too.
    CreateTable(Qualified),
    /// `CREATE DATABASE`.
    CreateDatabase(Name),
    /// `DROP DATABASE`.
    DropDatabase(Name),
    /// `CREATE ROLE`, `USER` or `GROUP`.
    CreateRole(Name),
    /// `DROP ROLE`, `USER` or `GROUP`.
    DropRole(Name),
    /// `CREATE TABLESPACE`.
    CreateTablespace(Name),
    /// `DROP TABLESPACE`.
    DropTablespace(Name),
    /// What `--clean` begins with: `DROP` of an object, `ALTER … DROP`, `lo_unlink`.
    Drop,
    /// `DROP SCHEMA public`, which every database is born with.
    DropPublic,
    /// `CREATE EXTENSION`.
    CreateExtension(Name),
    /// Anything about a database as such: `ALTER`, `COMMENT ON`, `GRANT … ON DATABASE`.
    OnDatabase,
    /// `SET search_path` or `set_config('search_path', …)`: the first schema of the path.
    SearchPath(Option<Name>),
    /// Another `SET`, or a `SELECT` of a function that only changes the session.
    Session,
    /// Creates a large object.
    LargeObject,
    /// Everything else.
    Other,
}

/// Tells what a statement is. `head` is its beginning; a few kilobytes suffice.
pub fn classify(head: &[u8]) -> Statement {
    parse(&mut Parser::new(head)).unwrap_or(Statement::Other)
}

/// A step of writing a large object, as pg_dump has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LargeObject {
    /// The one with this number is opened.
    Opened(Name),
    /// Its next contents, as the dump writes them, without the mark of hexadecimal digits.
    Written(Name),
}

/// Which step a statement is, if it is one.
pub fn large_object(statement: &[u8]) -> Option<LargeObject> {
    let p = &mut Parser::new(statement);
    if !p.take("select") {
        return None;
    }
    let function = p.qualified()?;
    match function.name.as_slice() {
        b"lo_open" => p.0.find_map(|token| match token {
            Token::String(oid) => Some(LargeObject::Opened(oid)),
            Token::Word(oid) if oid.iter().all(u8::is_ascii_digit) => Some(LargeObject::Opened(oid)),
            _ => None,
        }),
        b"lowrite" => p.0.find_map(|token| match token {
            Token::String(text) => {
                let digits = text.strip_prefix(b"\\x").map(<[u8]>::to_vec);
                Some(LargeObject::Written(digits.unwrap_or(text)))
            }
            _ => None,
        }),
        _ => None,
    }
}

/// Statements without those that make, drop or change databases, roles or tablespaces.
pub fn without_databases(statements: &[u8]) -> Vec<u8> {
    let (mut kept, mut from) = (Vec::new(), 0);
    let mut begin = None;
    let take = &mut |event: Event<'_>| match event {
        Event::Sql { at, .. } => begin = begin.or(Some(at as usize)),
        Event::SqlEnd { at, .. } => {
            let start = begin.take().unwrap_or(from);
            let end = at as usize;
            if !is_of_cluster(&classify(&statements[start..end])) {
                kept.extend_from_slice(&statements[from..end]);
            }
            from = end;
        }
        _ => {}
    };
    let mut lexer = Lexer::default();
    lexer.feed(statements, take);
    lexer.finish(take);
    let begun = kept.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(kept.len());
    kept.split_off(begun)
}

/// Whether a statement is about what stands beside the objects of a database.
fn is_of_cluster(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateDatabase(_)
            | Statement::DropDatabase(_)
            | Statement::OnDatabase
            | Statement::CreateRole(_)
            | Statement::DropRole(_)
            | Statement::CreateTablespace(_)
            | Statement::DropTablespace(_)
    )
}

fn parse(p: &mut Parser<'_>) -> Option<Statement> {
    let Some(Token::Word(verb)) = p.0.next() else { return None };
    Some(match verb.as_slice() {
        b"copy" => {
            p.take("binary");
            Statement::Copy(p.qualified()?)
        }
        b"insert" if p.take("into") => Statement::Insert(p.qualified()?),
        b"create" => return created(p),
        b"drop" if p.take("database") => {
            p.skip_if_exists();
            Statement::DropDatabase(p.name()?)
        }
        b"drop" if p.take_any(&["role", "user", "group"]) => {
            p.skip_if_exists();
            // `DROP USER MAPPING` drops no role
            match p.name()? {
                name if name == b"mapping" && p.0.peek() != Some(&Token::Mark(b';')) => Statement::Drop,
                name => Statement::DropRole(name),
            }
        }
        b"drop" if p.take("tablespace") => {
            p.skip_if_exists();
            Statement::DropTablespace(p.name()?)
        }
        b"drop" if p.take("schema") => {
            p.skip_if_exists();
            if p.name()? == b"public" { Statement::DropPublic } else { Statement::Drop }
        }
        b"drop" => Statement::Drop,
        b"alter" if p.take("database") => Statement::OnDatabase,
        // `ALTER ROLE … IN DATABASE … SET …`
        b"alter" if p.take_any(&["role", "user"]) => {
            p.0.next();
            if p.take("in") && p.take("database") { Statement::OnDatabase } else { Statement::Other }
        }
        b"alter" if p.0.any(|t| t == Token::Word(b"drop".to_vec())) => Statement::Drop,
        b"comment" if p.take("on") && p.take("database") => Statement::OnDatabase,
        b"security" if p.take("label") => {
            while p.0.peek().is_some() && !p.take("on") {
                p.0.next();
            }
            if p.take("database") { Statement::OnDatabase } else { Statement::Other }
        }
        b"grant" | b"revoke" => {
            while p.0.peek().is_some() && !p.take("on") {
                p.0.next();
            }
            if p.take("database") { Statement::OnDatabase } else { Statement::Other }
        }
        b"set" => {
            p.take_any(&["session", "local"]);
            if !p.take("search_path") {
                return Some(Statement::Session);
            }
            p.0.next();
            Statement::SearchPath(p.name())
        }
        b"select" => return selected(p),
        b"update" => {
            // pg_dumpall --clean frees template1 this way
            let table = p.qualified()?;
            if table.name == b"pg_database" { Statement::OnDatabase } else { Statement::Other }
        }
        _ => Statement::Other,
    })
}

fn created(p: &mut Parser<'_>) -> Option<Statement> {
    if p.take_any(&["role", "user", "group"]) {
        return Some(match p.name()? {
            // `CREATE USER MAPPING FOR …`
            name if name == b"mapping" && p.take("for") => Statement::Other,
            name => Statement::CreateRole(name),
        });
    }
    if p.take("database") {
        return Some(Statement::CreateDatabase(p.name()?));
    }
    if p.take("tablespace") {
        return Some(Statement::CreateTablespace(p.name()?));
    }
    if p.take("extension") {
        p.skip_if_exists();
        return Some(Statement::CreateExtension(p.name()?));
    }
    p.take_any(&["global", "local"]);
    p.take_any(&["temporary", "temp", "unlogged", "foreign", "writable"]);
    if p.take("table") {
        p.skip_if_exists();
        return Some(Statement::CreateTable(p.qualified()?));
    }
    None
}

fn selected(p: &mut Parser<'_>) -> Option<Statement> {
    let function = p.qualified()?;
    if p.0.next() != Some(Token::Mark(b'(')) {
        return None;
    }
    Some(match function.name.as_slice() {
        b"set_config" => match (p.0.next(), p.0.next(), p.0.next()) {
            (Some(Token::String(name)), _, Some(Token::String(path))) if name == b"search_path" => {
                Statement::SearchPath(Parser::new(&path).name())
            }
            _ => Statement::Session,
        },
        b"lo_create" | b"lo_creat" => Statement::LargeObject,
        b"lo_unlink" => Statement::Drop,
        _ => Statement::Other,
    })
}

/// Whether a statement begins a transaction, or ends one well; `None` for any other.
pub fn transaction(head: &[u8]) -> Option<bool> {
    let p = &mut Parser::new(head);
    let begins = p.take("begin") || (p.take("start") && p.peeks("transaction"));
    if !begins && !p.take_any(&["commit", "end"]) {
        return None;
    }
    p.take_any(&["transaction", "work"]);
    (p.0.next() == Some(Token::Mark(b';'))).then_some(begins)
}

/// Where `\connect` leads: the database, when the command is one that pg_dump and pg_dumpall
/// write (`\connect name`, `\connect "na me"`, `\connect -reuse-previous=on "dbname='na me'"`).
pub fn connect_target(line: &[u8]) -> Option<Name> {
    let rest = line.strip_prefix(b"\\connect ").or_else(|| line.strip_prefix(b"\\c "))?.trim_ascii();
    if let Some(conninfo) = rest.strip_prefix(b"-reuse-previous=on ") {
        let mut tokens = Tokens::new(conninfo.trim_ascii_start());
        let Some(Token::Quoted(text)) = tokens.next() else { return None };
        if !tokens.rest().is_empty() {
            return None;
        }
        return conninfo_dbname(&text);
    }
    let mut tokens = Tokens::new(rest);
    let name = match rest.first()? {
        b'"' => match tokens.next()? {
            Token::Quoted(name) => name,
            _ => return None,
        },
        _ => {
            let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$') || *b >= 0x80;
            let end = rest.iter().position(|b| !plain(b)).unwrap_or(rest.len());
            tokens = Tokens::new(&rest[end..]);
            rest[..end].to_vec()
        }
    };
    // psql takes a name with `=` or `://` for a connection string that could lead to another server
    let only_a_name = !name.is_empty() && !name.contains(&b'=') && !name.windows(3).any(|w| w == b"://");
    (only_a_name && tokens.rest().trim_ascii().is_empty()).then_some(name)
}

/// Whether a meta-command is one that changes nothing but psql's own state, and that pg_dump writes:
/// `\restrict` and `\unrestrict` with a key, and the `\encoding` that pg_dumpall writes before a
/// database whose name needs quotes (`appendPsqlMetaConnect` in `string_utils.c`); or the
/// `\set ON_ERROR_STOP on` that people put before a dump.
pub fn is_expected(line: &[u8]) -> bool {
    const STOPS: [&[u8]; 3] = [b"\\set ON_ERROR_STOP", b"\\set ON_ERROR_STOP on", b"\\set ON_ERROR_STOP 1"];
    if STOPS.contains(&line) {
        return true;
    }
    const COMMANDS: [&[u8]; 3] = [b"\\restrict ", b"\\unrestrict ", b"\\encoding "];
    let word = COMMANDS.iter().find_map(|command| line.strip_prefix(*command));
    word.is_some_and(|w| !w.is_empty() && w.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'))
}

/// The database of `dbname='it\'s'`; anything else in the string is refused with `None`.
fn conninfo_dbname(text: &[u8]) -> Option<Name> {
    let value = text.strip_prefix(b"dbname=")?;
    let Some(inner) = value.strip_prefix(b"'").and_then(|v| v.strip_suffix(b"'")) else {
        return (!value.is_empty() && value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'))
            .then(|| value.to_vec());
    };
    let (mut name, mut bytes) = (Vec::new(), inner.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => name.push(*bytes.next()?),
            b'\'' => return None,
            b => name.push(*b),
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests;
