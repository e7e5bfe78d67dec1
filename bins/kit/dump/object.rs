//! What a statement makes or changes: its kind in pg_dump's words, its name, and the table it
//! belongs to. Pure.
//!
//! The kinds are those of pg_dump's own table of contents (`pg_dump_sort.c`) where it has one, drawn
//! from the SQL and never from pg_dump's comments.

use super::token::{Name, Parser, Qualified, Token};

mod change;

use change::{about, alter, grant};

/// What a statement is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// `TABLE`, `INDEX`, `FK CONSTRAINT`, `ACL`, …; `OTHER` for what is none of them.
    pub kind: &'static str,
    /// Its name. Of a function with its arguments, of a comment or grant with the kind of its object.
    pub name: Qualified,
    /// The table, view or sequence that it belongs to.
    pub of: Option<Qualified>,
    /// The new owner, where the statement names one.
    pub owner: Option<Name>,
}

/// Tells what the statement that begins with `head` makes; a few kilobytes suffice.
pub fn describe(head: &[u8]) -> Object {
    let p = &mut Parser::new(head);
    let verb = match p.0.next() {
        Some(Token::Word(verb)) => verb,
        _ => Vec::new(),
    };
    let object = match verb.as_slice() {
        b"create" => create(p, head),
        b"alter" => alter(p),
        b"comment" => about(p, "COMMENT", head),
        b"security" => about(p, "SECURITY LABEL", head),
        b"grant" | b"revoke" => grant(p, head),
        b"copy" | b"insert" => {
            p.take_any(&["binary", "into"]);
            p.qualified().map(|name| table_part("TABLE DATA", name.clone(), name))
        }
        b"set" => {
            p.take_any(&["session", "local"]);
            p.name().map(|name| named("SET", bare(name)))
        }
        b"select" => select(p),
        b"refresh" if p.take("materialized") && p.take("view") => {
            p.qualified().map(|name| table_part("MATERIALIZED VIEW DATA", name.clone(), name))
        }
        b"drop" => Some(named("DROP", Qualified::default())),
        b"begin" | b"commit" | b"end" | b"rollback" | b"start" => {
            Some(named("TRANSACTION", Qualified::default()))
        }
        b"do" => Some(named("DO", Qualified::default())),
        _ => None,
    };
    object.unwrap_or(Object { kind: "OTHER", ..Object::default() })
}

/// Whether objects of this kind live in a schema, by their own name.
pub fn is_in_a_schema(kind: &str) -> bool {
    const KINDS: [&str; 15] = [
        "TYPE",
        "DOMAIN",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
        "OPERATOR",
        "OPERATOR CLASS",
        "OPERATOR FAMILY",
        "COLLATION",
        "CONVERSION",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH DICTIONARY",
        "TEXT SEARCH TEMPLATE",
        "TEXT SEARCH CONFIGURATION",
        "INDEX ATTACH",
    ];
    KINDS.contains(&kind)
}

/// Whether a statement gives a large object an owner, grants, or a comment.
pub fn is_of_large_object(head: &[u8]) -> bool {
    let words = Parser::new(head).0.take_while(|t| matches!(t, Token::Word(_)));
    let words: Vec<Token> = words.collect();
    let is = |at: usize, word: &str| words.get(at) == Some(&Token::Word(word.into()));
    let changes = ["alter", "comment", "grant", "revoke", "security"].iter().any(|verb| is(0, verb));
    changes && (1..words.len()).any(|at| is(at, "large") && is(at + 1, "object"))
}

/// The role of `SET SESSION AUTHORIZATION`; `None` for DEFAULT.
pub fn authorization(head: &[u8]) -> Option<Name> {
    match Parser::new(head).0.nth(3)? {
        Token::String(name) | Token::Quoted(name) => Some(name),
        Token::Word(name) if name != b"default" => Some(name),
        _ => None,
    }
}

fn named(kind: &'static str, name: Qualified) -> Object {
    Object { kind, name, ..Object::default() }
}

/// Part of a table: `of` names it.
fn table_part(kind: &'static str, name: Qualified, of: Qualified) -> Object {
    Object { kind, name, of: Some(of), owner: None }
}

