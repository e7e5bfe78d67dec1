//! `diff`: what is in one dump and not in the other, and what has changed.
//!
//! Objects are told apart by database, kind, name and table; of one that is in both, the text of all
//! its statements is compared, whatever the blanks and the quotes of names. Tables are compared by rows
//! and row hash, so that the order of rows, which a dump does not promise, says nothing; rows that are
//! INSERT statements by their number; large objects by what is written into them.

use std::collections::BTreeMap;
use std::ops::Range;

use kit::digest::Depth;
use kit::dump::names::normal;
use kit::exit::{Code, Result};
use kit::manifest::Item;
use kit::out::Speech;
use kit::source::Dump;
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::cli::Args;
use crate::contents::Contents;
use crate::encoding;
use crate::list::wanted;
use crate::records::Records;

mod large_objects;
pub(crate) mod rows;

/// Statements that are no objects, or whose place alone says something.
const PASSED: [&str; 7] = ["SET", "CONNECT", "COPY", "TRANSACTION", "DROP", "BLOBS", "OTHER"];

/// Kinds that bear arguments or types in their name, as the dump writes them.
const WITH_ARGUMENTS: [&str; 8] =
    ["FUNCTION", "PROCEDURE", "AGGREGATE", "CAST", "TRANSFORM", "COMMENT", "ACL", "SECURITY LABEL"];

/// What pg_dump before version 15 writes of the schema that every database has, with `--clean` only.
const BORN: [&str; 3] = [
    "CREATE SCHEMA public;",
    "ALTER SCHEMA public OWNER TO postgres;",
    "COMMENT ON SCHEMA public IS 'standard public schema';",
];

/// What tells an object from others: database, kind, schema, name, table.
type Key = (Option<String>, String, Option<String>, String, Option<String>);

/// What is compared of an object.
#[derive(Default)]
struct Side {
    text: Option<u128>,
    rows: Option<u64>,
    row_hash: Option<u128>,
}

type Objects = BTreeMap<Key, Side>;

/// Tells of each difference; 1 when there is any.
pub(crate) fn diff(a: &Dump, b: &Dump, args: &Args, speech: &Speech) -> Result<Code> {
    let (before, after) = (contents(a, args)?, contents(b, args)?);
    encoding::compare((a, &before), (b, &after), speech)?;
    let (left, right) = (objects(a, &before, args)?, objects(b, &after, args)?);
    let header = &["CHANGE", "KIND", "DATABASE", "SCHEMA", "NAME", "TABLE", "BEFORE", "AFTER"];
    let mut records = Records::new(header, args.json);
    let mut any = false;
    let mut tell = |change: &str, key: &Key, before: Option<u64>, after: Option<u64>| {
        any = true;
        let (database, kind, schema, name, of) = key.clone();
        let mut fields: Vec<Value> = vec![change.into(), kind.into(), database.into(), schema.into()];
        fields.extend([name.into(), of.into(), before.into(), after.into()]);
        records.add(fields)
    };
    for (key, side) in &left {
        match right.get(key) {
            None if is_nothing(key, side) => {}
            None => tell("removed", key, side.rows, None)?,
            Some(other) => {
                let rows = side.rows != other.rows || differ(side.row_hash, other.row_hash);
                if differ(side.text, other.text) {
                    tell("altered", key, None, None)?;
                } else if rows {
                    tell("rows", key, side.rows, other.rows)?;
                }
            }
        }
    }
    for (key, side) in right.iter().filter(|(key, side)| !left.contains_key(*key) && !is_nothing(key, side)) {
        tell("added", key, None, side.rows)?;
    }
    records.finish()?;
    before.is_whole()?;
    after.is_whole()?;
    Ok(if any { Code::No } else { Code::Done })
}

/// Whether that only one dump has it says nothing: the rows of an empty table, which INSERT statements
/// do not tell of, and what every database or cluster is born with, which `--clean` makes anew.
fn is_nothing(key: &Key, side: &Side) -> bool {
    let (_, kind, _, name, _) = key;
    let of_database = kind.starts_with("DATABASE") || name.starts_with("DATABASE ");
    let born = ["template1", "postgres"].contains(&name.trim_start_matches("DATABASE "));
    let is = |statement: &&str| side.text == Some(xxh3_128(&normal(statement.as_bytes())));
    (side.text.is_none() && side.rows == Some(0)) || (of_database && born) || BORN.iter().any(is)
}

