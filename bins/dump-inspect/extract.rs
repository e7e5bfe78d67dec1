//! `extract`: a part of a dump as SQL that loads by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::ops::Range;

use kit::digest::Depth;
use kit::dump::names;
use kit::dump::scan::text_of;
use kit::exit::{Code, Error, Result};
use kit::manifest::Item;
use kit::out::{Output, Speech};
use kit::pg::identifier;
use kit::source::Dump;

use crate::cli::Args;
use crate::contents::Contents;
use crate::dependencies::{self, mentioned};
use crate::encoding;
use crate::left_out;
use crate::near::nearest;
use crate::partitions::{owner_of_partition, refuse_rows_elsewhere, table, with_partitions};
use crate::rename;
use crate::sections::sections;
use crate::write::{spoil, write, write_csv};

/// A relation, by database, schema and name.
pub(crate) type Key = (Option<String>, Option<String>, String);

/// Kinds of relations, by their CREATE.
const RELATIONS: [&str; 5] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"];
/// What carries rows.
const DATA: [&str; 4] = ["COPY", "TABLE DATA", "SEQUENCE SET", "MATERIALIZED VIEW DATA"];

/// The relation that an item belongs to, or is.
pub(crate) fn relation(item: &Item) -> Key {
    let (schema, name) = item.of.clone().unwrap_or_else(|| (item.schema.clone(), item.name.clone()));
    (item.database.clone(), schema, name)
}

/// A statement whose text is at hand, or rows that are not.
pub(crate) struct Part {
    pub(crate) item: Item,
    /// Empty for rows.
    pub(crate) text: Vec<u8>,
}

/// Writes the part of the dump that is asked for.
pub(crate) fn extract(dump: &Dump, args: &Args, speech: &Speech) -> Result<Code> {
    let done = take_out(dump, args, speech);
    // what was refused has not begun
    let failed = |error: &Error| matches!(error.code(), Code::No | Code::Temporary);
    if !args.csv && !std::io::stdout().is_terminal() && done.as_ref().is_err_and(failed) {
        spoil();
    }
    done
}

fn take_out(dump: &Dump, args: &Args, speech: &Speech) -> Result<Code> {
    let contents = Contents::of(dump, Depth::Skip, args.quiet)?;
    if args.globals && contents.kind != Some("cluster") {
        return Err(Error::no(format!("'{}' is of one database: it holds no roles", dump.name)));
    }
    if args.tables.is_empty() && args.schemas.is_empty() {
        sections(dump, &contents, args)?;
    } else {
        let (chosen, parts) = relations(dump, &contents, args, speech)?;
        let mut out = Output::new();
        if args.csv {
            write_csv(dump, &table(dump, &contents, &chosen, &parts)?, &parts, &mut out)?;
        } else {
            write(dump, &contents, &parts, &mut out)?;
        }
        out.finish()?;
    }
    contents.is_whole()?;
    Ok(Code::Done)
}

