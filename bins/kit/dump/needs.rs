//! What a dump needs of the server that it is loaded into: roles, extensions, tablespaces, locales,
//! settings. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::lex::Event;
use super::scan::text_of;
use super::statement::{Name, Statement, classify, connect_target};
use super::token::{Parser, Token, Tokens};

/// How much of a statement is looked at; what it needs stands in its beginning.
const LONGEST: usize = 64 << 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Roles that own, are granted something, or are named in policies.
    pub roles: BTreeSet<Name>,
    /// Extensions that it creates.
    pub extensions: BTreeSet<Name>,
    /// Tablespaces that hold something.
    pub tablespaces: BTreeSet<Name>,
    /// Tablespaces that it creates, and the folder of each on the server.
    pub locations: BTreeMap<Name, Name>,
    /// Locales of the C library that its databases have.
    pub locales: BTreeSet<Name>,
    /// Parameters that it sets, for its session, for a database or for a role.
    pub settings: BTreeSet<Name>,
    /// The tablespaces of the databases that it creates, where it names them.
    pub homes: BTreeMap<Name, Name>,
    /// A table hides rows from its own owner.
    pub forces_row_security: bool,
}

/// A look in progress.
#[derive(Default)]
pub struct Look {
    /// The database that is looked at, and the one that the present part is of.
    only: Option<String>,
    current: Name,
    statement: Vec<u8>,
    line: Vec<u8>,
    needs: Needs,
}

impl Look {
    /// Looks at what `only` needs of a cluster dump; at roles and tablespaces where that is empty.
    pub fn at(only: Option<String>) -> Self {
        Look { only, ..Look::default() }
    }

    /// Takes what the lexer found next.
    pub fn event(&mut self, event: Event<'_>) {
        let Look { only, current, statement, line, needs } = self;
        match event {
            Event::Sql { bytes, .. } => {
                let room = (LONGEST - statement.len()).min(bytes.len());
                statement.extend_from_slice(&bytes[..room]);
            }
            Event::SqlEnd { .. } => {
                if only.as_ref().is_none_or(|only| text_of(&database_of(statement, current)) == *only) {
                    needs.note(statement);
                }
                statement.clear();
            }
            Event::Meta { bytes, .. } => line.extend_from_slice(bytes),
            Event::MetaEnd { .. } => {
                if let Some(name) = connect_target(line.trim_ascii_end()) {
                    *current = name;
                }
                line.clear();
            }
            _ => {}
        }
    }

    /// What was found.
    pub fn finish(self) -> Needs {
        self.needs
    }
}

/// The database that a statement is about, which stands in the part of database `current`.
fn database_of(statement: &[u8], current: &Name) -> Name {
    let about = match classify(statement) {
        Statement::CreateDatabase(_) | Statement::OnDatabase => database(statement),
        _ => None,
    };
    about.map_or_else(|| current.clone(), |(_, name)| name)
}

impl Needs {
    fn note(&mut self, statement: &[u8]) {
        // what most statements of a dump of INSERTs are
        if statement.first().is_none_or(|b| b.eq_ignore_ascii_case(&b'i')) {
            return;
        }
        self.roles.extend(roles(statement));
        self.settings.extend(kept(statement));
        match classify(statement) {
            Statement::CreateExtension(name) => {
                self.extensions.insert(name);
            }
            Statement::CreateTablespace(name) => {
                self.locations.insert(name, value(statement, "location").unwrap_or_default());
            }
            Statement::CreateDatabase(_) => {
                let tablespace = value(statement, "tablespace");
                if let (Some((_, name)), Some(tablespace)) = (database(statement), &tablespace) {
                    self.homes.insert(name, tablespace.clone());
                }
                self.tablespaces.extend(tablespace);
                self.locales.extend(locales(statement));
            }
            Statement::Session => match set(statement) {
                Some((name, value)) if name == b"default_tablespace" => {
                    self.tablespaces.extend(value.filter(|v| !v.is_empty()));
                }
                Some((name, _)) => {
                    self.settings.insert(name);
                }
                None => {}
            },
            Statement::Other if statement.len() > 4 && statement[..5].eq_ignore_ascii_case(b"alter") => {
                self.forces_row_security |= Parser::new(statement).0.any(|t| t == word("force"));
            }
            _ => {}
        }
    }
}

