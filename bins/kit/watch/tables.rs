//! What became of each table between two backups, by their tables of contents.
//!
//! Some 50 bytes a table are held, not its name: there may be a million of them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use super::is_fewer;
use crate::catalog::Backup;
use crate::exit::Result;
use crate::manifest::{Item, each_item};
use crate::out;

/// How many tables are named; the others are counted.
const NAMED: usize = 10;

/// A table and its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `database.schema.table`, as far as the dump names them.
    pub name: String,
    /// Rows in the earlier backup.
    pub before: u64,
    /// Rows in the later one.
    pub now: u64,
}

/// Some tables: those that lost most rows by name, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// The first of them, those that lost most rows first.
    pub tables: Vec<Table>,
    /// All of them.
    pub count: usize,
}

/// What became of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// No longer there.
    pub lost: Tables,
    /// There, with too few rows.
    pub fewer: Tables,
}

impl Tables {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, table: Table) {
        self.count += 1;
        let loss = |t: &Table| t.before - t.now.min(t.before);
        let at = self.tables.partition_point(|t| loss(t) >= loss(&table));
        self.tables.insert(at, table);
        self.tables.truncate(NAMED);
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, table) in self.tables.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let (before, now) = (out::count(table.before), out::count(table.now));
            write!(f, "{comma}{} ({before} rows before, {now} now)", table.name)?;
        }
        match self.count - self.tables.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The lost tables that were told of, so that each is told of once.
pub type Told = HashSet<u64>;

/// Compares the tables of two backups that have manifests. Without `percent` rows do not matter. What is lost and
/// not in `told` is told, and goes there.
pub fn compare_manifests(
    before: &Backup,
    now: &Backup,
    percent: Option<u8>,
    told: &mut Told,
) -> Result<Changed> {
    // a table that grows while it is filled is there twice for a moment; nobody's word is taken for more
    let room = before.manifest.as_ref().map_or(0, |m| m.tables).min(1 << 20) as usize;
    compare(room, |each| each_item(&before.path, each), |each| each_item(&now.path, each), percent, told)
}

/// Hands each line of a table of contents to what it is given.
type Each<'a> = &'a mut dyn FnMut(Item) -> Result<()>;

fn compare(
    room: usize,
    mut before: impl FnMut(Each<'_>) -> Result<()>,
    mut now: impl FnMut(Each<'_>) -> Result<()>,
    percent: Option<u8>,
    told: &mut Told,
) -> Result<Changed> {
    #[derive(Default)]
    struct Rows {
        before: u64,
        /// One more than the rows, for a table that is there.
        now: u64,
    }
    let mut rows: HashMap<u64, Rows> = HashMap::with_capacity(room);
    before(&mut |item| {
        if let Some(key) = key(&item) {
            rows.entry(key).or_default().before += item.rows.unwrap_or(0);
        }
        Ok(())
    })?;
    now(&mut |item| {
        if let Some(rows) = key(&item).and_then(|key| rows.get_mut(&key)) {
            rows.now = rows.now.max(1) + item.rows.unwrap_or(0);
        }
        Ok(())
    })?;
    let mut changed = Changed::default();
    rows.retain(|key, rows| match rows.now.checked_sub(1) {
        None => told.insert(*key),
        Some(now) => percent.is_some_and(|p| is_fewer(now, rows.before, p)),
    });
    if rows.is_empty() {
        return Ok(changed);
    }
    before(&mut |item| {
        // a table has several lines; the first tells all
        let Some(rows) = key(&item).and_then(|key| rows.remove(&key)) else { return Ok(()) };
        let table = |now| Table { name: name(&item), before: rows.before, now };
        match rows.now.checked_sub(1) {
            None => changed.lost.add(table(0)),
            Some(now) => changed.fewer.add(table(now)),
        }
        Ok(())
    })?;
    Ok(changed)
}

/// What stands for a table; `None` for what is none.
fn key(item: &Item) -> Option<u64> {
    let is_table = ["TABLE", "TABLE DATA"].contains(&item.kind.as_str());
    let text = || serde_json::to_vec(&(&item.database, &item.schema, &item.name)).ok();
    is_table.then(text).flatten().map(|text| xxh3_64(&text))
}

fn name(item: &Item) -> String {
    item.database.as_ref().map_or(item.full_name(), |d| format!("{d}.{}", item.full_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(list: &[(&str, &str, u64)]) -> Vec<Item> {
        let item = |(kind, name, rows): &(&str, &str, u64)| Item {
            schema: Some("public".into()),
            kind: (*kind).into(),
            name: (*name).into(),
            rows: (*kind == "TABLE DATA").then_some(*rows),
            ..Item::default()
        };
        list.iter().map(item).collect()
    }

    fn changed(before: &[(&str, &str, u64)], now: &[(&str, &str, u64)], percent: Option<u8>) -> Changed {
        let feed = |list: Vec<Item>| move |each: Each<'_>| list.iter().cloned().try_for_each(each);
        compare(0, feed(items(before)), feed(items(now)), percent, &mut Told::new()).unwrap()
    }

    #[test]
    fn tables_that_vanish_and_tables_that_shrink() {
        let before = [
            ("TABLE", "kept", 0),
            ("TABLE", "gone", 0),
            ("TABLE", "less", 0),
            ("TABLE", "empty", 0),
            ("INDEX", "gone_too", 0),
            ("TABLE DATA", "kept", 500),
            ("TABLE DATA", "gone", 7),
            // rows of a partitioned load come in runs
            ("TABLE DATA", "less", 500),
            ("TABLE DATA", "less", 500),
            ("TABLE DATA", "empty", 3),
        ];
        let now = [
            ("TABLE", "kept", 0),
            ("TABLE", "less", 0),
            ("TABLE", "empty", 0),
            ("TABLE", "fresh", 0),
            ("TABLE DATA", "kept", 450),
            ("TABLE DATA", "less", 300),
            ("TABLE DATA", "less", 300),
            ("TABLE DATA", "empty", 0),
        ];
        let all = changed(&before, &now, Some(30));
        assert_eq!(all.lost.to_string(), "public.gone (7 rows before, 0 now)");
        assert_eq!(
            all.fewer.to_string(),
            "public.less (1,000 rows before, 600 now), public.empty (3 rows before, 0 now)"
        );
        assert!(changed(&before, &now, None).fewer.is_empty());
        assert_eq!(changed(&before, &now, Some(50)).fewer.count, 1);
        assert_eq!(changed(&now, &now, Some(0)), Changed::default());
    }

    #[test]
    fn of_many_the_worst_are_named() {
        let names: Vec<String> = (0..100).map(|i| format!("t{i}")).collect();
        let before: Vec<_> =
            names.iter().zip(1..).map(|(n, rows)| ("TABLE DATA", n.as_str(), rows)).collect();
        let lost = changed(&before, &[], None).lost;
        assert_eq!((lost.count, lost.tables.len(), lost.tables[0].before), (100, NAMED, 100));
        assert!(lost.to_string().ends_with(" and 90 more"));
    }
}