/// How much of a statement is held.
const LONGEST: usize = 4 << 20;

/// Two hashes differ only where both are known.
fn differ(a: Option<u128>, b: Option<u128>) -> bool {
    a.is_some() && b.is_some() && a != b
}

fn contents(dump: &Dump, args: &Args) -> Result<Contents> {
    Contents::of(dump, Depth::Hash, args.quiet)
}

/// The objects of a dump and what they are made of.
fn objects(dump: &Dump, contents: &Contents, args: &Args) -> Result<Objects> {
    let cluster = contents.kind == Some("cluster");
    let mut objects = Objects::new();
    let (mut keys, mut ranges): (Vec<Key>, Vec<Range<u64>>) = (Vec::new(), Vec::new());
    let (mut databases, mut blobs) = (Vec::new(), Vec::new());
    contents.each(&mut |item| {
        if item.kind == "BLOBS" && wanted(args, &item) {
            blobs.push(item.offset..item.end());
            databases.push(item.database.filter(|_| cluster));
            return Ok(());
        }
        if PASSED.contains(&item.kind.as_str()) || !wanted(args, &item) {
            return Ok(());
        }
        let range = item.offset..item.end();
        let (rows, hash) = (item.rows, item.row_hash.clone());
        let key = key(item, cluster);
        if let Some(rows) = rows {
            let side = objects.entry(key).or_default();
            let hash = hash.and_then(|h| u128::from_str_radix(&h, 16).ok());
            // several runs of one table add up
            side.row_hash = match (side.rows, side.row_hash) {
                (None, _) => hash,
                (_, sum) => sum.zip(hash).map(|(a, b)| a.wrapping_add(b)),
            };
            side.rows = Some(side.rows.unwrap_or(0) + rows);
        } else {
            keys.push(key);
            ranges.push(range);
        }
        Ok(())
    })?;
    let mut texts: BTreeMap<&Key, Xxh3> = BTreeMap::new();
    let (mut last, mut statement) = (0, Vec::new());
    let mut end = |i: usize, begins: bool, statement: &mut Vec<u8>| {
        let text = texts.entry(&keys[i]).or_default();
        // the last definition of a view is the one that counts: before it stands one without its query
        // where others are in the way
        if begins && keys[i].1 == "VIEW" {
            text.reset();
        }
        // of a long one the bytes are compared, not what they mean
        let long = !begins || statement.len() > LONGEST;
        if long {
            text.update(statement)
        } else {
            text.update(&normal(statement))
        }
        statement.clear();
    };
    let mut begins = true;
    dump.ranges(&ranges, |i, bytes| {
        if i != last {
            end(last, begins, &mut statement);
            (last, begins) = (i, true);
        }
        statement.extend_from_slice(bytes);
        if statement.len() > LONGEST {
            end(i, begins, &mut statement);
            begins = false;
        }
        Ok(())
    })?;
    if !keys.is_empty() {
        end(last, begins, &mut statement);
    }
    for (key, text) in texts {
        objects.entry(key.clone()).or_default().text = Some(text.digest128());
    }
    for ((i, oid), hash) in large_objects::hashes(dump, &blobs)? {
        let side = objects.entry((databases[i].clone(), "BLOB".into(), None, oid, None)).or_default();
        side.text = Some(side.text.unwrap_or(0).wrapping_add(hash));
    }
    Ok(objects)
}

/// A dump of one database names it only where a manifest does: that is no difference.
fn key(item: Item, cluster: bool) -> Key {
    let database = item.database.filter(|_| cluster);
    let of = item.of.map(|(schema, name)| schema.map_or(name.clone(), |s| format!("{s}.{name}")));
    let name = match item.name.split_once('(') {
        Some((name, arguments)) if WITH_ARGUMENTS.contains(&item.kind.as_str()) => {
            format!("{name}({}", arguments.replace('"', ""))
        }
        _ => item.name,
    };
    (database, item.kind, item.schema, name, of)
}
