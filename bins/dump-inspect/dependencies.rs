//! What chosen tables need that was not chosen: types, functions, extensions, other tables.
//!
//! A table that is needed comes with its definition, its partitions, and its keys, which a view's
//! `GROUP BY` may rely on; with its rows only where a materialized view is filled from them.

use std::collections::{BTreeMap, BTreeSet};

use kit::dump::names;
use kit::exit::Result;
use kit::manifest::Item;
use kit::out::Speech;
use kit::source::Dump;

use crate::cli::Args;
use crate::contents::Contents;
use crate::extract::{Key, Part, read, relation};

/// The setting that says how the tables behind it are stored.
const METHOD: &str = "default_table_access_method";

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
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TABLE",
    "FOREIGN TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "SEQUENCE",
];
/// The same, of those that are in no schema.
const WITHOUT_SCHEMA: [&str; 4] = ["SERVER", "FOREIGN DATA WRAPPER", "ACCESS METHOD", "PROCEDURAL LANGUAGE"];
/// Values that a definition alone does not give.
const VALUES: [&str; 2] = ["SEQUENCE SET", "MATERIALIZED VIEW DATA"];

/// The qualified names in a statement.
pub(crate) fn mentioned(statement: &[u8]) -> BTreeSet<Name> {
    names::qualified(statement).into_iter().collect()
}

/// All that a statement may need.
fn needs(part: &Part) -> BTreeSet<Name> {
    let bare = names::without_schema(&part.text).into_iter().map(|name| (None, name));
    mentioned(&part.text).into_iter().chain(bare).collect()
}

/// What is needed, as far as it is known.
struct Needs {
    /// What the latest parts mention and those before them did not.
    fresh: BTreeSet<Name>,
    known: BTreeSet<Name>,
    /// Indexes that are keys of what is needed.
    indexes: BTreeSet<Name>,
    with_values: bool,
}

impl Needs {
    /// Whether an item is something that is needed.
    fn is_object(&self, item: &Item) -> bool {
        let kind = item.kind.as_str();
        (WITHOUT_SCHEMA.contains(&kind) && self.fresh.contains(&(None, item.name.clone())))
            || (NEEDED.contains(&kind) && item.of.is_none() && self.fresh.contains(&own(item)))
    }

    /// Whether an item belongs to something that is needed.
    fn is_part(&mut self, item: &Item) -> bool {
        match item.kind.as_str() {
            // no statement names those it uses, all of them are few
            "EXTENSION" => self.known.len() == self.fresh.len(),
            "CAST" => {
                let types = mentioned(item.name.as_bytes());
                !types.is_empty() && types.is_subset(&self.known)
            }
            "CONSTRAINT" => {
                let of_needed = item.of.as_ref().is_some_and(|table| self.fresh.contains(table));
                of_needed && self.indexes.insert(own(item))
            }
            "TABLE ATTACH" => self.fresh.contains(&own(item)),
            "INDEX ATTACH" => self.indexes.contains(&own(item)),
            kind => self.with_values && VALUES.contains(&kind) && self.fresh.contains(&own(item)),
        }
    }
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
    if args.data_only {
        return Ok(());
    }
    let database = chosen.keys().next().and_then(|k| k.0.clone());
    let mut have: BTreeSet<u64> = parts.iter().map(|p| p.item.offset).collect();
    let mut told = BTreeSet::new();
    let fresh: BTreeSet<Name> = parts.iter().flat_map(needs).collect();
    let (known, indexes) = (fresh.clone(), BTreeSet::new());
    let mut needs_of = Needs { fresh, known, indexes, with_values: !args.schema_only };
    let mut extensions = Vec::new();
    // what is added may need more
    while !needs_of.fresh.is_empty() {
        let mut more: Vec<Part> = Vec::new();
        // the access method that tables get
        let mut method: Option<Item> = None;
        contents.each(&mut |item| {
            if item.kind == "SET" && item.name == METHOD {
                method = Some(item);
                return Ok(());
            }
            let elsewhere = item.database != database || have.contains(&item.offset);
            // partitions of a chosen table that were not chosen: it gets another name
            let parent = (item.database.clone(), item.schema.clone(), item.name.clone());
            let partition = item.kind == "TABLE ATTACH" && chosen.contains_key(&parent);
            if elsewhere || partition || chosen.contains_key(&relation(&item)) {
                return Ok(());
            }
            let object = needs_of.is_object(&item);
            if !args.with_dependencies && item.kind == "EXTENSION" && item.name != "plpgsql" {
                have.insert(item.offset);
                extensions.push(Part { item, text: Vec::new() });
                return Ok(());
            }
            if !args.with_dependencies && object {
                told.insert(format!("{} {}", item.kind.to_lowercase(), item.full_name()));
            } else if args.with_dependencies && (object || needs_of.is_part(&item)) {
                let stored = ["TABLE", "MATERIALIZED VIEW"].contains(&item.kind.as_str());
                let method = method.take_if(|m| stored && m.database == item.database);
                more.extend(
                    method.filter(|m| have.insert(m.offset)).map(|item| Part { item, text: Vec::new() }),
                );
                more.push(Part { item, text: Vec::new() });
            }
            Ok(())
        })?;
        have.extend(more.iter().map(|p| p.item.offset));
        read(dump, &mut more)?;
        needs_of.fresh = more.iter().flat_map(needs).filter(|n| !needs_of.known.contains(n)).collect();
        needs_of.known.extend(needs_of.fresh.iter().cloned());
        parts.append(&mut more);
    }
    if needs_of.with_values && args.with_dependencies {
        let mut rows = rows_of_views(contents, &database, &have, parts)?;
        read(dump, &mut rows)?;
        parts.append(&mut rows);
    }
    if !extensions.is_empty() && may_need(dump, contents, &needs_of.known, parts, &mut extensions)? {
        let names: Vec<&str> = extensions.iter().map(|p| p.item.name.as_str()).collect();
        speech.say(&format!("it may need extensions of the dump: {}", names.join(", ")));
        if told.is_empty() {
            speech.say("hint: --with-dependencies takes them out too.");
        }
    }
    if !told.is_empty() {
        let list: Vec<&str> = told.iter().map(String::as_str).collect();
        speech.say(&format!("it needs what is not taken out: {}", list.join(", ")));
        speech.say("hint: --with-dependencies takes that out too.");
    }
    // the settings first, then the order of the dump; an access method is made before it is set
    let set = |p: &Part| p.item.kind == "SET" && p.item.name != METHOD;
    let settings = parts.iter().position(|p| !set(p)).unwrap_or(0);
    parts[settings..].sort_by_key(|p| p.item.offset);
    Ok(())
}