fn word(text: &str) -> Token {
    Token::Word(text.as_bytes().to_vec())
}

fn name_of(token: Token) -> Option<Name> {
    match token {
        Token::Word(name) | Token::Quoted(name) | Token::String(name) => Some(name),
        Token::Mark(_) => None,
    }
}

/// The value behind `WORD` or `WORD =`.
fn value(statement: &[u8], before: &str) -> Option<Name> {
    let mut tokens = Tokens::new(statement).skip_while(|t| *t != word(before)).skip(1);
    name_of(tokens.find(|t| *t != Token::Mark(b'='))?)
}

/// The locales of the C library that `CREATE DATABASE` names.
pub fn locales(statement: &[u8]) -> Vec<Name> {
    let libc = value(statement, "locale_provider").is_none_or(|p| p == b"libc");
    let words = ["locale", "lc_collate", "lc_ctype"];
    words.iter().filter(|_| libc).filter_map(|w| value(statement, w)).collect()
}

/// Where `TABLESPACE = name` stands in `CREATE DATABASE`, and that name.
pub fn tablespace(statement: &[u8]) -> Option<(Range<usize>, Name)> {
    let mut tokens = Tokens::new(statement);
    tokens.find(|t| *t == word("tablespace"))?;
    let begin = statement.len() - tokens.rest().len() - tokens.length();
    let name = name_of(tokens.find(|t| *t != Token::Mark(b'='))?)?;
    Some((begin..statement.len() - tokens.rest().len(), name))
}

/// Name and value of `SET name = value`.
pub fn set(statement: &[u8]) -> Option<(Name, Option<Name>)> {
    let p = &mut Parser::new(statement);
    if !p.take("set") {
        return None;
    }
    p.take_any(&["session", "local"]);
    let name = p.name()?;
    // a name of two parts belongs to an extension, and any server takes it
    if p.0.peek() == Some(&Token::Mark(b'.')) {
        return None;
    }
    p.0.next();
    Some((name, p.0.next().and_then(name_of)))
}

/// The parameter that `ALTER DATABASE … SET` or `ALTER ROLE … SET` is about. Its case means nothing, also
/// where it is quoted.
pub fn kept(statement: &[u8]) -> Option<Name> {
    let p = &mut Parser::new(statement);
    if !(p.take("alter") && p.take_any(&["database", "role", "user"])) {
        return None;
    }
    // the name may be a word, such as ALL
    p.0.next();
    if p.take("in") && p.take("database") {
        p.0.next();
    }
    if !p.take("set") {
        return None;
    }
    let name = p.name()?.to_ascii_lowercase();
    let is_value = matches!(p.0.peek(), Some(Token::Mark(b'=') | Token::Word(_)));
    // a name of two parts, which pg_dump quotes as one, belongs to an extension, and any server takes it;
    // `SET TABLESPACE name` sets no parameter
    (is_value && name != b"tablespace" && !name.contains(&b'.')).then_some(name)
}

/// The roles that a statement names, but those that it creates.
pub fn roles(statement: &[u8]) -> Vec<Name> {
    let mut found = Vec::new();
    let mut tokens = Tokens::new(statement).peekable();
    let Some(Token::Word(verb)) = tokens.next() else { return found };
    // of those that change a role only this one may stand in the dump of a database
    if verb == b"alter" && tokens.next_if_eq(&word("role")).is_some() {
        let name = tokens.next().and_then(name_of);
        found.extend(name.filter(|_| tokens.peek() == Some(&word("in"))));
        return found;
    }
    let mut depth = 0;
    let mut before = Vec::new();
    // a text search configuration has mappings, too
    let of_user = tokens.peek() == Some(&word("user"));
    let policy = verb == b"create" && tokens.peek() == Some(&word("policy"));
    let grants = verb == b"grant" || verb == b"revoke";
    let defaults = verb == b"alter" && tokens.peek() == Some(&word("default"));
    while let Some(token) = tokens.next() {
        match token {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            Token::Word(this) if depth == 0 => {
                let list = match (before.as_slice(), this.as_slice()) {
                    (b"owner", b"to") | (b"for", b"role") | (b"granted", b"by") => true,
                    (b"mapping", b"for") => of_user,
                    (_, b"authorization") => verb != b"comment",
                    (_, b"owner") => verb == b"create" && tokens.peek() == Some(&Token::Mark(b'=')),
                    (_, b"to" | b"from") => grants || defaults || policy,
                    _ => false,
                };
                before = this;
                if list {
                    tokens.next_if_eq(&Token::Mark(b'='));
                    list_of(&mut tokens, &mut found);
                }
            }
            _ => before.clear(),
        }
    }
    found
}

