//! Names of databases change hands in one step.
//!
//! All renames are one transaction: at any moment, also after kill -9, either none or all have
//! happened. While a database is renamed PostgreSQL lets nobody into it, so sessions that come back at
//! once wait for the end of the transaction, find the name changed, and come back to the new database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::beside::{Beside, What, drop_database, list, unmark};
use kit::child::{clean_up, interrupted};
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::pg::{Server, identifier, literal};
use kit::stamp::Stamp;

use crate::cli::Way;
use crate::plan::Plan;

/// How often it is tried while somebody stays in.
const TRIES: usize = 3;
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
pub(crate) fn exchange(server: &Server, from: &str, exchanges: &[Exchange], stamp: Stamp) -> Result<()> {
    let sql = renames(exchanges, stamp);
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        interrupted()?;
        outcome =
            alone(server, from, exchanges, || server.query_in("UTF8", from, sql.as_bytes()).map(|_| ()));
        match &outcome {
            Err(e) if e.to_string().contains("is being accessed by other users") => {}
            _ => break,
        }
    }
    let names: Vec<&str> = exchanges.iter().map(|e| e.name.as_str()).collect();
    outcome.map_err(|e| {
        let e = e.within(format!("cannot put into place: {}", names.join(", ")));
        match e.to_string().contains("is being accessed") {
            true => e.hint("Stop what uses it, for example with --services or --stop."),
            false => e,
        }
    })
}

fn renames(exchanges: &[Exchange], stamp: Stamp) -> String {
    let mut sql = String::from("BEGIN;\n");
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

/// Runs `work` while the sessions of all that is renamed are ended again and again.
fn alone(
    server: &Server,
    from: &str,
    exchanges: &[Exchange],
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let names: Vec<String> = exchanges.iter().flat_map(|e| [literal(&e.name), literal(&e.place)]).collect();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}) \
        AND pid <> pg_backend_pid();",
        names.join(", ")
    );
    // once before: of what must not be ended, the server's own words are the ones to tell
    server.query(from, &end)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && server.query(from, &end).is_ok() {
                std::thread::sleep(ROUND);
            }
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Puts what was restored into place.
pub(crate) fn swap(plan: &Plan, server: &Server) -> Result<()> {
    // what we begin in cannot be renamed from within: it has a turn of its own
    let (own, others): (Vec<_>, Vec<_>) = plan.targets.iter().partition(|t| t.name == plan.entrance);
    for targets in [others, own] {
        let Some(first) = targets.first() else { continue };
        let exchanges: Vec<Exchange> = targets
            .iter()
            .map(|t| Exchange {
                name: t.name.clone(),
                place: t.place.clone(),
                before: t
                    .present
                    .as_ref()
                    .filter(|_| plan.way == Way::Swap)
                    .map(|_| What::Before.name(&t.name, plan.stamp)),
            })
            .collect();
        exchange(server, plan.from(first), &exchanges, plan.stamp)?;
    }
    Ok(())
}

/// Removes what a failed restore has made. The names of what stays all the same.
pub(crate) fn remove_places(plan: &Plan, server: &Server) -> Vec<String> {
    if plan.way == Way::Transaction {
        return Vec::new();
    }
    clean_up(|| {
        let drops = |name: &str| server.query(&plan.entrance, &drop_database(plan.version, name, false));
        let there = list(server, &plan.entrance).unwrap_or_default();
        let is_there = |place: &String| there.iter().any(|b| b.name == *place);
        let places = plan.targets.iter().map(|t| &t.place);
        // a template cannot be dropped as it is; the next restore says so
        places.filter(|p| is_there(p) && drops(p).is_err()).cloned().collect()
    })
}

/// Drops databases beside others, those that `wanted` picks.
pub(crate) fn drop_beside(
    server: &Server,
    entrance: &str,
    speech: &Speech,
    wanted: impl Fn(&Beside) -> bool,
) -> Result<usize> {
    let mut dropped = 0;
    for beside in list(server, entrance)?.iter().filter(|b| wanted(b)) {
        let templates =
            format!("SELECT datistemplate FROM pg_database WHERE datname = {};", literal(&beside.name));
        let is_template = server.query(entrance, &templates)?.concat().concat() == "t";
        let from = if beside.name == entrance { "template1" } else { entrance };
        server
            .query(from, &drop_database(server.facts().version, &beside.name, is_template))
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

/// The error of a restore that has failed: what was there is as it was, or is gone.
pub(crate) fn explain(plan: &Plan, server: &Server, error: Error) -> Error {
    let left = remove_places(plan, server);
    let error = match left.as_slice() {
        [] => error,
        left => error.hint(format!("Left over, and removed by the next restore: {}.", left.join(", "))),
    };
    let gone: Vec<&str> = plan
        .targets
        .iter()
        .filter(|t| t.present.is_some() && plan.way == Way::InPlace)
        .map(|t| t.name.as_str())
        .collect();
    if gone.is_empty() {
        return error.hint("Every database is as it was.");
    }
    error.hint(format!("Dropped before: {}, if the restore had come so far.", gone.join(", ")))
}
