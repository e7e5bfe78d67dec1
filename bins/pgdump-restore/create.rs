//! Creating databases, keeping what a dump of one database does not carry: its owner, encoding,
//! locale, settings and grants.

use std::collections::BTreeSet;

use kit::beside::{FLUSH, What, drop_database, mark_in_place};
use kit::child::converse;
use kit::dump::lex::{Event, Lexer};
use kit::dump::needs;
use kit::dump::statement::{Statement, classify};
use kit::exit::{Code, Result};
use kit::out::Speech;
use kit::pg::{Server, identifier, literal_dbname};

use crate::cli::Way;
use crate::plan::{ALWAYS, Plan, Target};
use crate::swap::drop_one;

/// Creates each target that the dump does not, under the name that it has until it is proven. When all
/// others are made, those that are to make room are dropped: what cannot be made costs nothing.
pub(crate) fn create(plan: &Plan, server: &Server, speech: &Speech) -> Result<()> {
    let made: Vec<&Target> = plan.targets.iter().filter(|t| !t.by_dump).collect();
    for target in &made {
        let Target { name, place, present, .. } = target;
        let stand_in = plan.stand_in(target);
        let mark = What::Restore.mark(place, name, plan.stamp);
        let like = present.as_ref().map(|_| name).or(stand_in.map(|b| &b.name));
        let definition = match like {
            Some(like) => definition(server, like, place, &mark).map_err(|e| match stand_in {
                Some(_) => e.hint(format!("To do without them drop '{like}', which has no rows of use.")),
                None if e.code() == Code::Temporary => e,
                None => e.hint("--single-transaction fills the database that is there, and needs neither."),
            })?,
            None => plain(place, &mark),
        };
        server
            .query_in("UTF8", plan.from(target), &definition)
            .map_err(|e| e.within(format!("cannot create database '{place}'")))?;
        if let Some(stand_in) = stand_in {
            // when it has all that the other one has, and not before
            server.query(&plan.entrance, &mark_in_place(place, name, plan.stamp))?;
            speech.say(&format!(
                "'{name}' gets the owner, settings and grants that it had before a restore in place"
            ));
            drop_one(server, &plan.entrance, &stand_in.name)?;
        }
    }
    let goes = |t: &&&Target| t.present.is_some() && plan.drops_first(t);
    if made.iter().any(|t| goes(&t)) {
        server.query(&plan.entrance, FLUSH).map_err(|e| e.within("cannot make room for what was created"))?;
    }
    for target in made.iter().filter(goes) {
        if let Some(live) = &target.present {
            // from here on it is all that has the owner, settings and grants of what is dropped
            let mark = mark_in_place(&target.place, &target.name, plan.stamp);
            server.query(plan.from(target), &mark)?;
            let sql = drop_database(plan.version, &target.name, live.is_template);
            server
                .query(plan.from(target), &sql)
                .map_err(|e| e.within(format!("cannot drop database '{}'", target.name)))?;
        }
    }
    Ok(())
}

/// Creates roles that own or are granted something, without login.
pub(crate) fn create_roles(plan: &Plan, server: &Server) -> Result<()> {
    let create = |roles: &BTreeSet<String>| -> String {
        roles.iter().map(|r| format!("CREATE ROLE {} NOLOGIN;\n", identifier(r))).collect()
    };
    if plan.left_out.created.is_empty() {
        return Ok(());
    }
    server.query(&plan.entrance, &create(&plan.left_out.created)).map(|_| ())
}

impl Plan {
    /// Whether what has the target's name now is dropped before the dump is loaded. The databases that every
    /// cluster has never are: one is where we begin.
    pub(crate) fn drops_first(&self, target: &Target) -> bool {
        self.way == Way::InPlace && !ALWAYS.contains(&target.name.as_str())
    }

    /// A database to be in while `target` is renamed or dropped: nobody may be connected to that, we
    /// neither.
    pub(crate) fn from(&self, target: &Target) -> &str {
        if target.name == self.entrance { "template1" } else { &self.entrance }
    }
}

/// The statements that make `place` with the server's defaults.
fn plain(place: &str, mark: &str) -> Vec<u8> {
    format!("CREATE DATABASE {} TEMPLATE template0;\n{mark}", identifier(place)).into_bytes()
}

/// The statements that make an empty database `place` like the database `like`, by pg_dump itself, behind those
/// that say how they are to be read. `mark` marks it as what it is.
pub(crate) fn definition(server: &Server, like: &str, place: &str, mark: &str) -> Result<Vec<u8>> {
    let dbname = format!("--dbname={}", literal_dbname(like));
    let run = server.via().run("pg_dump").connecting().args([
        "--create",
        "--schema-only",
        "--exclude-schema=*",
        &dbname,
    ]);
    let (ended, sql) = converse(&mut run.command(), "pg_dump", "")?;
    if !ended.ok() {
        let what = format!("cannot read the owner and settings of database '{like}'");
        let error = ended.error().within(what);
        return Err(error);
    }
    let mut statements = Vec::new();
    let mut present = Vec::new();
    let mut found = false;
    Lexer::default().feed(&sql, &mut |event| match event {
        Event::Sql { bytes, .. } => present.extend_from_slice(bytes),
        Event::SqlEnd { .. } => {
            let statement = classify(&present);
            let creates = matches!(statement, Statement::CreateDatabase(_));
            found |= creates;
            // the encoding and the backslashes of what follows are as these say
            if statement == Statement::Session {
                statements.append(&mut present);
                statements.push(b'\n');
            } else if creates || statement == Statement::OnDatabase {
                let comments = present.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'c'));
                if let Some((at, _)) = needs::database(&present) {
                    statements.extend_from_slice(&present[..at.start]);
                    statements.extend_from_slice(identifier(place).as_bytes());
                    statements.extend_from_slice(&present[at.end..]);
                    statements.push(b'\n');
                }
                // CREATE and COMMENT
                if comments {
                    statements.extend_from_slice(mark.as_bytes());
                }
            }
            present.clear();
        }
        _ => {}
    });
    Ok(if found { statements } else { plain(place, mark) })
}