/// The roles of a list, without the words that stand for one.
fn list_of(tokens: &mut std::iter::Peekable<Tokens<'_>>, found: &mut Vec<Name>) {
    const NONE: [&[u8]; 7] =
        [b"public", b"current_user", b"session_user", b"current_role", b"default", b"group", b"user"];
    loop {
        match tokens.next() {
            Some(Token::Word(name)) if name == b"group" => continue,
            Some(Token::Word(name)) if NONE.contains(&name.as_slice()) => {}
            Some(Token::Word(name) | Token::Quoted(name) | Token::String(name)) => found.push(name),
            _ => return,
        }
        if tokens.next_if_eq(&Token::Mark(b',')).is_none() {
            return;
        }
    }
}

/// Where a statement about a database as such names it, and that name.
pub fn database(statement: &[u8]) -> Option<(Range<usize>, Name)> {
    let mut tokens = Tokens::new(statement);
    let mut before = Vec::new();
    loop {
        let Token::Word(this) = tokens.next()? else {
            before.clear();
            continue;
        };
        if this == b"database" && [&b"create"[..], b"alter", b"on", b"in"].contains(&before.as_slice()) {
            let (Token::Word(name) | Token::Quoted(name)) = tokens.next()? else { return None };
            let end = statement.len() - tokens.rest().len();
            return Some((end - tokens.length()..end, name));
        }
        before = this;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::lex::Lexer;

    fn texts(names: impl IntoIterator<Item = Name>) -> Vec<String> {
        names.into_iter().map(|n| String::from_utf8_lossy(&n).into_owned()).collect()
    }

    #[test]
    fn roles_are_found_where_they_are_named() {
        for (sql, want) in [
            ("ALTER TABLE public.t OWNER TO \"the owner\";", &["the owner"][..]),
            ("ALTER FUNCTION public.f(owner integer) OWNER TO r;", &["r"]),
            ("GRANT SELECT,INSERT ON TABLE public.\"to\" TO a;", &["a"]),
            ("GRANT SELECT(a) ON TABLE t TO PUBLIC, GROUP b WITH GRANT OPTION;", &["b"]),
            ("REVOKE ALL ON SCHEMA public FROM PUBLIC;", &[]),
            ("GRANT staff TO clerk GRANTED BY postgres;", &["clerk", "postgres"]),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s REVOKE ALL ON TABLES FROM b;", &["a", "b"]),
            ("CREATE POLICY p ON public.t FOR SELECT TO a, b USING ((owner = 1));", &["a", "b"]),
            ("CREATE SCHEMA s AUTHORIZATION a;", &["a"]),
            ("SET SESSION AUTHORIZATION 'a';", &["a"]),
            ("SET SESSION AUTHORIZATION DEFAULT;", &[]),
            ("CREATE DATABASE d WITH TEMPLATE = template0 OWNER = a;", &["a"]),
            ("CREATE USER MAPPING FOR a SERVER s;", &["a"]),
            ("ALTER TEXT SEARCH CONFIGURATION public.c ADD MAPPING FOR asciiword WITH english_stem;", &[]),
            ("CREATE TABLE t (owner text, \"to\" int);", &[]),
            ("COMMENT ON TABLE t IS 'OWNER TO x';", &[]),
            ("ALTER ROLE a IN DATABASE d SET work_mem TO '1MB';", &["a"]),
            ("ALTER ROLE a SET work_mem TO '1MB';", &[]),
            ("CREATE RULE r AS ON INSERT TO t DO ALSO NOTHING;", &[]),
        ] {
            assert_eq!(texts(roles(sql.as_bytes())), want, "{sql}");
        }
    }

    #[test]
    fn a_database_is_named_once() {
        for (sql, want) in [
            ("CREATE DATABASE shop WITH TEMPLATE = template0;", "shop"),
            ("ALTER DATABASE \"my \"\"shop\" OWNER TO database;", "\"my \"\"shop\""),
            ("ALTER ROLE database IN DATABASE d SET work_mem TO '1MB';", "d"),
            ("COMMENT ON DATABASE d IS 'on database x';", "d"),
            ("GRANT CONNECT ON DATABASE d TO database;", "d"),
        ] {
            let (place, _) = database(sql.as_bytes()).unwrap();
            assert_eq!(&sql[place], want, "{sql}");
        }
        assert_eq!(database(b"GRANT ALL ON TABLE database TO x;"), None);
    }

    #[test]
    fn what_one_database_of_a_dump_needs() {
        let dump = b"CREATE ROLE x;\nCREATE TABLESPACE fast OWNER x LOCATION '/f';\n\\connect a\n\
            ALTER TABLE t OWNER TO of_a;\nCREATE DATABASE b TABLESPACE = \"my fast\";\n\
            ALTER DATABASE b OWNER TO of_b;\n\\connect b\nCREATE EXTENSION citext;\n";
        let needs = |only: &str| {
            let mut look = Look::at(Some(only.into()));
            Lexer::default().feed(dump, &mut |event| look.event(event));
            look.finish()
        };
        assert_eq!(texts(needs("a").roles), ["of_a"]);
        let b = needs("b");
        assert_eq!((texts(b.roles), texts(b.extensions)), (vec!["of_b".into()], vec!["citext".into()]));
        assert_eq!(texts(b.tablespaces), ["my fast"]);
        let globals = needs("");
        assert!(globals.roles.is_empty() && globals.locations.len() == 1);
        let (place, _) = tablespace(b"CREATE DATABASE b TABLESPACE = \"x\" TEMPLATE = y;").unwrap();
        assert_eq!(place, 18..34);
        assert_eq!(b.homes.into_iter().collect::<Vec<_>>(), [(b"b".to_vec(), b"my fast".to_vec())]);
    }

    #[test]
    fn parameters_that_are_kept_for_databases_and_roles() {
        for (sql, want) in [
            ("ALTER DATABASE d SET transaction_timeout TO '5s';", Some("transaction_timeout")),
            ("ALTER DATABASE \"set\" SET \"TimeZone\" = 'UTC';", Some("timezone")),
            ("ALTER ROLE all SET work_mem TO '1MB';", Some("work_mem")),
            ("ALTER ROLE \"in\" IN DATABASE database SET work_mem TO '1MB';", Some("work_mem")),
            ("ALTER ROLE a SET my.parameter TO 'x';", None),
            ("ALTER ROLE a SET \"my.parameter\" TO 'x';", None),
            ("ALTER DATABASE d SET TABLESPACE fast;", None),
            ("ALTER DATABASE d OWNER TO a;", None),
            ("ALTER ROLE a WITH LOGIN PASSWORD 'SET x TO y';", None),
            ("ALTER TABLE t SET (fillfactor = 50);", None),
        ] {
            assert_eq!(kept(sql.as_bytes()), want.map(|w| w.as_bytes().to_vec()), "{sql}");
        }
    }

    #[test]
    fn what_a_dump_needs() {
        let mut look = Look::default();
        Lexer::default().feed(
            b"SET transaction_timeout = 0;\nSET default_tablespace = fast;\nSET default_tablespace = '';\n\
            CREATE TABLESPACE fast OWNER a LOCATION '/srv/fast';\n\
            CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'de_DE.UTF-8';\n\
            CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\n\
            ALTER TABLE ONLY public.t FORCE ROW LEVEL SECURITY;\n",
            &mut |event| look.event(event),
        );
        let needs = look.finish();
        assert_eq!(texts(needs.settings), ["transaction_timeout"]);
        assert_eq!(texts(needs.tablespaces), ["fast"]);
        assert_eq!(needs.locations.get(&b"fast"[..]), Some(&b"/srv/fast".to_vec()));
        assert_eq!(texts(needs.locales), ["de_DE.UTF-8"]);
        assert_eq!(texts(needs.extensions), ["postgis"]);
        assert!(needs.forces_row_security);
    }
}
