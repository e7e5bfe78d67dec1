//! The table of contents as it grows: statements that belong together become one item.

use super::Item;
use crate::dump::statement::Name;

/// Holds the latest item back until it is clear that nothing more belongs to it.
#[derive(Default)]
pub(super) struct Items {
    held: Option<Item>,
    /// Whose the objects are that follow, of `SET SESSION AUTHORIZATION`.
    pub(super) authorization: Option<Name>,
}

impl Items {
    /// Takes the next item and hands on the one before, unless the two are one.
    pub(super) fn add(&mut self, mut new: Item, sink: &mut dyn FnMut(Item)) {
        if let Some(held) = &mut self.held {
            if let Some(joined) = joined(held, &new) {
                (held.kind, held.data) = joined;
                held.bytes = new.offset + new.bytes - held.offset;
                return;
            }
            if new.kind == "OWNER" && is_named(held, &new) {
                held.owner.clone_from(&new.owner);
            }
        }
        if new.owner.is_none() && new.of.is_some() && new.data.is_none() {
            new.owner.clone_from(&self.authorization);
        }
        self.flush(sink);
        self.held = Some(new);
    }

    /// Hands on what is held.
    pub(super) fn flush(&mut self, sink: &mut dyn FnMut(Item)) {
        if let Some(held) = self.held.take() {
            sink(held);
        }
    }
}

type Joined = (&'static str, Option<(u64, Option<u128>)>);

/// Kind and data of the two as one, if they are.
fn joined(held: &Item, new: &Item) -> Option<Joined> {
    if held.database != new.database {
        return None;
    }
    match (held.kind, new.kind) {
        // rows of INSERT statements into one table
        ("TABLE DATA", "TABLE DATA") => match (held.data, new.data) {
            (Some((a, None)), Some((b, None))) if held.name == new.name => {
                Some(("TABLE DATA", Some((a + b, None))))
            }
            _ => None,
        },
        // the contents of large objects come in transactions of their own
        ("TRANSACTION" | "BLOBS", "BLOBS") | ("BLOBS", "TRANSACTION") => Some(("BLOBS", None)),
        ("DROP", "DROP") => Some(("DROP", None)),
        _ => None,
    }
}

/// Whether `owner` is about what `held` has made; a function's name there lacks its arguments.
fn is_named(held: &Item, owner: &Item) -> bool {
    let (full, name) = (&held.name.name, &owner.name.name);
    let arguments = full.strip_prefix(name.as_slice());
    held.name.schema == owner.name.schema && arguments.is_some_and(|a| a.is_empty() || a[0] == b'(')
}