/// Relations that fit the patterns, and all that belongs to them.
fn relations(
    dump: &Dump,
    contents: &Contents,
    args: &Args,
    speech: &Speech,
) -> Result<(BTreeMap<Key, String>, Vec<Part>)> {
    let chosen = choose(dump, contents, args)?;
    // another name is for one table alone
    let chosen = if args.rename.is_none() { with_partitions(dump, contents, chosen)? } else { chosen };
    if !args.schema_only {
        refuse_rows_elsewhere(contents, &chosen)?;
    }
    let owned = owned(contents, &chosen)?;
    let mut parts = collect(contents, args, &chosen, &owned)?;
    read(dump, &mut parts)?;
    if args.rename.is_some() && chosen.len() == 1 {
        rename::stands_alone(contents, args, &chosen, &parts)?;
    }
    let tried = left_out::leave_out(&chosen, &mut parts, args.keep_keys, speech);
    let part_of = owner_of_partition(contents, &chosen)?;
    if let Some((part, whole)) = part_of.filter(|_| args.clean && args.rename.is_none()) {
        return Err(Error::refused(format!(
            "{part} is a partition of {whole}: --clean would take it out of that"
        ))
        .hint("Take it out under another name with --rename, or empty it and load --data-only."));
    }
    dependencies::add(dump, contents, args, &chosen, &mut parts, speech)?;
    left_out::leave_out_dummies(&mut parts);
    if args.rename.is_none() && !args.data_only {
        published(dump, contents, args, &chosen, &mut parts, speech)?;
    }
    let of_index = |p: &&Part| ["INDEX", "CONSTRAINT"].contains(&p.item.kind.as_str());
    let indexes: BTreeSet<_> =
        parts.iter().filter(of_index).map(|p| (p.item.schema.clone(), p.item.name.clone())).collect();
    // an index is attached to that of the whole table where both are here
    parts.retain(|p| p.item.kind != "INDEX ATTACH" || mentioned(&p.text).is_subset(&indexes));
    if let Some(new) = &args.rename {
        rename::rename(&chosen, new, &mut parts)?;
    }
    if !args.data_only {
        for part in &mut parts {
            tolerate(part);
        }
        prepend(args, &chosen, &mut parts);
        parts.extend(tried);
    }
    Ok((chosen, parts))
}

/// The relations that the patterns mean, each pattern at least one.
fn choose(dump: &Dump, contents: &Contents, args: &Args) -> Result<BTreeMap<Key, String>> {
    let mut chosen = BTreeMap::new();
    let mut used = vec![false; args.tables.len() + args.schemas.len()];
    let mut names = BTreeSet::new();
    contents.each(&mut |item| {
        let in_database =
            args.databases.is_empty() || item.database.as_ref().is_some_and(|d| args.databases.contains(d));
        let kind = item.kind.as_str();
        // a dump of rows alone creates nothing
        let relation_here = RELATIONS.contains(&kind) || kind == "TABLE DATA" || kind == "SEQUENCE SET";
        if !in_database || !relation_here {
            return Ok(());
        }
        let (database, schema) = (item.database.as_deref(), item.schema.as_deref());
        let tables =
            args.tables.iter().map(|p| kind != "SEQUENCE SET" && p.is_table(database, schema, &item.name));
        let schemas = args.schemas.iter().map(|p| p.is_schema(schema.unwrap_or("public")));
        let fits: Vec<bool> = tables.chain(schemas).collect();
        for (used, fits) in used.iter_mut().zip(&fits) {
            *used |= fits;
        }
        if fits.contains(&true) {
            chosen.entry(relation(&item)).or_insert(item.kind.clone());
        }
        if names.len() < 10_000 {
            names.insert(item.name);
        }
        Ok(())
    })?;
    if let Some(unused) = used.iter().position(|u| !u) {
        let pattern = args.tables.iter().chain(&args.schemas).nth(unused);
        let (text, letters) = pattern.map_or(("", String::new()), |p| (p.text(), p.letters()));
        let names: Vec<String> = names.into_iter().collect();
        let error = Error::no(format!("'{}' holds nothing that '{text}' means", dump.name))
            .hint(nearest(&letters, &names));
        let ascii = text.is_ascii();
        let why = if ascii { None } else { encoding::hint(&encoding::encodings(dump, contents)?) };
        return Err(why.into_iter().fold(error, Error::hint));
    }
    let databases: BTreeSet<&Option<String>> = chosen.keys().map(|(database, ..)| database).collect();
    if databases.len() > 1 {
        let names: Vec<&str> = databases.into_iter().flatten().map(String::as_str).collect();
        return Err(Error::refused(format!("what is meant is in several databases: {}", names.join(", ")))
            .hint("Name one with --database."));
    }
    Ok(chosen)
}

/// Sequences that belong to columns of the chosen tables.
fn owned(contents: &Contents, chosen: &BTreeMap<Key, String>) -> Result<BTreeSet<Key>> {
    let mut owned = BTreeSet::new();
    contents.each(&mut |item| {
        let sequence = item.kind == "SEQUENCE OWNED BY" || item.kind == "IDENTITY";
        if sequence && chosen.contains_key(&relation(&item)) {
            owned.insert((item.database, item.schema, item.name));
        }
        Ok(())
    })?;
    Ok(owned)
}

