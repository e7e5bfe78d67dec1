//! Names of databases change hands in one step.
//!
//! All renames are one transaction: at any moment, also after kill -9, either none or all have
//! happened. While a database is renamed PostgreSQL lets nobody into it, so sessions that come back at
//! once wait for the end of the transaction, find the name changed, and come back to the new database.

pub(crate) mod undo;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::beside::{Beside, What, drop_database, list, unmark};
use kit::child::{interrupted, pause};
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::pg::{Server, identifier, literal};
use kit::stamp::Stamp;

use crate::plan::{Plan, Target};

/// What is said where a restore has failed and changed nothing.
pub(crate) const AS_IT_WAS: &str = "Every database is as it was.";

/// How long a name is waited for at a time: who waits for it keeps all others out.
const PATIENCE: &str = "SET LOCAL lock_timeout = '1s';\n";
/// How long others get in before it is waited for again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long between two rounds of ending sessions.
const ROUND: Duration = Duration::from_millis(20);

/// A database takes the name of another, or a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The name that it takes.
    pub(crate) name: String,
    /// Its name until then.
    pub(crate) place: String,
    /// The name of what has it until then.
    pub(crate) before: Option<String>,
}

/// Makes all exchanges in one transaction, in a session of database `from`, which is none of them.
fn exchange(server: &Server, from: &str, exchanges: &[Exchange], stamp: Stamp) -> Result<()> {
    let sql = renames(exchanges, stamp);
    let mut tried = 0;
    let outcome = loop {
        interrupted()?;
        tried += 1;
        match alone(server, from, exchanges, &sql) {
            Err(e) if tried < tries(&e) => pause(PAUSE)?,
            outcome => break outcome,
        }
    };
    let names: Vec<&str> = exchanges.iter().map(|e| e.name.as_str()).collect();
    outcome.map_err(|e| {
        let e = e.within(format!("cannot put into place: {}", names.join(", ")));
        match tries(&e) {
            1 => e,
            _ => e.hint("Stop what uses it, for example with --services or --stop."),
        }
    })
}

/// How often an exchange is tried that ended so.
fn tries(error: &Error) -> usize {
    let says = |words: &str| error.to_string().contains(words);
    // these do not end by themselves
    if says("prepared transaction") {
        1
    } else if says("is being accessed by other users") {
        // the server has waited for some seconds, and kept all others out
        3
    } else if says("lock timeout") {
        20
    } else {
        1
    }
}

fn renames(exchanges: &[Exchange], stamp: Stamp) -> String {
    let mut sql = format!("BEGIN;\n{PATIENCE}");
    for Exchange { name, place, before } in exchanges {
        let rename = |from: &str, to: &str| {
            format!("ALTER DATABASE {} RENAME TO {};\n", identifier(from), identifier(to))
        };
        if let Some(before) = before {
            sql.push_str(&rename(name, before));
            sql.push_str(&What::Before.mark(before, name, stamp));
        }
        sql.push_str(&unmark(place));
        sql.push_str(&rename(place, name));
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// Runs `sql` while the sessions of all that is renamed are ended again and again.
fn alone(server: &Server, from: &str, exchanges: &[Exchange], sql: &str) -> Result<()> {
    let names: Vec<String> = exchanges.iter().flat_map(|e| [literal(&e.name), literal(&e.place)]).collect();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}) \
        AND pid <> pg_backend_pid();",
        names.join(", ")
    );
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && server.query(from, &end).is_ok() {
                std::thread::sleep(ROUND);
            }
        });
        // once before: of what must not be ended, the server's own words are the ones to tell
        let outcome = server.query(from, &[&end, sql].join("\n")).map(drop);
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Makes all exchanges: in one step where a database stays that one can be in meanwhile, such as `vantage`.
pub(crate) fn exchange_all(
    server: &Server,
    vantage: &str,
    entrance: &str,
    exchanges: Vec<Exchange>,
    stamp: Stamp,
) -> Result<()> {
    let stays = |name: &&str| exchanges.iter().all(|e| e.name != *name);
    if let Some(from) = [vantage, entrance, "template1"].into_iter().find(stays) {
        return if exchanges.is_empty() { Ok(()) } else { exchange(server, from, &exchanges, stamp) };
    }
    // what we are in cannot be renamed: it has a turn of its own
    let (own, others): (Vec<_>, Vec<_>) = exchanges.into_iter().partition(|e| e.name == entrance);
    exchange(server, entrance, &others, stamp)?;
    exchange(server, "template1", &own, stamp)
}

/// Puts what was restored into place.
pub(crate) fn swap(plan: &Plan, server: &Server) -> Result<()> {
    // what was there may be gone by now, or have been made again
    let there = match plan.replaces() {
        true => server.query(&plan.entrance, "SELECT datname FROM pg_database;")?.concat(),
        false => Vec::new(),
    };
    let before = |t: &Target| t.present.is_some() && there.contains(&t.name);
    let exchange = |t: &Target| Exchange {
        name: t.name.clone(),
        place: t.place.clone(),
        before: before(t).then(|| What::Before.name(&t.name, plan.stamp)),
    };
    let exchanges = plan.targets.iter().map(exchange).collect();
    exchange_all(server, &plan.vantage, &plan.entrance, exchanges, plan.stamp)
}

/// Drops a database, also one that is a template.
pub(crate) fn drop_one(server: &Server, entrance: &str, name: &str) -> Result<()> {
    let templates = format!("SELECT datistemplate FROM pg_database WHERE datname = {};", literal(name));
    let is_template = server.query(entrance, &templates)?.concat().concat() == "t";
    let from = if name == entrance { "template1" } else { entrance };
    server.query(from, &drop_database(server.facts().version, name, is_template)).map(|_| ())
}

/// Drops databases beside others, those that `wanted` picks.
pub(crate) fn drop_beside(
    server: &Server,
    entrance: &str,
    speech: &Speech,
    wanted: impl Fn(&Beside) -> bool,
) -> Result<usize> {
    drop_each(server, entrance, speech, list(server, entrance)?.iter().filter(|b| wanted(b)))
}

pub(crate) fn drop_each<'a>(
    server: &Server,
    entrance: &str,
    speech: &Speech,
    all: impl Iterator<Item = &'a Beside>,
) -> Result<usize> {
    let mut dropped = 0;
    for beside in all {
        drop_one(server, entrance, &beside.name)
            .map_err(|e| e.within(format!("cannot drop database '{}'", beside.name)))?;
        let size = kit::out::bytes(beside.bytes);
        speech.say(&match beside.what {
            What::Restore => format!("removed {}, left by a restore that did not end", beside.name),
            What::Before => format!("dropped {} ({size})", beside.name),
        });
        dropped += 1;
    }
    Ok(dropped)
}
