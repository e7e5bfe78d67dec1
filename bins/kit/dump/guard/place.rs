//! Where in a dump a statement stands: roles and databases have their places in it. Pure.

use crate::dump::statement::{Statement, classify};
use crate::dump::token::{Parser, Token};

/// A place in a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all.
    #[default]
    Beginning,
    /// The first part of a cluster dump, with roles and tablespaces.
    Globals,
    /// Where a dump of one database begins, which may make that database.
    Preamble,
    /// Where what is in a database is made.
    Database,
}

impl Place {
    /// Takes a line of comment.
    pub(super) fn comment(&mut self, line: &[u8]) {
        let ends_with = |words: &[u8]| line.trim_ascii_end().ends_with(words);
        if *self == Place::Beginning && ends_with(b" database cluster dump") {
            *self = Place::Globals;
        } else if ends_with(b" database dump") {
            *self = Place::Preamble;
        }
    }

    /// psql has gone elsewhere; in the first part of a cluster dump older ones go to `postgres`.
    pub(super) fn connected(&mut self) {
        if *self != Place::Globals {
            *self = Place::Database;
        }
    }

    /// What is strange about a statement in this place.
    pub(super) fn strange(&mut self, statement: &[u8]) -> Option<String> {
        let head = &statement[..statement.len().min(4096)];
        let what = match classify(head) {
            _ if *self == Place::Globals => None,
            Statement::DropDatabase(_) if *self == Place::Database => Some("a database that is dropped"),
            Statement::DropRole(_) => Some("a role that is dropped"),
            Statement::DropTablespace(_) => Some("a tablespace that is dropped"),
            _ if makes_superuser(head) => Some("a role with the rights of a superuser"),
            _ => None,
        };
        let p = &mut Parser::new(head);
        let makes = p.take_any(&["create", "copy", "insert"]) && !p.peeks("database");
        if makes && *self == Place::Preamble {
            *self = Place::Database;
        }
        what.map(|what| format!("{what}, where no dump has one"))
    }
}

/// `CREATE` or `ALTER ROLE … SUPERUSER`.
fn makes_superuser(head: &[u8]) -> bool {
    let p = &mut Parser::new(head);
    p.take_any(&["create", "alter"])
        && p.take_any(&["role", "user", "group"])
        && p.0.any(|t| t == Token::Word(b"superuser".to_vec()))
}
