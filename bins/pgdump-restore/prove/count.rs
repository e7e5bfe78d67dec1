//! The proof of a restore: every table has as many rows as the dump.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use kit::dump::scan::display;
use kit::dump::statement::Qualified;
use kit::exit::{Error, Result};
use kit::out;
use kit::pg::{Server, literal};

use crate::check::Table;
use crate::session::unhelped;
use crate::tables::stream::quoted;

/// How many tables one question asks for, at most.
const BATCH: usize = 200;
/// How many tables that differ are told one by one.
const TOLD: usize = 10;

/// Counts the rows of `tables` in `database`, in `jobs` sessions. `encoding`: that of the names, or none
/// where it is the database's. How many tables were counted.
pub(crate) fn count(
    server: &Server,
    database: &str,
    encoding: Option<&str>,
    tables: &[Table],
    jobs: usize,
) -> Result<usize> {
    let encoding = encoding_of(server, database, encoding)?;
    let partitioned = partitioned(server, database, &encoding)?;
    let batches = batches(tables, jobs);
    let begin = format!("SET row_security = off;\n{}", unhelped(server, jobs.min(batches.len())));
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, String)>> {
        let mut differing = Vec::new();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            differing.extend(ask(server, database, &encoding, &begin, &partitioned, tables, batch.clone())?);
        }
        Ok(differing)
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..jobs.clamp(1, batches.len().max(1))).map(|_| scope.spawn(work)).collect();
        sessions.into_iter().map(ScopedJoinHandle::join).collect()
    });
    let mut differing = Vec::new();
    for outcome in outcomes {
        differing.extend(outcome.map_err(|_| Error::no("a session ended before its time"))??);
    }
    differing.sort();
    let mut differing: Vec<String> = differing.into_iter().map(|(_, text)| text).collect();
    if differing.is_empty() {
        return Ok(tables.len());
    }
    let more = differing.len().saturating_sub(TOLD);
    differing.truncate(TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Err(Error::no(format!("database '{database}' differs from the dump: {}{more}", differing.join("; "))))
}

/// The encoding of the names, where the dump says none.
pub(super) fn encoding_of(server: &Server, database: &str, encoding: Option<&str>) -> Result<String> {
    match encoding {
        Some(encoding) => Ok(encoding.to_owned()),
        None => Ok(server.query(database, "SHOW server_encoding;")?.concat().concat()),
    }
}

/// Tables that one question asks for: not more than a share of all rows, so that nobody waits for long for
/// the last one.
fn batches(tables: &[Table], jobs: usize) -> Vec<Range<usize>> {
    let fair = tables.iter().map(|t| t.rows).sum::<u64>() / (2 * jobs.max(1) as u64);
    let (mut batches, mut start, mut rows) = (Vec::new(), 0, 0);
    for (i, table) in tables.iter().enumerate() {
        rows += table.rows;
        if rows > fair || i + 1 - start == BATCH || i + 1 == tables.len() {
            batches.push(start..i + 1);
            (start, rows) = (i + 1, 0);
        }
    }
    batches
}

/// What differs of some of the tables, with their places.
fn ask(
    server: &Server,
    database: &str,
    encoding: &str,
    begin: &str,
    partitioned: &HashSet<String>,
    tables: &[Table],
    batch: Range<usize>,
) -> Result<Vec<(usize, String)>> {
    let mut questions = Vec::new();
    for i in batch.clone() {
        let table = &tables[i].table;
        // a COPY holds a table's own rows, not those of its children
        let only = if partitioned.contains(&hex(table)) { "" } else { "ONLY " };
        let count = format!("SELECT {i}, count(*) FROM {only}");
        questions.push([count.as_bytes(), &quoted(table)].concat());
    }
    let questions = questions.join(&b"\nUNION ALL "[..]);
    let sql = [begin.as_bytes(), questions.as_slice(), b";"].concat();
    let mut differing = Vec::new();
    let answers = server.query_in(encoding, database, &sql)?;
    if answers.len() != batch.len() {
        return Err(unanswered(database));
    }
    for row in answers {
        let number = |i: usize| row.get(i).and_then(|n| n.parse::<u64>().ok());
        let (Some(i), Some(rows)) = (number(0), number(1)) else { return Err(unanswered(database)) };
        let Some(table) = tables.get(i as usize) else { return Err(unanswered(database)) };
        if rows != table.rows {
            let (name, rows, want) = (display(&table.table), out::count(rows), out::count(table.rows));
            differing.push((i as usize, format!("{name} has {rows} rows, the dump {want}")));
        }
    }
    Ok(differing)
}

fn unanswered(database: &str) -> Error {
    Error::no(format!("cannot count the rows in database '{database}'"))
}

/// The partitioned tables, by their names in hexadecimal: in an encoding that is no superset of ASCII, a name
/// read as text is another.
pub(super) fn partitioned(server: &Server, database: &str, encoding: &str) -> Result<HashSet<String>> {
    let hex = |name: &str| format!("encode(convert_to({name}, {}), 'hex')", literal(encoding));
    let (schema, name) = (hex("n.nspname"), hex("c.relname"));
    let sql = format!(
        "SELECT {schema} || '.' || {name} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'p';"
    );
    Ok(server.query(database, &sql)?.into_iter().flatten().collect())
}

/// A table as `partitioned` names it.
pub(super) fn hex(table: &Qualified) -> String {
    let hex = |name: &[u8]| name.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    [table.schema.as_deref().unwrap_or(b"public"), &table.name].map(hex).join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_one_batch() {
        for (rows, jobs, want) in [
            (&[][..], 2, &[][..]),
            (&[9, 0], 2, &[0..1, 1..2][..]),
            (&[100, 1, 1, 1], 2, &[0..1, 1..4]),
            (&[10, 10, 10, 10], 1, &[0..3, 3..4]),
            (&[10, 10, 10, 10], 0, &[0..3, 3..4]),
        ] {
            let table = |rows: &u64| Table { rows: *rows, ..Table::default() };
            let tables: Vec<Table> = rows.iter().map(table).collect();
            assert_eq!(batches(&tables, jobs), want, "{rows:?}");
        }
        let many: Vec<Table> = (0..450).map(|_| Table::default()).collect();
        assert_eq!(batches(&many, 2), [0..200, 200..400, 400..450]);
    }
}
