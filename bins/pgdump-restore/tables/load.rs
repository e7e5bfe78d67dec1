//! Tables on their way into the database: what of the dump goes there, and in which way.

use std::process::{Command, Stdio};

use kit::child::Child;
use kit::exit::{Error, Result};
use kit::out::Speech;
use kit::pg::Server;
use kit::source::Dump;

use super::stream::{Load, stream};
use super::{Found, There, input, inspect, sql};
use crate::cli::{Args, Table};
use crate::session::Session;

/// Loads all of it in a transaction, to be committed: every row is there. How many tables and rows.
pub(super) fn load(
    args: &Args,
    chosen: &Dump,
    server: &Server,
    database: &str,
    found: &Found,
    speech: &Speech,
) -> Result<(Session, usize, u64)> {
    let Found { present, parts, missing } = found;
    let mut session = Session::start(server, database)?;
    session.write(sql::begin(&args.table, present).as_bytes())?;
    let mut loads: Vec<Load> = Vec::new();
    if !present.is_empty() {
        let all = missing.is_empty();
        let patterns = if all { args.tables.clone() } else { present.iter().map(There::sql).collect() };
        let part = Args { tables: patterns, only: args.only.clone(), ..Args::default() };
        let command = inspect(&part, chosen, &["extract", "--data-only"])?;
        let into = [&present[..], parts].concat();
        run(command, chosen, &mut session, &args.table, &into, &mut loads, speech)?;
    }
    if !missing.is_empty() {
        let part = Args { tables: missing.to_vec(), only: args.only.clone(), ..Args::default() };
        let mut words = vec!["extract"];
        match &args.table {
            Table::As(new) => words.extend(["--rename", new]),
            _ => words.push("--keep-keys"),
        }
        let command = inspect(&part, chosen, &words)?;
        let how = if matches!(args.table, Table::As(_)) { &args.table } else { &Table::New };
        run(command, chosen, &mut session, how, &[], &mut loads, speech)?;
    }
    // what adds to a table adds something
    if loads.is_empty() && matches!(args.table, Table::Upsert | Table::Append) {
        return Err(Error::refused(format!("'{}' holds no rows of what is asked for", chosen.name)));
    }
    session.write(&sql::end(&loads, args.table == Table::Upsert))?;
    // what fails, fails here, and not with the commit
    session.sync()?;
    Ok((session, loads.len(), loads.iter().map(|l| l.rows).sum()))
}

/// Runs `extract` into the session.
fn run(
    mut command: Command,
    chosen: &Dump,
    session: &mut Session,
    how: &Table,
    present: &[There],
    loads: &mut Vec<Load>,
    speech: &Speech,
) -> Result<()> {
    let mut child = Child::spawn(&mut command, "dump-inspect", input(chosen)?, Stdio::piped())?;
    let output = child.stdout().ok_or_else(|| Error::no("cannot read from dump-inspect"))?;
    let streamed = stream(output, session, how, present, loads);
    let ended = child.wait()?;
    // what it gives when it fails psql does not take; when psql takes no more, it ends in peace
    if !ended.ok() {
        return Err(ended.told());
    }
    streamed?;
    for line in &ended.stderr {
        speech.warn(line.strip_prefix("dump-inspect: ").unwrap_or(line));
    }
    Ok(())
}
