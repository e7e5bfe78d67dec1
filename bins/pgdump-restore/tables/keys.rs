//! Foreign keys that a dropped table took along: those of tables that stayed, so that the statements which
//! bring the table back do not bring them.

use kit::exit::Result;
use kit::pg::Server;
use kit::source::Dump;
use serde_json::Value;

use super::{Found, Listed, ask, text};
use crate::cli::{Args, Table};

/// Foreign keys of the dump that tables of the database do not have, where tables were made anew. Some may
/// have been dropped on purpose; nobody but the user knows.
pub(super) fn lost(
    args: &Args,
    chosen: &Dump,
    listed: &[Listed],
    found: &Found,
    server: &Server,
    database: &str,
) -> Result<Vec<String>> {
    if found.missing.is_empty() || matches!(args.table, Table::As(_)) {
        return Ok(Vec::new());
    }
    let sql = "SELECT n.nspname, r.relname, c.conname FROM pg_class r JOIN pg_namespace n ON n.oid = relnamespace \
        LEFT JOIN pg_constraint c ON c.conrelid = r.oid AND c.contype = 'f' WHERE r.relkind IN ('r', 'p');";
    let there = server.query(database, sql)?;
    let all = Args { only: args.only.clone(), ..Args::default() };
    let output = ask(&all, chosen, &["toc", "--json"])?;
    let mut lost = Vec::new();
    for item in String::from_utf8_lossy(&output).lines().filter_map(|l| serde_json::from_str::<Value>(l).ok())
    {
        let [schema, table, name] = ["schema", "table", "name"].map(|field| text(&item, field));
        let is_here = listed.first().is_some_and(|l| l.database == text(&item, "database"));
        let of_table = || there.iter().filter(|row| row[..2] == [schema.as_str(), &table]);
        if text(&item, "kind") == "FK CONSTRAINT"
            && is_here
            && of_table().next().is_some()
            && of_table().all(|row| row[2] != name)
        {
            lost.push(format!("{name} of {schema}.{table}"));
        }
    }
    Ok(lost)
}