/// The items of the chosen, with the settings they stand under.
fn collect(
    contents: &Contents,
    args: &Args,
    chosen: &BTreeMap<Key, String>,
    owned: &BTreeSet<Key>,
) -> Result<Vec<Part>> {
    let database = chosen.keys().next().and_then(|k| k.0.clone());
    let (mut parts, mut settings) = (Vec::new(), BTreeMap::<String, Item>::new());
    // comments and settings of an index name it and not its table
    let mut indexes: BTreeSet<(Option<String>, String)> = BTreeSet::new();
    contents.each(&mut |item| {
        if item.kind == "CONNECT" {
            settings.clear();
        }
        if item.kind == "SET" {
            settings.insert(item.name.clone(), item);
            return Ok(());
        }
        let key = relation(&item);
        let in_schema = item.database == database && in_schemas(args, &item);
        let data = DATA.contains(&item.kind.as_str());
        let asked = if data { !args.schema_only } else { !args.data_only };
        let bare = item.name.strip_prefix("INDEX ").unwrap_or(&item.name).to_owned();
        let of_index = ["COMMENT", "INDEX ALTER", "INDEX ATTACH"].contains(&item.kind.as_str())
            && item.of.is_none()
            && item.database == database
            && indexes.contains(&(item.schema.clone(), bare));
        let of_chosen = chosen.contains_key(&key) || owned.contains(&key);
        if of_chosen && ["INDEX", "CONSTRAINT"].contains(&item.kind.as_str()) {
            indexes.insert((item.schema.clone(), item.name.clone()));
        }
        if (of_chosen || of_index || in_schema) && item.kind != "DROP" && asked {
            let mut before: Vec<Item> = std::mem::take(&mut settings).into_values().collect();
            before.sort_by_key(|i| i.offset);
            parts.extend(before.into_iter().chain([item]).map(|item| Part { item, text: Vec::new() }));
        }
        Ok(())
    })?;
    Ok(parts)
}

/// Objects other than relations that live in a schema that is asked for, and the schema itself.
fn in_schemas(args: &Args, item: &Item) -> bool {
    let schema = match item.kind.as_str() {
        "SCHEMA" => Some(item.name.as_str()),
        "ACL" | "COMMENT" | "OWNER" if item.schema.is_none() => {
            Some(item.name.strip_prefix("SCHEMA ").unwrap_or(&item.name))
        }
        _ => item.schema.as_deref(),
    };
    schema.is_some_and(|s| args.schemas.iter().any(|p| p.is_schema(s)))
}

/// Reads the statements' texts.
pub(crate) fn read(dump: &Dump, parts: &mut [Part]) -> Result<()> {
    let wanted: Vec<usize> =
        (0..parts.len()).filter(|i| !is_rows(&parts[*i].item) && parts[*i].text.is_empty()).collect();
    let ranges: Vec<Range<u64>> = wanted.iter().map(|i| range(&parts[*i].item)).collect();
    dump.ranges(&ranges, |i, bytes| {
        parts[wanted[i]].text.extend_from_slice(bytes);
        Ok(())
    })
}

pub(crate) fn is_rows(item: &Item) -> bool {
    item.kind == "TABLE DATA"
}

/// Whether the rows of part `i` are those of the COPY statement before it.
pub(crate) fn is_copied(parts: &[Part], i: usize) -> bool {
    i.checked_sub(1).is_some_and(|before| parts[before].item.kind == "COPY")
}

pub(crate) fn range(item: &Item) -> Range<u64> {
    item.offset..item.end()
}

