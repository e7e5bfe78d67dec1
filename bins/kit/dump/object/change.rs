//! Statements that change what others made: `ALTER`, `COMMENT`, `GRANT`.

use super::{Object, bare, kind_of, name_of, named, table_part, with_arguments};
use crate::dump::token::{Name, Parser, Qualified, Token};

/// `ALTER` of anything.
pub(super) fn alter(p: &mut Parser<'_>) -> Option<Object> {
    if p.take("default") {
        return Some(named("DEFAULT ACL", default_privileges(p)));
    }
    if p.take("system") {
        return Some(named("SYSTEM", Qualified::default()));
    }
    while p.take_any(&["procedural", "trusted"]) {}
    let kind = kind_of(p)?;
    p.skip_if_exists();
    p.take("only");
    match kind {
        "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" => {}
        "INDEX" => {
            let name = p.qualified()?;
            return Some(match p.0.find_map(|t| (t == Token::Word(b"partition".to_vec())).then_some(())) {
                Some(()) => named("INDEX ATTACH", p.qualified()?),
                None => named("INDEX ALTER", name),
            });
        }
        "DATABASE" => return Some(named("DATABASE PROPERTIES", p.qualified()?)),
        "ROLE" => return Some(named("ROLE", bare(p.name()?))),
        "CONSTRAINT" => return None,
        kind => {
            let name = name_of(kind, p)?;
            let owner = p.owner();
            let kind = if owner.is_some() { "OWNER" } else { kind };
            return Some(Object { owner, ..named(kind, name) });
        }
    }
    let table = p.qualified()?;
    let part = |kind, name: Option<Name>| {
        let name = name.unwrap_or_else(|| table.name.clone());
        Some(table_part(kind, Qualified { schema: table.schema.clone(), name }, table.clone()))
    };
    // pg_dump writes one action a statement
    p.take("*");
    match p.0.next()? {
        Token::Word(w) if w == b"owner" => {
            p.take("to");
            Some(Object { owner: Some(p.name()?), ..part("OWNER", None)? })
        }
        Token::Word(w) if w == b"owned" => {
            p.take("by");
            // schema.table.column: the column says nothing here
            let column = p.qualified_column()?;
            Some(table_part("SEQUENCE OWNED BY", table, column))
        }
        Token::Word(w) if w == b"add" && p.take("constraint") => {
            let name = p.name()?;
            let kind = if p.take("foreign") {
                "FK CONSTRAINT"
            } else if p.take("check") {
                "CHECK CONSTRAINT"
            } else {
                "CONSTRAINT"
            };
            part(kind, Some(name))
        }
        Token::Word(w) if w == b"attach" && p.take("partition") => {
            let child = p.qualified()?;
            // its name is that of the table it becomes a part of
            Some(table_part("TABLE ATTACH", table, child))
        }
        Token::Word(w) if w == b"alter" => {
            p.take("column");
            let column = p.name();
            if p.take("set") && p.take("default") {
                return part("DEFAULT", column);
            }
            if p.take("add") && p.take("generated") {
                // SEQUENCE NAME, which pg_dump always gives
                let sequence = p.0.find_map(|t| (t == Token::Word(b"name".to_vec())).then_some(()));
                return match sequence.and_then(|()| p.qualified()) {
                    Some(name) => Some(table_part("IDENTITY", name, table)),
                    None => part("IDENTITY", column),
                };
            }
            part("TABLE ALTER", column)
        }
        Token::Word(w) if matches!(w.as_slice(), b"enable" | b"disable" | b"force" | b"no") => {
            if p.take("row") { part("ROW SECURITY", None) } else { part("TABLE ALTER", None) }
        }
        Token::Word(w) if w == b"replica" => part("REPLICA IDENTITY", None),
        _ => part("TABLE ALTER", None),
    }
}

/// Of what the privileges are, of what a role makes, and where: `TABLES FOR ROLE r` in a schema.
fn default_privileges(p: &mut Parser<'_>) -> Qualified {
    let (mut schema, mut name) = (None, Name::new());
    p.take("privileges");
    if p.take("for") && p.take_any(&["role", "user"]) {
        name = [b" FOR ROLE ", p.name().unwrap_or_default().as_slice()].concat();
    }
    if p.take("in") && p.take("schema") {
        schema = p.name();
    }
    let what = p.0.find(|t| *t == Token::Word(b"on".to_vec())).and_then(|_| p.name()).unwrap_or_default();
    name.splice(..0, what.to_ascii_uppercase());
    Qualified { schema, name }
}

/// `COMMENT ON`, `SECURITY LABEL … ON`: what it is about.
pub(super) fn about(p: &mut Parser<'_>, kind: &'static str, head: &[u8]) -> Option<Object> {
    while !p.take("on") {
        p.0.next()?;
    }
    while p.take_any(&["procedural", "trusted"]) {}
    let what = kind_of(p)?;
    let name = match what {
        "COLUMN" => {
            let of = p.qualified_column()?;
            return Some(table_part(kind, prefixed(what, &of), of));
        }
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" => {
            let name = p.qualified()?;
            Qualified { name: with_arguments(&name.name, head), ..name }
        }
        "CAST" | "TRANSFORM" => return Some(named(kind, bare(what.into()))),
        "BLOB" => return Some(named(kind, bare(what.into()))),
        _ => name_of(what, p)?,
    };
    let of = match what {
        "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" => Some(name.clone()),
        "CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY" if p.take("on") => {
            p.take("domain");
            p.qualified()
        }
        _ => None,
    };
    Some(Object { of, ..named(kind, prefixed(what, &name)) })
}

/// `TABLE name`, as pg_dump tags a comment or a grant.
fn prefixed(kind: &str, name: &Qualified) -> Qualified {
    let name_of = [kind.as_bytes(), b" ", &name.name].concat();
    Qualified { schema: name.schema.clone(), name: name_of }
}

/// `GRANT` and `REVOKE`: of what.
pub(super) fn grant(p: &mut Parser<'_>, head: &[u8]) -> Option<Object> {
    while !p.take("on") {
        // without ON it grants a role
        let Some(token) = p.0.next() else { return Some(named("ROLE", Qualified::default())) };
        if token == Token::Word(b"to".to_vec()) || token == Token::Word(b"from".to_vec()) {
            return Some(named("ROLE", Qualified::default()));
        }
    }
    if let Some(Token::Word(word)) = p.0.peek().cloned() {
        let what = match word.as_slice() {
            b"schema" | b"function" | b"procedure" | b"routine" | b"sequence" | b"type" | b"domain"
            | b"database" | b"language" | b"tablespace" | b"parameter" | b"large" | b"foreign" => kind_of(p),
            b"table" => {
                p.0.next();
                Some("TABLE")
            }
            _ => Some("TABLE"),
        };
        let what = what.unwrap_or("OBJECT");
        let name = match what {
            "BLOB" | "OBJECT" => return Some(named("ACL", bare(what.into()))),
            "FUNCTION" | "PROCEDURE" => {
                let name = p.qualified()?;
                Qualified { name: with_arguments(&name.name, head), ..name }
            }
            _ => p.qualified()?,
        };
        let of = matches!(what, "TABLE" | "SEQUENCE").then(|| name.clone());
        return Some(Object { of, ..named("ACL", prefixed(what, &name)) });
    }
    let name = p.qualified()?;
    Some(table_part("ACL", prefixed("TABLE", &name), name))
}