/// Whether parts mention what the dump does not define and its extensions may: names in the schemas of
/// extensions, and indexes of kinds that extensions add types to.
fn may_need(
    dump: &Dump,
    contents: &Contents,
    known: &BTreeSet<Name>,
    parts: &[Part],
    extensions: &mut [Part],
) -> Result<bool> {
    read(dump, extensions)?;
    let schemas: BTreeSet<Option<String>> =
        extensions.iter().map(|p| names::schema_of_extension(&p.text)).collect();
    let mut unknown: BTreeSet<&Name> =
        known.iter().filter(|n| n.0.is_some() && schemas.contains(&n.0)).collect();
    contents.each(&mut |item| {
        unknown.remove(&own(&item));
        Ok(())
    })?;
    let methods = [&b" USING gist "[..], b" USING gin "];
    let holds = |part: &Part, text: &&[u8]| memchr::memmem::find(&part.text, text).is_some();
    let indexed = |part: &Part| {
        ["INDEX", "CONSTRAINT"].contains(&part.item.kind.as_str()) && methods.iter().any(|m| holds(part, m))
    };
    Ok(!unknown.is_empty() || parts.iter().any(indexed))
}

/// The rows of those tables among `parts` that materialized views are filled from, through whatever
/// views and functions.
fn rows_of_views(
    contents: &Contents,
    database: &Option<String>,
    have: &BTreeSet<u64>,
    parts: &[Part],
) -> Result<Vec<Part>> {
    let mut mentions: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    let mut next: Vec<Name> = Vec::new();
    for part in parts {
        mentions.entry(own(&part.item)).or_default().extend(mentioned(&part.text));
        next.extend((part.item.kind == "MATERIALIZED VIEW DATA").then(|| own(&part.item)));
    }
    let mut reached = BTreeSet::new();
    while let Some(name) = next.pop() {
        let of_it = mentions.get(&name).into_iter().flatten().filter(|n| mentions.contains_key(n));
        next.extend(of_it.filter(|n| reached.insert((*n).clone())).cloned());
    }
    let mut rows = Vec::new();
    contents.each(&mut |item| {
        let of_table = ["COPY", "TABLE DATA"].contains(&item.kind.as_str());
        let here = item.database == *database && !have.contains(&item.offset);
        if of_table && here && reached.contains(&own(&item)) {
            rows.push(Part { item, text: Vec::new() });
        }
        Ok(())
    })?;
    Ok(rows)
}

/// An item's own name, without a function's arguments.
fn own(item: &Item) -> Name {
    let name = match item.kind.as_str() {
        "FUNCTION" | "PROCEDURE" | "AGGREGATE" => item.name.split('(').next().unwrap_or_default(),
        _ => item.name.as_str(),
    };
    (item.schema.clone(), name.to_owned())
}