fn bare(name: Name) -> Qualified {
    Qualified { schema: None, name }
}

fn create(p: &mut Parser<'_>, head: &[u8]) -> Option<Object> {
    if p.take("or") {
        p.take("replace");
    }
    // words before the kind that change nothing about it
    while p.take_any(&[
        "global",
        "local",
        "temporary",
        "temp",
        "unlogged",
        "recursive",
        "trusted",
        "procedural",
    ]) {}
    let unique = p.take("unique");
    if unique || p.peeks("index") {
        return index(p);
    }
    let kind = kind_of(p)?;
    p.skip_if_exists();
    Some(match kind {
        "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" => {
            let name = p.qualified()?;
            table_part(kind, name.clone(), name)
        }
        "TRIGGER" | "RULE" | "POLICY" => {
            let name = p.name()?;
            let table = if kind == "RULE" { p.after("to")? } else { p.after("on")? };
            let schema = table.schema.clone();
            table_part(kind, Qualified { schema, name }, table)
        }
        "STATISTICS" => {
            let name = p.qualified()?;
            let table = p.after("from")?;
            table_part(kind, name, table)
        }
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" => {
            let name = p.qualified()?;
            named(kind, Qualified { name: with_arguments(&name.name, head), ..name })
        }
        "CAST" | "TRANSFORM" => named(kind, bare(until(head, b" WITH"))),
        "USER MAPPING" => {
            p.take("for");
            named(kind, bare(p.name()?))
        }
        "ROLE" => match p.name()? {
            name if name == b"mapping" => named("USER MAPPING", bare(Name::new())),
            name => named(kind, bare(name)),
        },
        _ => named(kind, name_of(kind, p)?),
    })
}

/// The name of an object of this kind.
pub(super) fn name_of(kind: &str, p: &mut Parser<'_>) -> Option<Qualified> {
    if kind == "OPERATOR" { p.operator() } else { p.qualified() }
}

fn index(p: &mut Parser<'_>) -> Option<Object> {
    p.take("index");
    p.take("concurrently");
    p.skip_if_exists();
    let name = p.name()?;
    let table = p.after("on")?;
    // an index lives in the schema of its table
    Some(table_part("INDEX", Qualified { schema: table.schema.clone(), name }, table))
}

