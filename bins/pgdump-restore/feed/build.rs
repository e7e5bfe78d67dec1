//! What is built on tables: indexes and constraints, with what they lock. Pure.

use std::collections::BTreeSet;

use kit::dump::names;

/// A relation, by schema and name.
pub(crate) type Relation = (Option<String>, String);

/// What statements lock.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    /// The tables, and what else the statements name.
    pub(crate) tables: BTreeSet<Relation>,
    /// Nobody else may lock any of them, as for a constraint; else others may as well, as for an index
    /// (PostgreSQL documentation, "Table-Level Locks").
    pub(crate) alone: bool,
}

impl Locks {
    pub(crate) fn are_in_the_way_of(&self, other: &Locks) -> bool {
        (self.alone || other.alone) && !self.tables.is_disjoint(&other.tables)
    }
}

/// An index or a constraint, and what belongs to it.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) text: Vec<u8>,
    pub(crate) locks: Locks,
}

impl Build {
    pub(crate) fn new(text: &[u8]) -> Self {
        let tables = names::qualified(text).into_iter().collect();
        // ALTER TABLE, or CREATE INDEX
        let alone = text.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'a'));
        Build { text: [text, b"\n"].concat(), locks: Locks { tables, alone } }
    }

    /// A statement that belongs to it, such as its comment.
    pub(crate) fn add(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
    }

    /// The names of the tables, and of what else it names, without their schemas: whoever waits for
    /// another of the same name waits in vain, but does no harm.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        self.locks.tables.iter().map(|(_, name)| name.as_str())
    }

    /// Whether it may be made while other tables are loaded. `ALTER TABLE` without `ONLY` locks the
    /// table's children, too, in one's own order: it and whoever loads one might wait for each other.
    pub(crate) fn may_come_soon(&self) -> bool {
        const ONLY: &[u8] = b"alter table only ";
        let only = self.text.len() > ONLY.len() && self.text[..ONLY.len()].eq_ignore_ascii_case(ONLY);
        (only || !self.locks.alone) && !self.locks.tables.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_built_beside_loads() {
        for (text, tables, soon) in [
            ("CREATE INDEX i ON public.t USING btree (a);", &["t"][..], true),
            ("ALTER TABLE ONLY s.\"T t\"\n    ADD CONSTRAINT k PRIMARY KEY (a);", &["T t"], true),
            // its children are locked as well
            ("ALTER TABLE s.t ADD CONSTRAINT k PRIMARY KEY (a);", &["t"], false),
            // of which table is not known
            ("CREATE INDEX i ON t USING btree (a);", &[], false),
        ] {
            let build = Build::new(text.as_bytes());
            assert_eq!(build.tables().collect::<Vec<_>>(), tables, "{text}");
            assert_eq!(build.may_come_soon(), soon, "{text}");
        }
    }
}
