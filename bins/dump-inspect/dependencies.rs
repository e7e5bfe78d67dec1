//! What chosen tables need that was not chosen: types, functions, extensions, other tables.

use std::collections::{BTreeMap, BTreeSet};

use kit::dump::names;
use kit::exit::Result;
use kit::manifest::Item;
use kit::out::Speech;
use kit::source::Dump;

use crate::cli::Args;
use crate::contents::Contents;
use crate::extract::{Key, Part, read, relation};

/// Schema and name.
pub(crate) type Name = (Option<String>, String);

/// Kinds that others are made of.
const NEEDED: [&str; 18] = [
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "COLLATION",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TABLE",
    "FOREIGN TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "SEQUENCE",
    "SERVER",
    "FOREIGN DATA WRAPPER",
    "ACCESS METHOD",
];

/// The qualified names in a statement.
pub(crate) fn mentioned(statement: &[u8]) -> BTreeSet<Name> {
    names::qualified(statement).into_iter().collect()
}

/// Adds to `parts` what they need, or tells of it.
pub(crate) fn add(
    dump: &Dump,
    contents: &Contents,
    args: &Args,
    chosen: &BTreeMap<Key, String>,
    parts: &mut Vec<Part>,
    speech: &Speech,
) -> Result<()> {
    let database = chosen.keys().next().and_then(|k| k.0.clone());
    let mut have: BTreeSet<u64> = parts.iter().map(|p| p.item.offset).collect();
    let mut told = BTreeSet::new();
    let mut fresh: BTreeSet<Name> = parts.iter().flat_map(|p| mentioned(&p.text)).collect();
    let mut known = fresh.clone();
    // what is added may need more
    while !fresh.is_empty() {
        let mut found: Vec<Item> = Vec::new();
        contents.each(&mut |item| {
            let own = (item.schema.clone(), without_arguments(&item.name));
            let extension = args.with_dependencies && item.kind == "EXTENSION" && known.len() == fresh.len();
            let needed = NEEDED.contains(&item.kind.as_str()) && fresh.contains(&own) && item.of.is_none();
            let elsewhere = item.database != database || have.contains(&item.offset);
            if (needed || extension) && !elsewhere && !chosen.contains_key(&relation(&item)) {
                found.push(item);
            }
            Ok(())
        })?;
        if !args.with_dependencies {
            for item in found {
                told.insert(format!("{} {}", item.kind.to_lowercase(), item.full_name()));
            }
            break;
        }
        have.extend(found.iter().map(|i| i.offset));
        let mut more: Vec<Part> = found.into_iter().map(|item| Part { item, text: Vec::new() }).collect();
        read(dump, &mut more)?;
        fresh = more.iter().flat_map(|p| mentioned(&p.text)).filter(|n| !known.contains(n)).collect();
        known.extend(fresh.iter().cloned());
        parts.append(&mut more);
    }
    if !told.is_empty() {
        let list: Vec<&str> = told.iter().map(String::as_str).collect();
        speech.say(&format!("it needs what is not taken out: {}", list.join(", ")));
        speech.say("hint: --with-dependencies takes that out too.");
    }
    // the settings first, then the order of the dump
    let settings = parts.iter().position(|p| p.item.kind != "SET").unwrap_or(0);
    parts[settings..].sort_by_key(|p| p.item.offset);
    Ok(())
}

/// A function's name without its arguments.
fn without_arguments(name: &str) -> String {
    name.split('(').next().unwrap_or_default().to_owned()
}
