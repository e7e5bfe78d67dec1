//! What a statement is, told from its first few kilobytes. Pure.
//!
//! Comments of pg_dump (`-- Name: …; Type: …`) are never asked: they can be forged by a table's name.

/// An identifier as the server sees it: quotes undone, unquoted letters in lower case. Bytes,
/// because a dump may be in any encoding.
pub type Name = Vec<u8>;

/// A possibly qualified identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Qualified {
    /// The schema, when it is named.
    pub schema: Option<Name>,
    /// The object's own name.
    pub name: Name,
}

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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A keyword or unquoted identifier, in lower case.
    Word(Name),
    /// A quoted identifier.
    Quoted(Name),
    /// A string's contents.
    String(Name),
    /// Any other byte.
    Mark(u8),
}

/// The tokens of SQL text, as far as they can be told from its beginning.
struct Tokens<'a>(&'a [u8]);

impl Tokens<'_> {
    fn quoted(&mut self, quote: u8) -> Name {
        let mut text = Vec::new();
        let mut i = 1;
        while let Some(byte) = self.0.get(i) {
            i += 1;
            if *byte == quote {
                if self.0.get(i) != Some(&quote) {
                    break;
                }
                i += 1;
            }
            text.push(*byte);
        }
        self.0 = &self.0[i.min(self.0.len())..];
        text
    }

    fn skip_to(&mut self, end: &[u8]) {
        self.0 = memchr::memmem::find(self.0, end).map_or(&[], |i| &self.0[i + end.len()..]);
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            match *self.0 {
                [b, ref rest @ ..] if b.is_ascii_whitespace() => self.0 = rest,
                [b'-', b'-', ..] => self.skip_to(b"\n"),
                [b'/', b'*', ..] => self.skip_to(b"*/"),
                [b'"', ..] => return Some(Token::Quoted(self.quoted(b'"'))),
                [b'\'', ..] => return Some(Token::String(self.quoted(b'\''))),
                [b, ..] if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 => {
                    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$' || *b >= 0x80;
                    let end = self.0.iter().position(|b| !word(b)).unwrap_or(self.0.len());
                    let (text, rest) = self.0.split_at(end);
                    self.0 = rest;
                    return Some(Token::Word(text.to_ascii_lowercase()));
                }
                [b, ref rest @ ..] => {
                    self.0 = rest;
                    return Some(Token::Mark(b));
                }
                [] => return None,
            }
        }
    }
}

/// A cursor over tokens with one step of look-ahead.
struct Parser<'a>(std::iter::Peekable<Tokens<'a>>);

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        self.0.next_if(|t| matches!(t, Token::Word(w) if w == word.as_bytes())).is_some()
    }

    fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|w| self.take(w))
    }

    fn name(&mut self) -> Option<Name> {
        match self.0.next()? {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            _ => None,
        }
    }

    fn qualified(&mut self) -> Option<Qualified> {
        let mut name = self.name()?;
        let mut schema = None;
        // a database before the schema is possible and says nothing new
        while self.0.next_if_eq(&Token::Mark(b'.')).is_some() {
            schema = Some(std::mem::replace(&mut name, self.name()?));
        }
        Some(Qualified { schema, name })
    }

    fn skip_if_exists(&mut self) {
        if self.take("if") {
            self.take("not");
            self.take("exists");
        }
    }
}

/// Tells what a statement is. `head` is its beginning; a few kilobytes suffice.
pub fn classify(head: &[u8]) -> Statement {
    parse(&mut Parser(Tokens(head).peekable())).unwrap_or(Statement::Other)
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
                name if name == b"mapping" && p.0.peek() != Some(&Token::Mark(b';')) => Statement::Other,
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
                Statement::SearchPath(Parser(Tokens(&path).peekable()).name())
            }
            _ => Statement::Session,
        },
        b"lo_create" | b"lo_creat" => Statement::LargeObject,
        b"lo_unlink" => Statement::Drop,
        _ => Statement::Other,
    })
}

