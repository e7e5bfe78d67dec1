//! The proof of a restore: every table has as many rows as the dump.

use std::collections::HashSet;

use kit::dump::scan::display;
use kit::exit::{Error, Result};
use kit::out;
use kit::pg::Server;

use crate::check::Table;
use crate::tables::stream::quoted;

/// How many tables one question asks for.
const BATCH: usize = 200;
/// How many tables that differ are told one by one.
const TOLD: usize = 10;

/// Counts the rows of `tables` in `database`. How many tables were counted.
pub(crate) fn count(server: &Server, database: &str, tables: &[Table]) -> Result<usize> {
    // the dump names its tables in the encoding of its database
    let encoding = server.query(database, "SHOW server_encoding;")?.concat().concat();
    let partitioned = partitioned(server, database)?;
    let (mut differing, mut counted) = (Vec::new(), 0);
    for batch in tables.chunks(BATCH) {
        let mut questions = Vec::new();
        for (i, table) in batch.iter().enumerate() {
            // a COPY holds a table's own rows, not those of its children
            let only = if partitioned.contains(&display(&table.table)) { "" } else { "ONLY " };
            let count = format!("SELECT {i}, count(*) FROM {only}");
            questions.push([count.as_bytes(), &quoted(&table.table)].concat());
        }
        counted += questions.len();
        let questions = questions.join(&b"\nUNION ALL "[..]);
        let sql = [b"SET row_security = off;\n", questions.as_slice(), b";"].concat();
        for row in server.query_in(&encoding, database, &sql)? {
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

fn partitioned(server: &Server, database: &str) -> Result<HashSet<String>> {
    let sql = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind = 'p';";
    let rows = server.query(database, sql)?;
    Ok(rows.iter().filter_map(|r| Some(format!("{}.{}", r.first()?, r.get(1)?))).collect())
}
