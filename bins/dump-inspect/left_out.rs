//! What is left out of a part, because it needs what was not chosen or would be in the way.

use std::collections::{BTreeMap, BTreeSet};

use kit::dump::names;
use kit::manifest::Item;
use kit::out::Speech;

use crate::dependencies::mentioned;
use crate::extract::{Key, Part, relation};

/// Leaves out what cannot be loaded without what was not chosen, and tells of it. `keep_keys`: keys and the place
/// of a partition are given back, to be tried where all is loaded.
pub(crate) fn leave_out(
    chosen: &BTreeMap<Key, String>,
    parts: &mut Vec<Part>,
    keep_keys: bool,
    speech: &Speech,
) -> Vec<Part> {
    let (mut kept, mut tried) = (Vec::new(), Vec::new());
    // of the keys among these
    let mut comments: BTreeSet<(Key, String)> = BTreeSet::new();
    for part in parts.drain(..) {
        let other = refers_elsewhere(&part, chosen, speech);
        if other.is_some() && part.item.kind == "FK CONSTRAINT" {
            comments.insert((relation(&part.item), format!("CONSTRAINT {}", part.item.name)));
        }
        match other {
            Some(Some(_)) if keep_keys => tried.push(part),
            Some(Some(why)) => speech.warn(&format!("left out: {why}")),
            Some(None) => {}
            None => kept.push(part),
        }
    }
    for part in kept {
        let of_key =
            part.item.kind == "COMMENT" && comments.contains(&(relation(&part.item), part.item.name.clone()));
        match of_key {
            false => parts.push(part),
            true if keep_keys => tried.push(part),
            true => {}
        }
    }
    let of = |kind: &str| parts.iter().filter(|p| p.item.kind == kind).map(|p| &p.item).collect::<Vec<_>>();
    let whole = |item: &Item| (item.database.clone(), item.schema.clone(), item.name.clone());
    let above: BTreeMap<Key, Key> =
        of("TABLE ATTACH").into_iter().map(|item| (relation(item), whole(item))).collect();
    let triggers: BTreeSet<(Key, String)> =
        of("TRIGGER").into_iter().map(|item| (relation(item), item.name.clone())).collect();
    // bounded, should a dump attach tables in a circle
    let ways_up = |table: Key| std::iter::successors(Some(table), |table| above.get(table).cloned());
    let has = |table: Key, name: &String| {
        ways_up(table).take(above.len() + 1).any(|table| triggers.contains(&(table, name.clone())))
    };
    let (mut kept, mut inherited) = (Vec::new(), Vec::new());
    for part in parts.drain(..) {
        let table = relation(&part.item);
        let trigger = match part.item.kind.as_str() {
            "TABLE ALTER" => names::switched_trigger(&part.text),
            _ => None,
        };
        match trigger.filter(|name| !has(table.clone(), name)) {
            None => kept.push(part),
            // it is that of the table that this is a partition of
            Some(_) if keep_keys => inherited.push(part),
            Some(name) => speech.warn(&format!(
                "left out: table alter {}, which refers to the trigger {name} of the table that it is a \
                partition of",
                in_full(&table)
            )),
        }
    }
    *parts = kept;
    // a partition gets its place when its indexes are there: else it would get others with it
    tried.sort_by_key(|part| part.item.kind == "TABLE ATTACH");
    tried.append(&mut inherited);
    tried.iter_mut().for_each(attempt);
    tried
}

/// What a key or a partition may not fit to where it is loaded; all else is an error.
const MISFITS: &str = "undefined_table OR undefined_column OR undefined_object OR invalid_schema_name OR \
    invalid_foreign_key OR foreign_key_violation OR check_violation OR datatype_mismatch OR wrong_object_type OR \
    invalid_table_definition OR invalid_object_definition OR object_not_in_prerequisite_state OR insufficient_privilege OR \
    unique_violation OR exclusion_violation OR not_null_violation";

/// Makes a statement one that is tried where it is loaded, and told there if it does not fit.
fn attempt(part: &mut Part) {
    let handler = format!("\nEXCEPTION WHEN {MISFITS} THEN RAISE WARNING 'left out: %', SQLERRM;\nEND ");
    part.text = in_block(&part.text, handler.as_bytes());
}

/// A statement in a block of code with this end.
pub(crate) fn in_block(statement: &[u8], end: &[u8]) -> Vec<u8> {
    let mut tag = b"$pgkeep$".to_vec();
    while memchr::memmem::find(statement, &tag).is_some() {
        tag.insert(1, b'x');
    }
    [b"DO ", tag.as_slice(), b" BEGIN\n", statement, end, &tag, b";"].concat()
}

/// Leaves out the views without their queries that `pg_dump --clean` makes before it drops them, where
/// others are in the way.
pub(crate) fn leave_out_dummies(parts: &mut Vec<Part>) {
    let is_view = |part: &Part| part.item.kind == "VIEW";
    let replaces = |part: &Part| part.text.starts_with(b"CREATE OR REPLACE ");
    let made: BTreeMap<Key, u64> = parts
        .iter()
        .filter(|p| is_view(p) && !replaces(p))
        .map(|p| (relation(&p.item), p.item.offset))
        .collect();
    parts.retain(|part| {
        let early = made.get(&relation(&part.item)).is_some_and(|offset| part.item.offset < *offset);
        !(is_view(part) && replaces(part) && early)
    });
}

/// A relation's name, for people.
pub(crate) fn in_full((_, schema, name): &Key) -> String {
    schema.as_ref().map_or(name.clone(), |schema| format!("{schema}.{name}"))
}

/// That a statement cannot be loaded without what was not chosen, and what it refers to where that is an object.
fn refers_elsewhere(part: &Part, chosen: &BTreeMap<Key, String>, speech: &Speech) -> Option<Option<String>> {
    let item = &part.item;
    let other = match item.kind.as_str() {
        "FK CONSTRAINT" => mentioned(&part.text).into_iter().find(|(schema, name)| {
            let key = (item.database.clone(), schema.clone(), name.clone());
            !chosen.contains_key(&key) && *name != item.name
        }),
        "TABLE ATTACH" => mentioned(&part.text).into_iter().find(|(schema, name)| {
            !chosen.contains_key(&(item.database.clone(), schema.clone(), name.clone()))
        }),
        "SET" if item.name == "default_tablespace" => {
            let empty = part.text.windows(2).any(|w| w == b"''");
            if !empty {
                speech.say("left out: the tablespace");
            }
            return (!empty).then_some(None);
        }
        _ => None,
    };
    let (schema, name) = other?;
    let schema = schema.unwrap_or("public".into());
    let kind = item.kind.to_lowercase();
    let own = match kind.as_str() {
        // its name is that of the whole table
        "table attach" => in_full(&relation(item)),
        _ => item.name.clone(),
    };
    Some(Some(format!("{kind} {own}, which refers to {schema}.{name}")))
}