/// Where `\connect` leads: the database, when the command is one that pg_dump and pg_dumpall
/// write (`\connect name`, `\connect "na me"`, `\connect -reuse-previous=on "dbname='na me'"`).
pub fn connect_target(line: &[u8]) -> Option<Name> {
    let rest = line.strip_prefix(b"\\connect ").or_else(|| line.strip_prefix(b"\\c "))?.trim_ascii();
    if let Some(conninfo) = rest.strip_prefix(b"-reuse-previous=on ") {
        let mut tokens = Tokens(conninfo.trim_ascii_start());
        let Some(Token::Quoted(text)) = tokens.next() else { return None };
        if !tokens.0.is_empty() {
            return None;
        }
        return conninfo_dbname(&text);
    }
    let mut tokens = Tokens(rest);
    let name = match rest.first()? {
        b'"' => match tokens.next()? {
            Token::Quoted(name) => name,
            _ => return None,
        },
        _ => {
            let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$') || *b >= 0x80;
            let end = rest.iter().position(|b| !plain(b)).unwrap_or(rest.len());
            tokens = Tokens(&rest[end..]);
            rest[..end].to_vec()
        }
    };
    // psql takes a name with `=` or `://` for a connection string that could lead to another server
    let only_a_name = !name.is_empty() && !name.contains(&b'=') && !name.windows(3).any(|w| w == b"://");
    (only_a_name && tokens.0.trim_ascii().is_empty()).then_some(name)
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
mod tests {
    use super::*;

    fn q(schema: Option<&str>, name: &str) -> Qualified {
        Qualified { schema: schema.map(|s| s.as_bytes().to_vec()), name: name.as_bytes().to_vec() }
    }

    #[test]
    fn statements_are_told_apart() {
        let name = |n: &str| n.as_bytes().to_vec();
        for (sql, want) in [
            ("COPY public.a (id, \"b\"\"c\") FROM stdin;", Statement::Copy(q(Some("public"), "a"))),
            ("copy \"Weird; Type: TABLE\" from STDIN;", Statement::Copy(q(None, "Weird; Type: TABLE"))),
            (
                "CREATE /* x */ UNLOGGED TABLE IF NOT EXISTS A.\"B\"\"\" (",
                Statement::CreateTable(q(Some("a"), "B\"")),
            ),
            ("CREATE FOREIGN TABLE f (", Statement::CreateTable(q(None, "f"))),
            ("CREATE TABLE -- why\n t();", Statement::CreateTable(q(None, "t"))),
            ("CREATE USER MAPPING FOR x SERVER y;", Statement::Other),
            ("CREATE ROLE \"my role\";", Statement::CreateRole(name("my role"))),
            ("DROP TABLE IF EXISTS public.t;", Statement::Drop),
            ("DROP SCHEMA IF EXISTS public;", Statement::DropPublic),
            ("SELECT pg_catalog.lo_unlink('16400');", Statement::Drop),
            ("DROP SCHEMA s;", Statement::Drop),
            ("ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS c;", Statement::Drop),
            ("ALTER TABLE public.t OWNER TO r;", Statement::Other),
            ("DROP ROLE IF EXISTS r;", Statement::DropRole(name("r"))),
            ("CREATE DATABASE d WITH TEMPLATE = template0;", Statement::CreateDatabase(name("d"))),
            ("DROP DATABASE IF EXISTS \"D\";", Statement::DropDatabase(name("D"))),
            ("INSERT INTO public.t VALUES (1);", Statement::Insert(q(Some("public"), "t"))),
            (
                "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
                Statement::CreateExtension(name("hstore")),
            ),
            ("ALTER ROLE \"drop\" IN DATABASE d SET work_mem TO '1MB';", Statement::OnDatabase),
            ("ALTER ROLE r WITH NOLOGIN;", Statement::Other),
            ("GRANT ALL ON DATABASE d TO r;", Statement::OnDatabase),
            ("GRANT ALL ON TABLE \"database\" TO r;", Statement::Other),
            ("SET search_path = legacy, pg_catalog;", Statement::SearchPath(Some(name("legacy")))),
            ("SELECT pg_catalog.set_config('search_path', '', false);", Statement::SearchPath(None)),
            ("SET statement_timeout = 0;", Statement::Session),
            ("SELECT pg_catalog.lo_create('16400');", Statement::LargeObject),
            ("CREATE TABLE", Statement::Other),
            ("", Statement::Other),
        ] {
            assert_eq!(classify(sql.as_bytes()), want, "{sql}");
        }
    }

    #[test]
    fn only_the_connects_of_pg_dump_lead_anywhere() {
        for (line, want) in [
            ("\\connect shop", Some("shop")),
            ("\\connect \"my shop\"", Some("my shop")),
            ("\\connect \"a\"\"b\"\r", Some("a\"b")),
            ("\\connect -reuse-previous=on \"dbname='it\\'s'\"", Some("it's")),
            ("\\connect -reuse-previous=on \"dbname='a' host='evil'\"", None),
            ("\\connect shop evil", None),
            ("\\connect host=evil", None),
            ("\\connect postgresql://evil/", None),
            ("\\connect `id`", None),
            ("\\connect", None),
            ("\\! id", None),
        ] {
            assert_eq!(connect_target(line.as_bytes()), want.map(|w| w.as_bytes().to_vec()), "{line}");
        }
    }
}
