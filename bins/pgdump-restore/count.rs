//! The proof of a restore: every table has as many rows as the dump.

use std::collections::HashSet;

use kit::dump::scan::display;
use kit::dump::statement::Qualified;
use kit::exit::{Error, Result};
use kit::out::{self, Speech};
use kit::pg::{Server, identifier};

use crate::check::Table;

/// How many tables one question asks for.
const BATCH: usize = 200;
/// How many tables that differ are told one by one.
const TOLD: usize = 10;

/// Counts the rows of `tables` in `database`. How many tables were counted.
pub(crate) fn count(server: &Server, database: &str, tables: &[&Table], speech: &Speech) -> Result<usize> {
    let partitioned = partitioned(server, database)?;
    let (mut differing, mut counted) = (Vec::new(), 0);
    for batch in tables.chunks(BATCH) {
        let mut questions = Vec::new();
        for (i, table) in batch.iter().enumerate() {
            match relation(&table.table) {
                Some(name) => {
                    // a COPY holds a table's own rows, not those of its children
                    let only = if partitioned.contains(&name) { "" } else { "ONLY " };
                    questions.push(format!("SELECT {i}, count(*) FROM {only}{name}"));
                }
                None => speech.warn(&format!(
                    "warning: the rows of {} cannot be counted: its name is not in UTF-8",
                    display(&table.table)
                )),
            }
        }
        if questions.is_empty() {
            continue;
        }
        counted += questions.len();
        let sql = format!("SET row_security = off;\n{};", questions.join("\nUNION ALL "));
        for row in server.query(database, &sql)? {
            let number = |i: usize| row.get(i).and_then(|n| n.parse::<u64>().ok());
            let (Some(i), Some(rows)) = (number(0), number(1)) else {
                return Err(Error::no(format!("cannot count the rows in database '{database}'")));
            };
            let Some(table) = batch.get(i as usize) else { continue };
            if rows != table.rows {
                differing.push(format!(
                    "{} has {} rows, the dump {}",
                    display(&table.table),
                    out::count(rows),
                    out::count(table.rows)
                ));
            }
        }
    }
    if differing.is_empty() {
        return Ok(counted);
    }
    let more = differing.len().saturating_sub(TOLD);
    differing.truncate(TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(Error::no(format!("database '{database}' differs from the dump: {}{more}", differing.join("; "))))
}

/// The table as SQL names it; `None` where its name is in no encoding we know.
fn relation(table: &Qualified) -> Option<String> {
    let name = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(identifier);
    let schema =
        table.schema.as_deref().map_or(Some("public".to_owned()).as_deref().map(identifier), name)?;
    Some(format!("{schema}.{}", name(&table.name)?))
}

fn partitioned(server: &Server, database: &str) -> Result<HashSet<String>> {
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'p';";
    let rows = server.query(database, sql)?;
    Ok(rows
        .iter()
        .filter_map(|r| Some(format!("{}.{}", identifier(r.first()?), identifier(r.get(1)?))))
        .collect())
}