/// What puts the chosen tables into publications: to drop them takes them out. Where nothing says that they
/// are dropped, it is left out and told: subscribers of another database may not know the table.
fn published(
    dump: &Dump,
    contents: &Contents,
    args: &Args,
    chosen: &BTreeMap<Key, String>,
    parts: &mut Vec<Part>,
    speech: &Speech,
) -> Result<()> {
    let database = chosen.keys().next().and_then(|k| k.0.clone());
    let mut added = Vec::new();
    contents.each(&mut |item| {
        let here = item.kind == "PUBLICATION" && item.database == database;
        added.extend(here.then(|| Part { item, text: Vec::new() }));
        Ok(())
    })?;
    read(dump, &mut added)?;
    added.retain(|part| {
        names::added_to_publication(&part.text)
            .is_some_and(|(schema, name)| chosen.contains_key(&(database.clone(), schema, name)))
    });
    // with --schema they are here already
    added.retain(|part| parts.iter().all(|p| p.item.offset != part.item.offset));
    if !args.clean {
        for part in &added {
            speech.warn(&format!("left out: {}", text_of(&part.text)));
        }
        return Ok(());
    }
    parts.append(&mut added);
    let settings = parts.iter().position(|p| p.item.kind != "SET").unwrap_or(0);
    parts[settings..].sort_by_key(|p| p.item.offset);
    Ok(())
}

/// Owners and grants name roles that may be missing where the part is loaded, and publications may be
/// missing there: that is told there, and stops nothing.
fn tolerate(part: &mut Part) {
    if !["OWNER", "ACL", "DEFAULT ACL", "PUBLICATION"].contains(&part.item.kind.as_str()) {
        return;
    }
    let handler = b"\nEXCEPTION WHEN undefined_object THEN RAISE WARNING '%', SQLERRM;\nEND ";
    part.text = left_out::in_block(&part.text, handler);
}

/// Schemas that may be missing, and with `--clean` what is in the way.
fn prepend(args: &Args, chosen: &BTreeMap<Key, String>, parts: &mut Vec<Part>) {
    let mut text = String::new();
    if args.clean {
        text.push_str(&drops(args, chosen, parts));
    }
    let made: BTreeSet<String> =
        parts.iter().filter(|p| p.item.kind == "SCHEMA").map(|p| p.item.name.clone()).collect();
    let mut schemas: BTreeSet<String> = parts.iter().filter_map(|p| relation(&p.item).1).collect();
    schemas.extend(
        parts
            .iter()
            .filter(|p| p.item.kind == "EXTENSION")
            .filter_map(|p| names::schema_of_extension(&p.text)),
    );
    for schema in schemas.iter().filter(|s| *s != "public" && !made.contains(*s)) {
        text.push_str(&format!("CREATE SCHEMA IF NOT EXISTS {};\n", identifier(schema)));
    }
    // behind the settings: names may need the encoding
    let place = parts.iter().position(|p| p.item.kind != "SET").unwrap_or(parts.len());
    if !text.is_empty() {
        let item = Item { kind: "SCHEMA".into(), ..Item::default() };
        parts.insert(place, Part { item, text: text.into_bytes() });
    }
}

/// Drops the chosen: views before what they are upon, then all tables as one, whatever refers to what.
fn drops(args: &Args, chosen: &BTreeMap<Key, String>, parts: &[Part]) -> String {
    let (mut text, mut tables, mut sequences) = (String::new(), Vec::new(), String::new());
    for item in parts.iter().rev().map(|p| &p.item).filter(|i| RELATIONS.contains(&i.kind.as_str())) {
        let key = relation(item);
        if !chosen.contains_key(&key) {
            continue;
        }
        let schema = identifier(key.1.as_deref().unwrap_or("public"));
        let name = format!("{schema}.{}", identifier(args.rename.as_ref().unwrap_or(&key.2)));
        match item.kind.as_str() {
            "TABLE" => tables.push(name),
            "SEQUENCE" => sequences.push_str(&format!("DROP SEQUENCE IF EXISTS {name};\n")),
            kind => text.push_str(&format!("DROP {kind} IF EXISTS {name};\n")),
        }
    }
    if !tables.is_empty() {
        text.push_str(&format!("DROP TABLE IF EXISTS {};\n", tables.join(", ")));
    }
    text + &sequences
}
