//! Where in a dump a statement stands: roles and databases have their places in it. Pure.

use crate::dump::object::describe;
use crate::dump::statement::{Name, Statement, classify};
use crate::dump::token::{Parser, Token};

/// A part of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
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

/// A place in a dump.
#[derive(Default)]
pub(super) struct Place {
    part: Part,
    /// The database that is made here.
    made: Option<Name>,
    /// The database that psql is in, where the dump says so.
    current: Option<Name>,
}

impl Place {
    /// Takes a line of comment.
    pub(super) fn comment(&mut self, line: &[u8]) {
        let ends_with = |words: &[u8]| line.trim_ascii_end().ends_with(words);
        if self.part == Part::Beginning && ends_with(b" database cluster dump") {
            self.part = Part::Globals;
        } else if ends_with(b" database dump") {
            (self.part, self.made) = (Part::Preamble, None);
        }
    }

    /// psql has gone elsewhere; in the first part of a cluster dump older ones go to `postgres`.
    pub(super) fn connected(&mut self, name: Name) {
        self.current = Some(name);
        if self.part != Part::Globals {
            self.part = Part::Database;
        }
    }

    /// What is strange about a statement in this place.
    pub(super) fn strange(&mut self, statement: &[u8]) -> Option<String> {
        let head = beginning(statement);
        let kind = classify(head);
        if let Statement::CreateDatabase(name) = &kind {
            self.made = Some(name.clone());
        }
        let what = match kind {
            _ if self.part == Part::Globals => None,
            Statement::DropDatabase(_) => Some("a database that is dropped"),
            Statement::DropRole(_) => Some("a role that is dropped"),
            Statement::DropTablespace(_) => Some("a tablespace that is dropped"),
            Statement::CreateTablespace(_) => Some("a tablespace that is made"),
            Statement::OnDatabase => {
                let is_here = |name: &Name| [&self.made, &self.current].contains(&&Some(name.clone()));
                (!changed(head).iter().all(is_here)).then_some("a change of another database")
            }
            _ if makes_superuser(head) => Some("a role with the rights of a superuser"),
            _ if describe(head).kind == "ROLE" => Some("a role that is made or changed"),
            _ => None,
        };
        let p = &mut Parser::new(head);
        let makes = p.take_any(&["create", "copy", "insert"]) && !p.peeks("database");
        if makes && self.part == Part::Preamble {
            self.part = Part::Database;
        }
        what.map(|what| format!("{what}, where no dump has one"))
    }

    /// The database that is dropped where one may be that is made right behind, as with `--clean --create`.
    pub(super) fn dropped(&self, statement: &[u8]) -> Option<Name> {
        match classify(beginning(statement)) {
            Statement::DropDatabase(name) if self.part != Part::Database => Some(name),
            _ => None,
        }
    }
}

/// As much of a statement as tells what it is.
pub(super) fn beginning(statement: &[u8]) -> &[u8] {
    &statement[..statement.len().min(4096)]
}

/// The databases whose settings or grants a statement changes.
fn changed(head: &[u8]) -> Vec<Name> {
    let p = &mut Parser::new(head);
    if p.take("alter") {
        if p.take_any(&["role", "user"]) {
            p.0.next();
            p.take("in");
        }
    } else if p.take_any(&["grant", "revoke"]) {
        while p.0.peek().is_some() && !p.take("on") {
            p.0.next();
        }
    }
    let mut names = Vec::new();
    if p.take("database") {
        names.extend(p.name());
        while p.0.next_if_eq(&Token::Mark(b',')).is_some() {
            names.extend(p.name());
        }
    }
    names
}

/// `CREATE` or `ALTER ROLE … SUPERUSER`.
fn makes_superuser(head: &[u8]) -> bool {
    let p = &mut Parser::new(head);
    p.take_any(&["create", "alter"])
        && p.take_any(&["role", "user", "group"])
        && p.0.any(|t| t == Token::Word(b"superuser".to_vec()))
}
