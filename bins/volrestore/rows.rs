//! Rows of the largest tables before and after a restore, beside those that a dump's manifest tells of, so
//! that people see whether the right moment came back. It decides nothing: what nobody answers is a dash.

use std::path::Path;
use std::time::{Duration, Instant};

use kit::catalog::{self, Backup};
use kit::exit::Result;
use kit::manifest::{Item, each_item};
use kit::out::{self, Speech};
use kit::pg::{Server, identifier};
use kit::volume::set::Set;

use crate::replicas::answering;

/// How many tables are told of.
const TABLES: usize = 5;
/// How long a server that answered before may take until it does again.
const PATIENCE: Duration = Duration::from_secs(60);
/// What takes longer is not worth waiting for.
const LIMIT: &str = "SET statement_timeout = '10s';";

/// The tables, and their rows so far.
pub(crate) struct Rows {
    /// The system identifier of the server.
    server: String,
    dump: Backup,
    tables: Vec<Item>,
    /// `None`: the server did not answer.
    before: Option<Vec<Option<String>>>,
}

impl Rows {
    /// Counts what is there now, if a proven dump of the server is in the directory: of several the one nearest
    /// to the snapshot in time.
    pub(crate) fn before(backups: &Path, set: &Set) -> Option<Self> {
        let (server, created) = (set.system_identifier.clone()?, set.created()?);
        let mut dumps = catalog::scan(backups, None).ok()?;
        dumps.retain(|dump| {
            let of = dump.manifest.as_ref().and_then(|m| m.source.system_identifier.as_ref());
            dump.fault.is_none() && of == Some(&server)
        });
        let dump = dumps.into_iter().min_by_key(|dump| dump.time.unix().abs_diff(created.unix()))?;
        let tables = largest(&dump).ok().filter(|tables| !tables.is_empty())?;
        let mut rows = Rows { server, dump, tables, before: None };
        rows.before = answering(&rows.server).map(|server| rows.count(&server));
        Some(rows)
    }

    /// Counts again, once the server has been started, and tells all.
    pub(crate) fn tell(self, speech: &Speech) {
        let until = Instant::now() + self.before.as_ref().map_or(Duration::ZERO, |_| PATIENCE);
        let after = loop {
            match answering(&self.server) {
                None if Instant::now() < until && kit::child::pause(Duration::from_millis(500)).is_ok() => {}
                server => break server.map(|server| self.count(&server)),
            }
        };
        if self.before.is_none() && after.is_none() {
            return;
        }
        for (i, table) in self.tables.iter().enumerate() {
            let cell = |rows: &Option<Vec<Option<String>>>| {
                rows.as_ref().and_then(|rows| rows.get(i)?.clone()).unwrap_or("-".into())
            };
            speech.say(&format!(
                "rows of {} in {}: {} before, {} now, {} in {}",
                out::plain(&table.full_name()),
                out::plain(self.database(table)),
                cell(&self.before),
                cell(&after),
                table.rows.unwrap_or_default(),
                self.dump.name
            ));
        }
    }

    fn count(&self, server: &Server) -> Vec<Option<String>> {
        let count = |table: &Item| {
            let schema = table.schema.as_ref().map_or(String::new(), |s| format!("{}.", identifier(s)));
            // as a dump does, without the rows of tables that inherit from it
            let sql = format!("{LIMIT} SELECT count(*) FROM ONLY {schema}{};", identifier(&table.name));
            server.query(self.database(table), &sql).ok()?.into_iter().flatten().next()
        };
        self.tables.iter().map(count).collect()
    }

    fn database<'a>(&'a self, table: &'a Item) -> &'a str {
        let only = || self.dump.manifest.as_ref()?.source.databases.first();
        table.database.as_ref().or_else(only).map_or("", String::as_str)
    }
}

/// The tables with the most rows in a dump, the largest first.
fn largest(dump: &Backup) -> Result<Vec<Item>> {
    let mut tables: Vec<Item> = Vec::new();
    each_item(&dump.path, &mut |item| {
        let rows = item.rows;
        if rows.is_some() {
            let at = tables.partition_point(|table| table.rows >= rows);
            tables.insert(at, item);
            tables.truncate(TABLES);
        }
        Ok(())
    })?;
    Ok(tables)
}