/// The kind that the next words name.
pub(super) fn kind_of(p: &mut Parser<'_>) -> Option<&'static str> {
    let Some(Token::Word(word)) = p.0.next() else { return None };
    Some(match word.as_slice() {
        b"table" => "TABLE",
        b"foreign" if p.take("table") => "FOREIGN TABLE",
        b"foreign" if p.take("data") && p.take("wrapper") => "FOREIGN DATA WRAPPER",
        b"view" => "VIEW",
        b"materialized" if p.take("view") => "MATERIALIZED VIEW",
        b"sequence" => "SEQUENCE",
        b"index" => "INDEX",
        b"constraint" if p.take("trigger") => "TRIGGER",
        b"trigger" => "TRIGGER",
        b"event" if p.take("trigger") => "EVENT TRIGGER",
        b"rule" => "RULE",
        b"policy" => "POLICY",
        b"statistics" => "STATISTICS",
        b"schema" => "SCHEMA",
        b"extension" => "EXTENSION",
        b"type" => "TYPE",
        b"domain" => "DOMAIN",
        b"function" => "FUNCTION",
        b"procedure" => "PROCEDURE",
        b"aggregate" => "AGGREGATE",
        b"operator" if p.take("class") => "OPERATOR CLASS",
        b"operator" if p.take("family") => "OPERATOR FAMILY",
        b"operator" => "OPERATOR",
        b"collation" => "COLLATION",
        b"conversion" => "CONVERSION",
        b"default" if p.take("conversion") => "CONVERSION",
        b"text" if p.take("search") => match p.0.next()? {
            Token::Word(w) if w == b"parser" => "TEXT SEARCH PARSER",
            Token::Word(w) if w == b"dictionary" => "TEXT SEARCH DICTIONARY",
            Token::Word(w) if w == b"template" => "TEXT SEARCH TEMPLATE",
            _ => "TEXT SEARCH CONFIGURATION",
        },
        b"cast" => "CAST",
        b"transform" => "TRANSFORM",
        b"access" if p.take("method") => "ACCESS METHOD",
        b"language" => "PROCEDURAL LANGUAGE",
        b"publication" => "PUBLICATION",
        b"subscription" => "SUBSCRIPTION",
        b"server" => "SERVER",
        b"user" if p.take("mapping") => "USER MAPPING",
        b"role" | b"user" | b"group" => "ROLE",
        b"database" => "DATABASE",
        b"tablespace" => "TABLESPACE",
        b"large" if p.take("object") => "BLOB",
        b"column" => "COLUMN",
        b"constraint" => "CONSTRAINT",
        _ => return None,
    })
}

fn select(p: &mut Parser<'_>) -> Option<Object> {
    let function = p.qualified()?;
    if p.0.next() != Some(Token::Mark(b'(')) {
        return None;
    }
    match function.name.as_slice() {
        b"set_config" => match p.0.next()? {
            Token::String(name) => Some(named("SET", bare(name))),
            _ => None,
        },
        b"setval" => match p.0.next()? {
            Token::String(text) => {
                let sequence = Parser::new(&text).qualified()?;
                Some(table_part("SEQUENCE SET", sequence.clone(), sequence))
            }
            _ => None,
        },
        b"lo_create" | b"lo_creat" => match p.0.next()? {
            Token::String(oid) | Token::Word(oid) => Some(named("BLOB", bare(oid))),
            _ => None,
        },
        name if name.starts_with(b"lo_") || name == b"lowrite" => Some(named("BLOBS", Qualified::default())),
        _ => None,
    }
}

/// A function's name with what stands in its parentheses, blanks made one.
fn with_arguments(name: &[u8], head: &[u8]) -> Name {
    let mut depth = 0;
    let begin = memchr::memchr(b'(', head).unwrap_or(head.len());
    let end = head[begin..].iter().position(|b| {
        depth += i32::from(*b == b'(') - i32::from(*b == b')');
        depth == 0
    });
    let inner = &head[begin..end.map_or(head.len(), |n| begin + n + 1)];
    let words: Vec<&[u8]> = inner.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
    [name, &words.join(&b' ')].concat()
}

/// The text after the first two words, up to `end`.
fn until(head: &[u8], end: &[u8]) -> Name {
    let begin = memchr::memchr(b'(', head).unwrap_or(0);
    let rest = &head[begin..];
    rest[..memchr::memmem::find(rest, end).unwrap_or(rest.len().min(60))].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::scan::{display, text_of};

    fn told(sql: &str) -> String {
        let o = describe(sql.as_bytes());
        let of = o.of.map_or(String::new(), |t| format!(" of {}", display(&t)));
        let owner = o.owner.map_or(String::new(), |n| format!(" owner {}", text_of(&n)));
        format!("{} {}{of}{owner}", o.kind, display(&o.name))
    }

    #[test]
    fn what_statements_make() {
        for (sql, want) in [
            ("CREATE TABLE public.t (a int);", "TABLE public.t of public.t"),
            ("CREATE UNLOGGED TABLE t ();", "TABLE t of t"),
            ("CREATE FOREIGN TABLE s.f () SERVER x;", "FOREIGN TABLE s.f of s.f"),
            ("CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a);", "INDEX public.i of public.t"),
            ("CREATE INDEX i ON t (a);", "INDEX i of t"),
            (
                "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT pk PRIMARY KEY (a);",
                "CONSTRAINT public.pk of public.t",
            ),
            (
                "ALTER TABLE ONLY public.t ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.u(b);",
                "FK CONSTRAINT public.fk of public.t",
            ),
            ("ALTER TABLE public.t OWNER TO \"the owner\";", "OWNER public.t of public.t owner the owner"),
            ("ALTER FUNCTION public.f(integer) OWNER TO r;", "OWNER public.f owner r"),
            (
                "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('s');",
                "DEFAULT public.id of public.t",
            ),
            (
                "ALTER TABLE public.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n SEQUENCE NAME s.q START",
                "IDENTITY s.q of public.t",
            ),
            (
                "ALTER TABLE ONLY public.p ATTACH PARTITION s.c FOR VALUES IN (1);",
                "TABLE ATTACH public.p of s.c",
            ),
            ("ALTER SEQUENCE public.s OWNED BY public.t.id;", "SEQUENCE OWNED BY public.s of public.t"),
            ("ALTER INDEX public.pi ATTACH PARTITION public.ci;", "INDEX ATTACH public.ci"),
            ("SELECT pg_catalog.setval('public.\"S s\"', 3, true);", "SEQUENCE SET public.S s of public.S s"),
            ("COPY public.t (a) FROM stdin;", "TABLE DATA public.t of public.t"),
            ("COMMENT ON TABLE public.t IS 'x';", "COMMENT public.TABLE t of public.t"),
            ("COMMENT ON COLUMN public.t.a IS 'x';", "COMMENT public.COLUMN t of public.t"),
            ("COMMENT ON CONSTRAINT c ON public.t IS 'x';", "COMMENT CONSTRAINT c of public.t"),
            ("COMMENT ON FUNCTION public.f(a integer) IS 'x';", "COMMENT public.FUNCTION f(a integer)"),
            ("GRANT SELECT,INSERT ON TABLE public.t TO r;", "ACL public.TABLE t of public.t"),
            ("GRANT SELECT(a) ON TABLE public.t TO r;", "ACL public.TABLE t of public.t"),
            ("REVOKE ALL ON t FROM PUBLIC;", "ACL TABLE t of t"),
            ("GRANT USAGE ON SCHEMA s TO r;", "ACL SCHEMA s"),
            ("GRANT a TO b GRANTED BY c;", "ROLE "),
            (
                "CREATE FUNCTION public.f(a integer,\n   b text) RETURNS int",
                "FUNCTION public.f(a integer, b text)",
            ),
            ("CREATE TRIGGER tr BEFORE UPDATE OF a ON public.t FOR", "TRIGGER public.tr of public.t"),
            ("CREATE RULE r AS ON INSERT TO public.v DO", "RULE public.r of public.v"),
            ("CREATE POLICY p ON public.t USING (true);", "POLICY public.p of public.t"),
            ("CREATE STATISTICS public.st ON a, b FROM public.t;", "STATISTICS public.st of public.t"),
            ("ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;", "ROW SECURITY public.t of public.t"),
            ("SET default_tablespace = '';", "SET default_tablespace"),
            ("SELECT pg_catalog.set_config('search_path', '', false);", "SET search_path"),
            ("CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;", "EXTENSION hstore"),
            ("CREATE OR REPLACE VIEW v AS SELECT 1;", "VIEW v of v"),
            ("CREATE TRUSTED PROCEDURAL LANGUAGE plperl;", "PROCEDURAL LANGUAGE plperl"),
            ("ALTER SYSTEM SET x = 1;", "SYSTEM "),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE r REVOKE ALL ON TABLES FROM r;",
                "DEFAULT ACL TABLES FOR ROLE r",
            ),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE \"R\" IN SCHEMA s GRANT ALL ON FUNCTIONS TO x;",
                "DEFAULT ACL s.FUNCTIONS FOR ROLE R",
            ),
            ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x;", "DEFAULT ACL TABLES"),
            ("CREATE OPERATOR public.=== (\n FUNCTION = public.f);", "OPERATOR public.==="),
            ("ALTER OPERATOR public.<> (text, NONE) OWNER TO r;", "OWNER public.<> owner r"),
            ("COMMENT ON OPERATOR @> (text, text) IS 'x';", "COMMENT OPERATOR @>"),
            ("REFRESH MATERIALIZED VIEW public.m;", "MATERIALIZED VIEW DATA public.m of public.m"),
            ("SELECT pg_catalog.lo_create('16400');", "BLOB 16400"),
            ("SELECT pg_catalog.lowrite(0, '\\x00');", "BLOBS "),
            ("CREATE TABLE", "OTHER "),
            ("", "OTHER "),
        ] {
            assert_eq!(told(sql), want, "{sql}");
        }
    }
}
