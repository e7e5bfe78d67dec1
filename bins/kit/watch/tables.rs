//! What became of each table since the backups before, by their tables of contents.
//!
//! Some 40 bytes a table are held, not its name: there may be a million of them.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZero;

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

/// What counts as a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    /// A table has fewer rows by more than so many percent.
    pub percent: Option<u8>,
    /// … when it had so many at least, or has none left.
    pub least: u64,
    /// A table is no longer there.
    pub tables: bool,
}

/// What the tables of a backup have lost against those of the backups before it (newest first, all with manifests):
/// for each of these what is held against it, so that a table is told of once.
///
/// Of each table by itself the last backup in which it had not lost its rows is the measure: that of the night
/// before knows nothing of what went earlier.
pub fn compare_manifests(before: &[&Backup], now: &Backup, losses: Losses) -> Result<Vec<Changed>> {
    let read = |backup: &Backup, each: Each<'_>| each_item(&backup.path, each);
    compare(before.len(), |i, each| read(before[i], each), |each| read(now, each), losses)
}

/// Hands each line of a table of contents to what it is given.
type Each<'a> = &'a mut dyn FnMut(Item) -> Result<()>;

/// Rows of a table that is there; `None` of one that is not.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen(Option<NonZero<u64>>);

impl Seen {
    fn rows(self) -> Option<u64> {
        self.0.map(|n| n.get() - 1)
    }

    /// A table may have several lines.
    fn add(&mut self, item: &Item) {
        let rows = self.rows().unwrap_or(0).saturating_add(item.rows.unwrap_or(0));
        self.0 = NonZero::new(rows.saturating_add(1));
    }
}

/// What is known of a table.
#[derive(Default)]
struct Rows {
    /// In its measure.
    base: Seen,
    /// In the backup that is being read.
    here: Seen,
    /// In the backup that is judged.
    now: Seen,
}

fn compare(
    count: usize,
    mut before: impl FnMut(usize, Each<'_>) -> Result<()>,
    mut now: impl FnMut(Each<'_>) -> Result<()>,
    losses: Losses,
) -> Result<Vec<Changed>> {
    let is_loss =
        |now, before| losses.percent.is_some_and(|percent| is_fewer(now, before, percent, losses.least));
    let mut tables: HashMap<u64, Rows> = HashMap::new();
    for i in (0..count).rev() {
        before(i, &mut |item| {
            key(&item).into_iter().for_each(|key| tables.entry(key).or_default().here.add(&item));
            Ok(())
        })?;
        for rows in tables.values_mut() {
            let here = std::mem::take(&mut rows.here);
            let loss = here.rows().map(|here| rows.base.rows().is_some_and(|base| is_loss(here, base)));
            if loss == Some(false) {
                rows.base = here;
            }
        }
    }
    now(&mut |item| {
        key(&item).and_then(|key| tables.get_mut(&key)).into_iter().for_each(|rows| rows.now.add(&item));
        Ok(())
    })?;
    tables.retain(|_, Rows { base, now, .. }| {
        now.rows().map_or(losses.tables, |now| is_loss(now, base.rows().unwrap_or(0)))
    });
    (0..count).map(|i| attributed(&mut tables, |each| before(i, each))).collect()
}

/// Takes those out of `lost` that have their measure in the backup that `read` reads; a table that is gone has it in
/// the newest that had it.
fn attributed(
    lost: &mut HashMap<u64, Rows>,
    mut read: impl FnMut(Each<'_>) -> Result<()>,
) -> Result<Changed> {
    let mut changed = Changed::default();
    if lost.is_empty() {
        return Ok(changed);
    }
    read(&mut |item| {
        key(&item).and_then(|key| lost.get_mut(&key)).into_iter().for_each(|rows| rows.here.add(&item));
        Ok(())
    })?;
    for rows in lost.values_mut() {
        if rows.now.rows().is_some() && rows.here != rows.base {
            rows.here = Seen::default();
        }
    }
    read(&mut |item| {
        // of several lines the first tells all
        let Some(key) = key(&item) else { return Ok(()) };
        let Some(before) = lost.get(&key).and_then(|rows| rows.here.rows()) else { return Ok(()) };
        let now = lost.remove(&key).and_then(|rows| rows.now.rows());
        let table = Table { name: name(&item), before, now: now.unwrap_or(0) };
        if now.is_some() {
            changed.fewer.add(table)
        } else {
            changed.lost.add(table)
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

    fn losses(percent: Option<u8>) -> Losses {
        Losses { percent, least: 100, tables: true }
    }

    /// The backups before come newest first.
    fn all_changed(
        before: &[&[(&str, &str, u64)]],
        now: &[(&str, &str, u64)],
        percent: Option<u8>,
    ) -> Vec<Changed> {
        let feed = |list: &[_], each: Each<'_>| items(list).into_iter().try_for_each(each);
        compare(before.len(), |i, each| feed(before[i], each), |each| feed(now, each), losses(percent))
            .unwrap()
    }

    fn changed(before: &[(&str, &str, u64)], now: &[(&str, &str, u64)], percent: Option<u8>) -> Changed {
        all_changed(&[before], now, percent).pop().unwrap()
    }

    #[test]
    fn each_table_has_a_measure_of_its_own() {
        let with = |a: u64, b: u64| [("TABLE DATA", "a", a), ("TABLE DATA", "b", b)];
        let fewer = |before: &[[(&'static str, &'static str, u64); 2]], now: [(&str, &str, u64); 2]| {
            let before: Vec<&[(&str, &str, u64)]> = before.iter().map(|b| b.as_slice()).collect();
            let all = all_changed(&before, &now, Some(30)).into_iter();
            all.map(|c| c.fewer.to_string()).collect::<Vec<_>>()
        };
        let b = "public.b (9,000 rows before, 0 now)";
        // the nights after a loss are no measure for the table that has it
        assert_eq!(
            fewer(&[with(500, 0), with(500, 0), with(500, 9000)], with(500, 0)),
            ["".to_owned(), "".into(), b.into()]
        );
        // another one may have its loss elsewhere
        let a = "public.a (800 rows before, 100 now)";
        assert_eq!(fewer(&[with(800, 0), with(500, 9000)], with(100, 0)), [a, b]);
        // they are back; little by little
        assert_eq!(fewer(&[with(500, 0), with(500, 9000)], with(500, 9000)), ["", ""]);
        assert_eq!(fewer(&[with(500, 700), with(500, 900)], with(500, 500)), ["", ""]);
        // it was not even there for a night
        assert_eq!(fewer(&[[with(500, 0)[0], ("INDEX", "b", 0)], with(500, 9000)], with(500, 0)), ["", b]);
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
