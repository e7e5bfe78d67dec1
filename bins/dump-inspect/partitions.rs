//! Partitions: which belong to a table, and the table that they are as one.

use std::collections::{BTreeMap, BTreeSet};

use kit::dump::columns::Columns;
use kit::dump::names;
use kit::dump::scan::text_of;
use kit::exit::{Error, Result};
use kit::source::Dump;

use crate::contents::Contents;
use crate::extract::{Key, Part, read, relation};
use crate::left_out::in_full;

/// Partitions that are made as such, as pg_dump 10 and 11 did before they attached them.
fn made_as_partitions(dump: &Dump, contents: &Contents) -> Result<Vec<(Key, Key)>> {
    let version = contents.dump_version.as_deref().unwrap_or_default();
    if !["10.", "11."].iter().any(|early| version.starts_with(early)) {
        return Ok(Vec::new());
    }
    let mut tables = Vec::new();
    contents.each(&mut |item| {
        tables.extend((item.kind == "TABLE").then(|| Part { item, text: Vec::new() }));
        Ok(())
    })?;
    read(dump, &mut tables)?;
    let pair = |part: &Part| {
        let kin = names::kin(&part.text);
        let parent = kin.parents.first().filter(|_| kin.is_partition)?;
        let schema = parent.schema.as_deref().map(text_of).or(part.item.schema.clone());
        Some((relation(&part.item), (part.item.database.clone(), schema, text_of(&parent.name))))
    };
    Ok(tables.iter().filter_map(pair).collect())
}

/// Partitions belong to their table, and theirs to them.
pub(crate) fn with_partitions(
    dump: &Dump,
    contents: &Contents,
    mut chosen: BTreeMap<Key, String>,
) -> Result<BTreeMap<Key, String>> {
    let made = made_as_partitions(dump, contents)?;
    loop {
        let before = chosen.len();
        contents.each(&mut |item| {
            let parent = (item.database.clone(), item.schema.clone(), item.name.clone());
            if item.kind == "TABLE ATTACH" && chosen.contains_key(&parent) {
                chosen.entry(relation(&item)).or_insert("TABLE".into());
            }
            Ok(())
        })?;
        for (child, parent) in &made {
            if chosen.contains_key(parent) {
                chosen.entry(child.clone()).or_insert("TABLE".into());
            }
        }
        if chosen.len() == before {
            return Ok(chosen);
        }
    }
}

/// A chosen partition whose table is not chosen.
pub(crate) fn owner_of_partition(
    contents: &Contents,
    chosen: &BTreeMap<Key, String>,
) -> Result<Option<(String, String)>> {
    let mut found = None;
    contents.each(&mut |item| {
        let parent = (item.database.clone(), item.schema.clone(), item.name.clone());
        let child = relation(&item);
        if item.kind == "TABLE ATTACH" && chosen.contains_key(&child) && !chosen.contains_key(&parent) {
            found = Some((child.2, item.name));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Refuses a partition whose rows the dump loads into the table that it is a part of
/// (`pg_dump --load-via-partition-root`): which of them are its own, only a server can tell.
pub(crate) fn refuse_rows_elsewhere(contents: &Contents, chosen: &BTreeMap<Key, String>) -> Result<()> {
    // what may hold rows of a chosen table that has none: itself, then the tables above it
    let mut above: BTreeMap<Key, Key> = chosen.keys().map(|key| (key.clone(), key.clone())).collect();
    contents.each(&mut |item| {
        if item.kind == "TABLE DATA" {
            above.remove(&relation(&item));
        }
        Ok(())
    })?;
    let mut before = 0;
    while before < above.len() {
        before = above.len();
        contents.each(&mut |item| {
            let parent = (item.database.clone(), item.schema.clone(), item.name.clone());
            if item.kind == "TABLE ATTACH"
                && !chosen.contains_key(&parent)
                && let Some(child) = above.get(&relation(&item)).cloned()
            {
                above.entry(parent).or_insert(child);
            }
            Ok(())
        })?;
    }
    contents.each(&mut |item| match above.get(&relation(&item)) {
        Some(child) if item.kind == "TABLE DATA" && item.bytes > 0 => {
            let (child, whole) = (in_full(child), in_full(&relation(&item)));
            Err(Error::refused(format!("what rows {child} has are among those of {whole}, of which it is a partition"))
                .hint(format!("Ask for {whole}, which comes with its partitions; --schema-only takes {child} out without rows.")))
        }
        _ => Ok(()),
    })
}

/// The columns of the one table whose rows are among the parts, perhaps those of its partitions.
pub(crate) fn table(
    dump: &Dump,
    contents: &Contents,
    chosen: &BTreeMap<Key, String>,
    parts: &[Part],
) -> Result<Vec<Vec<u8>>> {
    let mut parents: BTreeMap<Key, Key> = BTreeMap::new();
    contents.each(&mut |item| {
        let parent = (item.database.clone(), item.schema.clone(), item.name.clone());
        if item.kind == "TABLE ATTACH" && chosen.contains_key(&parent) {
            parents.insert(relation(&item), parent);
        }
        Ok(())
    })?;
    let root = |mut key: Key| {
        // no more steps than there are, whatever a dump says of its tables
        for _ in 0..parents.len() {
            key = parents.get(&key).cloned().unwrap_or(key);
        }
        key
    };
    let rows: Vec<usize> = (0..parts.len()).filter(|i| parts[*i].item.kind == "TABLE DATA").collect();
    let tables: BTreeSet<Key> = rows.iter().map(|i| root(relation(&parts[*i].item))).collect();
    let (Some(table), 1) = (tables.first(), tables.len()) else {
        return Err(Error::usage("--format csv takes the rows of one table, no more and no fewer")
            .hint("Try --help."));
    };
    let mut definition = Vec::new();
    contents.each(&mut |item| {
        if item.kind == "TABLE" && relation(&item) == *table {
            definition.push(Part { item, text: Vec::new() });
        }
        Ok(())
    })?;
    read(dump, &mut definition)?;
    let of_table = definition.first().and_then(|part| Columns::of_table(&part.text));
    let of_copy = || rows.iter().filter_map(|i| Columns::of_copy(&parts[i.checked_sub(1)?].text)).next();
    Ok(of_table.or_else(of_copy).map_or(Vec::new(), |columns| columns.names))
}
