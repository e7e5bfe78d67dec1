//! What is left out of a part, because it needs what was not chosen or would be in the way.

use std::collections::{BTreeMap, BTreeSet};

use kit::dump::names;
use kit::out::Speech;

use crate::dependencies::mentioned;
use crate::extract::{Key, Part, relation};

/// Leaves out what cannot be loaded without what was not chosen, and tells of it.
pub(crate) fn leave_out(chosen: &BTreeMap<Key, String>, parts: &mut Vec<Part>, speech: &Speech) {
    parts.retain(|part| stays(part, chosen, speech));
    let of = |kind: &str| parts.iter().filter(|p| p.item.kind == kind).map(|p| &p.item).collect::<Vec<_>>();
    let attached: BTreeSet<Key> = of("TABLE ATTACH").into_iter().map(relation).collect();
    let triggers: BTreeSet<(Key, String)> =
        of("TRIGGER").into_iter().map(|item| (relation(item), item.name.clone())).collect();
    parts.retain(|part| {
        let table = relation(&part.item);
        let trigger = match part.item.kind.as_str() {
            "TABLE ALTER" => names::switched_trigger(&part.text),
            _ => None,
        };
        // a trigger that is not the table's own is that of the table that it is a partition of
        let inherited = trigger
            .filter(|name| !triggers.contains(&(table.clone(), name.clone())) && !attached.contains(&table));
        if let Some(name) = &inherited {
            speech.warn(&format!(
                "left out: table alter {}, which refers to the trigger {name} of the table that it is a \
                partition of",
                in_full(&table)
            ));
        }
        inherited.is_none()
    });
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

/// Whether a statement can be loaded without what was not chosen.
fn stays(part: &Part, chosen: &BTreeMap<Key, String>, speech: &Speech) -> bool {
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
            return empty;
        }
        _ => None,
    };
    match other {
        Some((schema, name)) => {
            let schema = schema.unwrap_or("public".into());
            let kind = item.kind.to_lowercase();
            let own = match kind.as_str() {
                // its name is that of the whole table
                "table attach" => in_full(&relation(item)),
                _ => item.name.clone(),
            };
            speech.warn(&format!("left out: {kind} {own}, which refers to {schema}.{name}"));
            false
        }
        None => true,
    }
}
