//! `--rename`: a table under another name, and with it what must not meet its namesake: indexes,
//! constraints that are indexes, sequences, statistics.

use std::collections::BTreeMap;

use kit::dump::names;
use kit::dump::scan::display;
use kit::exit::{Error, Result};
use kit::manifest::Item;
use kit::pg::LONGEST_NAME;

use crate::cli::Args;
use crate::contents::Contents;
use crate::extract::{Key, Part, is_copied, relation};
use crate::left_out::in_full;

/// Refuses what would be no copy that stands by itself: a table of partitions, which stay behind, and one
/// that other tables show the rows of.
pub(crate) fn stands_alone(
    contents: &Contents,
    args: &Args,
    chosen: &BTreeMap<Key, String>,
    parts: &[Part],
) -> Result<()> {
    let hint = "Load it under its own name into another database.";
    let kin = |part: &Part| names::kin(&part.text);
    let tables = || parts.iter().filter(|p| p.item.kind == "TABLE");
    if let Some((part, parent)) = tables().find_map(|p| Some((p, kin(p).parents.into_iter().next()?))) {
        let (name, parent) = (in_full(&relation(&part.item)), display(&parent));
        return Err(Error::refused(format!(
            "{name} inherits from {parent}, which would show the rows of a copy too"
        ))
        .hint(hint));
    }
    let mut partitioned = tables().find(|p| kin(p).is_partitioned).map(|p| relation(&p.item));
    contents.each(&mut |item| {
        let parent = (item.database, item.schema, item.name);
        if item.kind == "TABLE ATTACH" && chosen.contains_key(&parent) {
            partitioned = Some(parent);
        }
        Ok(())
    })?;
    match partitioned.filter(|_| !args.schema_only) {
        Some(table) => Err(Error::refused(format!(
            "the rows of {} are in its partitions, which keep their names",
            in_full(&table)
        ))
        .hint(hint)),
        None => Ok(()),
    }
}

/// What shares the names of relations within a schema.
const NAMESAKES: [&str; 5] = ["INDEX", "CONSTRAINT", "STATISTICS", "SEQUENCE", "IDENTITY"];

/// Gives the only table of `chosen` the name `new` in all statements.
pub(crate) fn rename(chosen: &BTreeMap<Key, String>, new: &str, parts: &mut [Part]) -> Result<()> {
    let Some(((_, schema, old), _)) = chosen.first_key_value().filter(|_| chosen.len() == 1) else {
        return Err(Error::usage("--rename takes one table: the patterns mean several").hint("Try --help."));
    };
    let mut names: BTreeMap<(Option<String>, String), String> = BTreeMap::new();
    names.insert((schema.clone(), old.clone()), new.to_owned());
    for part in parts.iter().filter(|p| NAMESAKES.contains(&p.item.kind.as_str())) {
        let Item { schema, name, .. } = &part.item;
        names.insert((schema.clone(), name.clone()), derived(name, old, new));
    }
    let bare: BTreeMap<&str, &String> = names.iter().map(|((_, name), new)| (name.as_str(), new)).collect();
    if let Some(i) = (0..parts.len()).find(|i| parts[*i].item.kind == "TABLE DATA" && !is_copied(parts, *i)) {
        return Err(Error::refused(format!("the rows of {} are INSERT statements", parts[i].item.name))
            .hint("Only rows of COPY can be renamed; --schema-only leaves rows out."));
    }
    for part in parts.iter_mut() {
        let renamed = names::renamed(
            &part.text,
            &|schema, name| names.get(&(Some(schema.to_owned()), name.to_owned())).cloned(),
            &|name| bare.get(name).map(|new| (*new).clone()),
        );
        if part.item.kind == "TABLE" && renamed == part.text {
            return Err(Error::refused("the dump does not say in which schema its tables are")
                .hint("pg_dump since 10.3 does; load it into a database of its own and dump that."));
        }
        part.text = renamed;
    }
    Ok(())
}

/// The new name of what is called after the table, or for it.
fn derived(name: &str, old: &str, new: &str) -> String {
    let long = match name.strip_prefix(old) {
        Some(rest) => format!("{new}{rest}"),
        None => format!("{new}_{name}"),
    };
    if long.len() <= LONGEST_NAME {
        return long;
    }
    // cut, and told apart by what was cut
    let hash = xxhash_rust::xxh3::xxh3_64(long.as_bytes()) as u32;
    let mut end = LONGEST_NAME - 9;
    while !long.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{hash:08x}", &long[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_table() {
        assert_eq!(derived("people_pkey", "people", "p2"), "p2_pkey");
        assert_eq!(derived("by_name", "people", "p2"), "p2_by_name");
        let long = derived(&"ü".repeat(31), "people", "p2");
        assert!(long.len() <= LONGEST_NAME && long.starts_with("p2_ü"), "{long}");
        assert_ne!(long, derived(&format!("{}x", "ü".repeat(31)), "people", "p2"));
    }
}
